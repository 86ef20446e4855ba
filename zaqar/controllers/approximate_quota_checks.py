# SPDX-License-Identifier: Apache-2.0
"""Checks of quotas whose usage is only read once in a while.

A process reads it in the background.

:source: reference/http, "Quotas and rates"
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence

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
#: it takes.
UNCHECKED = 1.0
PLENTY = 64


class Resource(msgspec.Struct, frozen=True):
    """A resource that is read once in a while.

    :ivar name: that of its quota
    :ivar read: takes a project and returns what it has, None if unknown
    :ivar fresh: seconds for which that is used
    """

    name: str
    read: Callable[[str], int | None]
    fresh: float


class _Count(msgspec.Struct, eq=False):
    """What a project has of a resource.

    :ivar name: that of the resource
    :ivar read: at the last look, in all processes
    :ivar added: by this process since then
    """

    name: str
    project: str
    resource: Resource
    limit: int = 0
    read: int = 0
    added: int = 0
    read_at: float = -math.inf


class _Project(msgspec.Struct):
    """What is known of a project.

    :ivar counts: of what these limits limit
    :ivar check_at: when to look them up again
    """

    limits: Limits
    counts: Sequence[_Count]
    check_at: float = -math.inf


#: Numbers by the names of resources.
Sizes = Mapping[str, int]

NOTHING: Sizes = {}


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
        sizes: Sizes,
        later: Sizes,
        now: float,
        is_used: Callable[[], bool] = lambda: True,
    ) -> Sizes:
        """Check that a project may have more, and count that.

        Pass what is returned to :meth:`settle`, unless it is what the project
        gets.

        :param sizes: what it gets if nothing fails
        :param later: what it may get as well; where it has plenty of room, it
            is not counted yet
        :param now: the time, as by the timer
        :param is_used: tells whether it gets that; called only if there is no
            room
        :returns: what is counted now, ``sizes`` itself if that is all
        :raises QuotaExceeded: there is no room; then nothing is counted
        """
        # For every post: hence few calls, and no lock. Threads that meet here
        # exceed a limit by a small part of the room at worst.
        try:
            known = self._known[project]
        except KeyError:
            return self._take_exactly(project, sizes, later, now, is_used)
        if now < known.check_at:
            for count in known.counts:
                name = count.name
                size = sizes[name] if name in sizes else later[name]
                if size * PLENTY > count.limit - count.read - count.added:
                    break
            else:
                for count in known.counts:
                    if count.name in sizes:
                        count.added += sizes[count.name]
                return sizes
        return self._take_exactly(project, sizes, later, now, is_used)

    def settle(self, project: str, counted: Sizes, gets: Sizes) -> None:
        """Count what a project gets instead of what was counted for it."""
        try:
            known = self._known[project]
        except KeyError:
            return
        with self._lock:
            for count in known.counts:
                name, left = count.name, count.added
                if name in gets:
                    left += gets[name]
                if name in counted:
                    left -= counted[name]
                # It may have been read meanwhile.
                count.added = left if left > 0 else 0

    def _take_exactly(
        self,
        project: str,
        sizes: Sizes,
        later: Sizes,
        now: float,
        is_used: Callable[[], bool],
    ) -> Sizes:
        """Do so where there may be little room, or what is known is old."""
        limits = self._quotas.limits(project)
        known = self._known.get(project)
        if known is None or known.limits is not limits:
            known = self._resolve(project, limits)
        wanted = {**sizes, **later}
        lacking: _Count | None = None
        stale: list[_Count] = []
        with self._lock:
            for count in known.counts:
                size, room = wanted[count.name], count.limit - count.read
                count.added += size
                if size and count.added > room:
                    lacking = count
                age = now - count.read_at
                if age >= AGAIN and (
                    age >= count.resource.fresh or 2 * count.added > room
                ):
                    stale.append(count)
            if lacking is not None:
                for count in known.counts:
                    count.added -= wanted[count.name]
            known.check_at = now + UNCHECKED
        for count in stale:
            self._reads.later(count)
        if lacking is None:
            return wanted
        name = lacking.name
        if name in later and not offload(is_used):
            unused = {**later, name: 0}
            return self._take_exactly(project, sizes, unused, now, is_used)
        used = lacking.read + lacking.added
        raise self._quotas.exceeded(
            project, name, lacking.limit, used, wanted[name]
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
            counts = {one.name: one for one in new}
            if known is not None:
                counts |= {one.name: one for one in known.counts}
            limited = [one for name, one in counts.items() if name in limits]
            for count in limited:
                count.limit = limits[count.name]
            known = self._known[project] = _Project(limits, limited)
            return known

    def _read(self, count: _Count) -> None:
        """Look at what a project has; use what is known if that fails."""
        name = count.name
        with self._lock:
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
            if read is not None:
                # What was added meanwhile may count twice until the next look.
                count.read = read
                left = count.added - before
                count.added = left if left > 0 else 0
            elif is_first:
                count.read_at -= max(0.0, count.resource.fresh - AGAIN)
