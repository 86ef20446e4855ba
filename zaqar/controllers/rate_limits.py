# SPDX-License-Identifier: Apache-2.0
"""Rate limits: how much a project may do per second, as token buckets.

A bucket is known by the moment at which it will be full again. What takes from
it moves that moment on; none may be more than a burst ahead of now.

:source: reference/http, "Quotas and rates"
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
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

#: Projects with buckets in a process; the buckets of the oldest are dropped,
#: and are full again.
CACHED = 20_000

#: Least seconds after which what was deferred is tried again.
_LEAST_PAUSE = 1.0

#: What is to be taken: names of rates, each with a number.
Amounts = Sequence[tuple[str, float]]

ONE_REQUEST: Amounts = ((REQUESTS, 1),)

#: A rate of which there is too little, and the seconds until there is enough.
Lack = tuple[str, float]


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
    def limits(self) -> Mapping[str, float]:
        """Rates by their names, without those that are no limit."""
        return {
            name: float(rate)
            for name in NAMES
            if (rate := getattr(self, name)) > 0
        }


OPTS = options_as_dataclass_fields.options(RateSettings)[GROUP]


class Buckets(Protocol):
    """Token buckets of projects."""

    def take(self, project: str, amounts: Amounts, now: float) -> Lack | None:
        """Take from several buckets of a project, or from none.

        A full bucket has enough for anything, and may owe some then. What has
        no rate is not counted.

        :param now: seconds by a clock that never goes back
        :returns: None if all have enough
        """


class OwnBuckets:
    """The buckets of this process.

    They have no lock: threads that take at the same moment may lose a change,
    and a project then has as much more, once.
    """

    def __init__(self, settings: RateSettings) -> None:
        #: So that all of them are taken alike.
        self._rates = {**dict.fromkeys(NAMES, math.inf), **settings.limits}
        self._burst = settings.burst
        #: When each bucket of a project will be full, or was.
        self._full_at: BoundedCache[str, dict[str, float]] = BoundedCache(
            CACHED
        )

    def take(self, project: str, amounts: Amounts, now: float) -> Lack | None:
        # For every request: hence few calls and no new objects.
        rates, burst = self._rates, self._burst
        try:
            full_at = self._full_at[project]
        except KeyError:
            full_at = dict.fromkeys(rates, -math.inf)
            self._full_at[project] = full_at
        # Sums of fractions are not exact.
        latest = now + burst + 1e-6
        for name, amount in amounts:
            cost = amount / rates[name]
            full = full_at[name]
            if full < now:
                full = now
            # All that is wanted, or as much as a full bucket has.
            least = full + (cost if cost < burst else burst)
            if least > latest and amount:
                self._put_back(full_at, amounts, name)
                return name, least - now - burst
            full_at[name] = full + cost
        return None

    def _put_back(
        self, full_at: dict[str, float], amounts: Amounts, lacking: str
    ) -> None:
        """Put back what was taken before it turned out that one lacks."""
        for name, amount in amounts:
            if name == lacking:
                return
            full_at[name] -= amount / self._rates[name]


class Throttle:
    """Keeps projects to their rates.

    :ivar is_shared: whether a server may have to be waited for
    :ivar take: see :class:`Buckets`; without a function around it, since it
        is called for every request
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        settings: RateSettings,
        buckets: Buckets | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rates = settings.limits
        self._burst = settings.burst
        self.is_shared = buckets is not None
        self.take = (buckets or OwnBuckets(settings)).take
        self._timer = timer
        self._lock = threading.Lock()
        #: Until when what was deferred for a project returns, one by one.
        self._booked: BoundedCache[tuple[str, str], float] = BoundedCache(
            CACHED * len(NAMES)
        )

    def limits(self, name: str) -> bool:
        """Tell whether there is such a rate."""
        return name in self._rates

    def pause(
        self, project: str, names: Sequence[str], amount: int = 1
    ) -> float:
        """Count attempts to deliver, or return the seconds to wait.

        What waits returns in its turn, no faster than the rate.

        :param names: what it counts as
        """
        amounts = [(name, amount) for name in names]
        lack = self.take(project, amounts, self._timer())
        if lack is None:
            return 0.0
        name, _ = lack
        return self._book(project, name, amount / self._rates[name])

    def _book(self, project: str, name: str, cost: float) -> float:
        """Return the seconds until the turn of what takes so many."""
        key, now = (project, name), self._timer()
        with self._lock:
            turn = max(self._booked.get(key, now), now)
            turn += cost
            self._booked[key] = turn
        return max(turn - now, _LEAST_PAUSE)

    def exceeded(self, project: str, lack: Lack) -> RateExceeded:
        """Return the error to be raised, with the fields of the IETF's draft.

        :source: draft-ietf-httpapi-ratelimit-headers-10
        """
        name, wait = lack
        rate, burst = self._rates[name], self._burst
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
