# SPDX-License-Identifier: Apache-2.0
"""Rates: how much a project may do per second, as token buckets.

A bucket is known by the moment at which it will be full again. What takes from
it moves that moment on; none may be more than a burst ahead of now.

:source: reference/http, "Quotas and rates"
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from oslo_config import cfg

from zaqar import options_as_dataclass_fields
from zaqar.bounded_cache import BoundedCache
from zaqar.errors import RateExceeded
from zaqar.options_as_dataclass_fields import option

GROUP = 'rates'

#: What is counted, by the names of the options.
REQUESTS = 'requests'
MESSAGES = 'messages'
MESSAGE_BYTES = 'message_bytes'
DELIVERIES = 'deliveries'
MAILS = 'mails'
NAMES = (REQUESTS, MESSAGES, MESSAGE_BYTES, DELIVERIES, MAILS)

#: Units of the IETF's draft, where it is not the request.
_UNITS = {MESSAGE_BYTES: 'content-bytes'}

#: Buckets of a process; the oldest are dropped, and are full again.
CACHED = 50_000

#: Least seconds after which what was deferred is tried again.
_LEAST_PAUSE = 1.0

#: Known by what is counted, and by the project.
Key = tuple[str, str]


def _rate(what: str, sane: float) -> Any:
    return option(
        0.0,
        f'Maximum of {what} per second, for each project. 0, the default, '
        'means no limit.',
        min=0,
        sample_default=sane,
    )


@dataclass(frozen=True)
@options_as_dataclass_fields.of(GROUP)
class RateSettings:
    """Rates of each project."""

    requests: float = _rate(
        'requests, over HTTP and by WebSocket frames,', 500
    )
    messages: float = _rate('messages posted', 1000)
    message_bytes: float = _rate(
        'bytes of bodies of requests that post', 10_000_000
    )
    deliveries: float = _rate(
        'attempts to notify subscribers, and messages of streams,', 200
    )
    mails: float = _rate('mails to subscribers', 2)
    burst: float = option(
        10.0,
        'Seconds for which a project that has done nothing may exceed its '
        'rates: the size of a bucket is a rate times this.',
        min=0.1,
    )
    redis_uri: str | None = option(
        None,
        'Redis server by which all processes count together. Unset, each '
        'counts for itself, so that a project may reach its rates in each of '
        'them. Needs the extra "redis".',
        secret=True,
    )

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> RateSettings:
        return cls(**options_as_dataclass_fields.values(cls, conf))

    @property
    def are_on(self) -> bool:
        """Whether there is any rate."""
        return any(getattr(self, name) for name in NAMES)


OPTS = options_as_dataclass_fields.options(RateSettings)[GROUP]


class Buckets(Protocol):
    """Token buckets."""

    def take(
        self, key: Key, rate: float, burst: float, amount: float
    ) -> float:
        """Take tokens, or return the seconds until there are enough.

        A full bucket has enough for anything, and may owe some then.

        :param burst: seconds after which an empty bucket is full
        """

    def put(self, key: Key, rate: float, amount: float) -> None:
        """Put tokens back that were taken in vain."""


class OwnBuckets:
    """The buckets of this process.

    :param timer: seconds by a clock that never goes back
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._lock = threading.Lock()
        # Each moment in a list of its own, which costs less to change than the
        # cache.
        self._full_at: BoundedCache[Key, list[float]] = BoundedCache(CACHED)

    def take(
        self, key: Key, rate: float, burst: float, amount: float
    ) -> float:
        cost, now = amount / rate, self._timer()
        with self._lock:
            bucket = self._full_at.get(key)
            if bucket is None:
                bucket = self._full_at[key] = [now]
            full_at = bucket[0]
            if full_at < now:
                full_at = now
            # All that is wanted, or as much as a full bucket has.
            wait = full_at - now + (cost if cost < burst else burst) - burst
            # Sums of fractions are not exact.
            if wait > 1e-6:
                return wait
            bucket[0] = full_at + cost
        return 0.0

    def put(self, key: Key, rate: float, amount: float) -> None:
        with self._lock:
            bucket = self._full_at.get(key)
            if bucket is not None:
                bucket[0] -= amount / rate


class Throttle:
    """Keeps projects to their rates.

    :ivar is_shared: whether a server may have to be waited for
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        settings: RateSettings,
        buckets: Buckets | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = settings.burst
        self.is_shared = buckets is not None
        self._buckets = buckets or OwnBuckets(timer)
        self._timer = timer
        self._rates = {
            name: rate
            for name in NAMES
            if (rate := float(getattr(settings, name)))
        }
        self._lock = threading.Lock()
        #: Until when what was deferred for a project returns, one by one.
        self._booked: BoundedCache[Key, float] = BoundedCache(CACHED)

    def limits(self, name: str) -> bool:
        """Tell whether there is such a rate."""
        return name in self._rates

    def check_request(self, project: str) -> None:
        """Count a request.

        :raises RateExceeded: it is one too many
        """
        self._check(project, ((REQUESTS, 1),))

    def check_post(self, project: str, messages: int, size: int) -> None:
        """Count messages of a post, with the bytes of its body.

        :raises RateExceeded: there are too many
        """
        self._check(project, ((MESSAGES, messages), (MESSAGE_BYTES, size)))

    def pause(
        self, project: str, names: Sequence[str], amount: int = 1
    ) -> float:
        """Count attempts to deliver, or return the seconds to wait.

        What waits returns in its turn, no faster than the rate.

        :param names: what it counts as
        """
        lack = self._take(project, [(name, amount) for name in names])
        if lack is None:
            return 0.0
        name, _ = lack
        return self._book((name, project), self._rates[name], amount)

    def _book(self, key: Key, rate: float, amount: int) -> float:
        now = self._timer()
        with self._lock:
            turn = max(self._booked.get(key, now), now)
            turn += amount / rate
            self._booked[key] = turn
        return max(turn - now, _LEAST_PAUSE)

    def _check(
        self, project: str, amounts: Sequence[tuple[str, float]]
    ) -> None:
        lack = self._take(project, amounts)
        if lack is not None:
            name, wait = lack
            raise _exceeded(
                project, name, self._rates[name], self._burst, wait
            )

    def _take(
        self, project: str, amounts: Sequence[tuple[str, float]]
    ) -> tuple[str, float] | None:
        """Take from all buckets, or from none.

        :returns: which one has too little, and the seconds until it has
            enough; None if none has
        """
        burst = self._burst
        taken: list[tuple[str, float]] = []
        for name, amount in amounts:
            rate = self._rates.get(name)
            if rate is None or not amount:
                continue
            wait = self._buckets.take((name, project), rate, burst, amount)
            if wait:
                for other, much in taken:
                    key = other, project
                    self._buckets.put(key, self._rates[other], much)
                return name, wait
            taken.append((name, amount))
        return None


def _exceeded(
    project: str, name: str, rate: float, burst: float, wait: float
) -> RateExceeded:
    """Return the error, with the fields of the IETF's draft.

    :source: draft-ietf-httpapi-ratelimit-headers-10
    """
    seconds = math.ceil(wait)
    most = max(1, math.floor(rate * burst))
    policy = f'"{name}";q={most};w={max(1, math.ceil(burst))}'
    if name in _UNITS:
        policy += f';qu="{_UNITS[name]}"'
    what = name.replace('_', ' ')
    return RateExceeded(
        f'Project {project} may have {rate:g} {what} per second, and '
        f'{most} at a time. Please try again in {seconds} seconds.',
        headers={
            'Retry-After': str(seconds),
            'RateLimit': f'"{name}";r=0;t={seconds}',
            'RateLimit-Policy': policy,
        },
    )
