# SPDX-License-Identifier: Apache-2.0
"""Checks of quotas whose usage is only read once in a while.

A process reads it in the background.

:source: reference/http, "Quotas and rates"
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers.background_reads import BackgroundReads
from zaqar.controllers.configured_quotas import Limits
from zaqar.controllers.quota_checks_by_counting import Quotas
from zaqar.controllers.quota_limits_cache import CACHED
from zaqar.errors import StoreUnavailable
from zaqar.event_loop_greenlets import offload

LOG = logging.getLogger(__name__)

#: Seconds after which a project is looked at again that is refused, or that
#: has used half of its room since the last look; and after which a read that
#: failed is repeated.
AGAIN = 5.0

#: Seconds for which the limits of a project are not looked up, nor how old
#: what is known of it is, as long as it has plenty of room: so many times what
#: it takes meanwhile.
UNCHECKED = 1.0
PLENTY = 64


class Resource(msgspec.Struct, frozen=True):
    """A resource that is read once in a while.

    :ivar name: that of its quota
    :ivar read: takes a project and returns what it has, None if unknown
    :ivar fresh: seconds for which that is used
    :ivar is_of_deliveries: whether only what is delivered takes it
    """

    name: str
    read: Callable[[str], int | None]
    fresh: float
    is_of_deliveries: bool = False


class _Count(msgspec.Struct, eq=False):
    """What a project has of a resource.

    :ivar name: that of the resource
    :ivar read: at the last look, in all processes
    :ivar added: by this process since then, but for what its project has not
        passed on yet
    """

    name: str
    project: str
    resource: Resource
    limit: int = 0
    read: int = 0
    added: int = 0
    read_at: float = -math.inf

    @property
    def room(self) -> int:
        """What was left at the last look."""
        return self.limit - self.read

    def wanted(self, stored: int, delivered: int) -> int:
        """Return what is taken of it."""
        return delivered if self.resource.is_of_deliveries else stored


class _Project(msgspec.Struct):
    """What is known of a project.

    :ivar counts: of what these limits limit
    :ivar check_at: when to look them up again
    :ivar plenty: what it may take until then without a closer look
    :ivar stored: what it took since the last one
    :ivar delivered: of that, what is delivered as well
    """

    limits: Limits
    counts: Sequence[_Count] = ()
    check_at: float = -math.inf
    plenty: float = 0
    stored: int = 0
    delivered: int = 0

    def pass_on(self) -> None:
        """Add what was taken to the counts."""
        # At once: others take without a lock meanwhile.
        stored, self.stored = self.stored, 0
        delivered, self.delivered = self.delivered, 0
        for count in self.counts:
            added = count.added + count.wanted(stored, delivered)
            # It may have been read before some of it was given back.
            count.added = max(added, 0)


#: What a project takes: what is stored, what of that is counted once it is
#: delivered as well, and what of that is counted already.
Taken = tuple[int, int, int]

NOTHING: Taken = (0, 0, 0)


class ApproximateUsage:
    """What projects have of resources, as one process knows it.

    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        quotas: Quotas,
        resources: Sequence[Resource],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quotas = quotas
        self._resources = resources
        self._timer = timer
        self._lock = threading.Lock()
        self._known: BoundedCache[str, _Project] = BoundedCache(CACHED)
        self._reads = BackgroundReads('usage', self._read)

    def take(
        self,
        project: str,
        stored: int,
        delivered: int,
        now: float,
        is_delivered: Callable[[], bool],
    ) -> Taken:
        """Check that a project may have more, and count that.

        :meth:`settle` what it gets instead.

        :param stored: what is stored if nothing fails
        :param delivered: what may be delivered as well; where the project has
            plenty of room, it is not counted yet
        :param now: the time, as by the timer
        :param is_delivered: tells whether it is; called only if there is no
            room
        :raises QuotaExceeded: there is no room; then nothing is counted
        """
        # For every post: hence few calls, and no lock. Threads that meet here
        # exceed a limit by a small part of the room at worst.
        try:
            known = self._known[project]
        except KeyError:
            pass
        else:
            size = stored if stored > delivered else delivered
            plenty = known.plenty - size
            if plenty >= 0 and now < known.check_at:
                known.plenty = plenty
                known.stored += stored
                return stored, delivered, 0
        return self._take_exactly(
            project, stored, delivered, now, is_delivered
        )

    def settle(self, project: str, stored: int, delivered: int) -> None:
        """Count what a project gets besides what was counted for it.

        :param stored: below zero for what it does not get
        """
        # For every post with subscribers, too.
        try:
            known = self._known[project]
        except KeyError:
            return
        known.stored += stored
        known.delivered += delivered

    def _take_exactly(
        self,
        project: str,
        stored: int,
        delivered: int,
        now: float,
        is_delivered: Callable[[], bool],
    ) -> Taken:
        """Do so where there may be little room, or what is known is old."""
        limits = self._quotas.limits(project)
        known = self._known.get(project)
        if known is None or known.limits is not limits:
            known = self._resolve(project, limits)
        lacking: _Count | None = None
        stale: list[_Count] = []
        plenty = math.inf
        with self._lock:
            known.pass_on()
            for count in known.counts:
                size, room = count.wanted(stored, delivered), count.room
                if size and count.added + size > room:
                    lacking = count
                count.added += size
                age = now - count.read_at
                if age >= AGAIN and (
                    age >= count.resource.fresh or 2 * count.added > room
                ):
                    stale.append(count)
                plenty = min(plenty, (room - count.added) / PLENTY)
            if lacking is not None:
                for count in known.counts:
                    count.added -= count.wanted(stored, delivered)
                plenty = 0
            known.plenty = plenty
            known.check_at = now + UNCHECKED
        for count in stale:
            self._reads.later(count)
        if lacking is None:
            return stored, delivered, delivered
        if lacking.resource.is_of_deliveries and not offload(is_delivered):
            return self._take_exactly(project, stored, 0, now, is_delivered)
        raise self._quotas.exceeded(
            project,
            lacking.name,
            lacking.limit,
            lacking.read + lacking.added,
            lacking.wanted(stored, delivered),
        )

    def close(self) -> None:
        self._reads.close()

    def _resolve(self, project: str, limits: Limits) -> _Project:
        """Return what is known of a project with other limits than before."""
        known = self._known.get(project)
        names = {one.name for one in known.counts} if known else ()
        new = [
            _Count(resource.name, project, resource)
            for resource in self._resources
            if resource.name in limits and resource.name not in names
        ]
        for count in new:
            # It may read all records of a project.
            offload(self._read, count)
        with self._lock:
            # Others may have done so meanwhile.
            known = self._known.get(project)
            if known is None:
                known = self._known[project] = _Project(limits)
            known.pass_on()
            counts = {one.name: one for one in (*new, *known.counts)}
            limited = [one for name, one in counts.items() if name in limits]
            for count in limited:
                count.limit = limits[count.name]
            known.limits, known.counts = limits, limited
            return known

    def _read(self, count: _Count) -> None:
        """Look at what a project has; use what is known if that fails."""
        name = count.name
        known = self._known.get(count.project)
        with self._lock:
            if known is not None:
                known.pass_on()
            before = count.added
        read: int | None = None
        try:
            read = count.resource.read(count.project)
        except StoreUnavailable:
            LOG.info('The %s of a project cannot be read at present', name)
        except Exception:
            LOG.exception('The %s of a project cannot be read', name)
        with self._lock:
            is_first = count.read_at == -math.inf
            count.read_at = self._timer()
            if known is not None:
                # Of what others took, too.
                known.plenty = 0
            if read is not None:
                # What was added meanwhile may count twice until the next look.
                count.read = read
                left = count.added - before
                count.added = left if left > 0 else 0
            elif is_first:
                count.read_at -= max(0.0, count.resource.fresh - AGAIN)
