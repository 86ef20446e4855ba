# SPDX-License-Identifier: Apache-2.0
"""Token buckets on a Redis server, which all processes share.

A process takes a tenth of a second's tokens at a time, so that few requests
wait for the server. While that does not respond each process counts for
itself.
"""

import logging
import threading
import time
from collections.abc import Callable

import msgspec
import redis

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers.rate_limits import (
    CACHED,
    NAMES,
    Amounts,
    Lack,
    OwnBuckets,
    RateSettings,
)
from zaqar.errors import ConfigurationError
from zaqar.event_loop_greenlets import offload

LOG = logging.getLogger(__name__)

#: Seconds of a rate that are taken at a time.
LEASE = 0.1

#: Seconds that a request waits for the server, and after which it is tried
#: again.
TIMEOUT = 0.25
AGAIN = 5.0

#: As :class:`zaqar.controllers.rate_limits.OwnBuckets`, by the server's clock.
_TAKE = """
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local cost = tonumber(ARGV[3]) / rate
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local stored = redis.call('GET', KEYS[1]) or '0'
local full_at, at = string.match(stored, '^(%S+) ?(%S*)$')
full_at, at = tonumber(full_at), tonumber(at)
if at and at > now then
    -- The clock was set back.
    full_at = full_at - (at - now)
end
if full_at < now then
    full_at = now
end
local wait = full_at + math.min(cost, burst) - now - burst
if wait > 0.000001 then
    return string.format('%.6f', wait)
end
full_at = full_at + cost
redis.call('SET', KEYS[1], string.format('%.6f %.6f', full_at, now),
    'PX', math.ceil((full_at - now) * 1000) + 1000)
return '0'
"""


class _Lease(msgspec.Struct):
    """Tokens that this process has.

    :ivar refused_until: when to ask the server again
    """

    left: float = 0.0
    refused_until: float = 0.0


class RedisTokenBuckets:
    """Buckets on a server.

    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        settings: RateSettings,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            self._client = redis.Redis.from_url(
                settings.redis_uri or '',
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
            )
        except ValueError as error:
            raise ConfigurationError(f'[rates] redis_uri: {error}') from None
        self._script = self._client.register_script(_TAKE)
        self._rates = settings.limits
        self._burst = settings.burst
        self._timer = timer
        self._own = OwnBuckets(settings)
        self._lock = threading.Lock()
        #: By the project and the name of the rate.
        self._leases: BoundedCache[tuple[str, str], _Lease] = BoundedCache(
            CACHED * len(NAMES)
        )
        self._silent_until = 0.0

    def take(self, project: str, amounts: Amounts, now: float) -> Lack | None:
        taken: list[tuple[_Lease, float]] = []
        for name, amount in amounts:
            if name not in self._rates or not amount:
                continue
            lease = self._lease(project, name)
            wait = self._take(lease, project, name, amount)
            if wait:
                with self._lock:
                    for other, much in taken:
                        other.left += much
                return name, wait
            taken.append((lease, amount))
        return None

    def _lease(self, project: str, name: str) -> _Lease:
        key = project, name
        with self._lock:
            lease = self._leases.get(key)
            if lease is None:
                lease = self._leases[key] = _Lease()
            return lease

    def _take(
        self, lease: _Lease, project: str, name: str, amount: float
    ) -> float:
        """Take from one bucket, or return the seconds until it has enough."""
        with self._lock:
            if lease.left >= amount:
                lease.left -= amount
                return 0.0
            now = self._timer()
            if now < lease.refused_until:
                return lease.refused_until - now
            missing = amount - lease.left
        if now < self._silent_until:
            return self._take_own(project, name, amount)
        try:
            wait = offload(self._ask_for_some, lease, project, name, missing)
        except redis.RedisError as error:
            self._note_silence(error)
            return self._take_own(project, name, amount)
        with self._lock:
            if wait:
                lease.refused_until = self._timer() + min(wait, LEASE)
            else:
                lease.left -= amount
        return wait

    def _take_own(self, project: str, name: str, amount: float) -> float:
        lack = self._own.take(project, ((name, amount),), self._timer())
        return 0.0 if lack is None else lack[1]

    def _ask_for_some(
        self,
        lease: _Lease,
        project: str,
        name: str,
        missing: float,
    ) -> float:
        """Add what is missing to a lease, and some more if there is some.

        :returns: the seconds until there is enough, 0 if there was
        """
        more = self._rates[name] * min(LEASE, self._burst)
        wait = 0.0
        for much in dict.fromkeys((max(missing, more), missing)):
            wait = self._ask(project, name, much)
            if not wait:
                self._note_response()
                with self._lock:
                    lease.left += much
                break
        return wait

    def _ask(self, project: str, name: str, much: float) -> float:
        key = f'zaqar:rates:{name}:{project}'
        limits = [self._rates[name], self._burst]
        return float(self._script([key], [*limits, much]))

    def _note_response(self) -> None:
        with self._lock:
            was_silent, self._silent_until = bool(self._silent_until), 0.0
        if was_silent:
            LOG.info('The server of [rates] redis_uri responds again')

    def _note_silence(self, error: Exception) -> None:
        with self._lock:
            was_silent = bool(self._silent_until)
            self._silent_until = self._timer() + AGAIN
        if not was_silent:
            LOG.warning(
                'The server of [rates] redis_uri does not respond, each '
                'process counts for itself: %s',
                type(error).__name__,
            )
