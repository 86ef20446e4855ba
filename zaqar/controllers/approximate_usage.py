# SPDX-License-Identifier: Apache-2.0
"""What projects have of resources that are not counted at each request.

A process reads it once in a while, in the background.

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
from zaqar.controllers.quota_settings import Limits
from zaqar.controllers.quotas import CACHED, Quotas
from zaqar.errors import StoreUnavailable

LOG = logging.getLogger(__name__)

#: Seconds after which a project is looked at again that is refused, or that
#: has used half of its room since the last look; and after which a read that
#: failed is repeated.
AGAIN = 5.0


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
    """

    limits: Limits
    counts: Sequence[_Count]


#: Numbers by the names of resources.
Sizes = Mapping[str, int]


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
        applies: Callable[[str], bool] = lambda _: True,
    ) -> Sizes:
        """Check that a project may have more, and count that.

        :param sizes: of all resources
        :param applies: tells whether a resource will be used; called only if
            there is no room
        :returns: what is counted now
        :raises QuotaExceeded: there is no room; then nothing is counted
        """
        limits = self._quotas.limits(project)
        # For every post: hence few calls.
        try:
            known = self._known[project]
        except KeyError:
            known = self._resolve(project, limits)
        if known.limits is not limits:
            known = self._resolve(project, limits)
        now = self._timer()
        lacking: _Count | None = None
        stale: list[_Count] | None = None
        with self._lock:
            for count in known.counts:
                size, room = sizes[count.name], count.limit - count.read
                count.added += size
                if size and count.added > room:
                    lacking = count
                age = now - count.read_at
                if age >= AGAIN and (
                    age >= count.resource.fresh or 2 * count.added > room
                ):
                    stale = [*(stale or ()), count]
            if lacking is not None:
                for count in known.counts:
                    count.added -= sizes[count.name]
        for count in stale or ():
            self._reads.later(count)
        if lacking is None:
            return sizes
        name = lacking.name
        if not applies(name):
            return self.take(project, {**sizes, name: 0}, applies)
        used = lacking.read + lacking.added
        raise self._quotas.exceeded(
            project, name, lacking.limit, used, sizes[name]
        )

    def give_back(self, project: str, sizes: Sizes) -> None:
        """Count no longer what a project has not got after all."""
        try:
            known = self._known[project]
        except KeyError:
            return
        with self._lock:
            for count in known.counts:
                if count.name in sizes:
                    left = count.added - sizes[count.name]
                    # It may have been read meanwhile.
                    count.added = left if left > 0 else 0

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
            self._read(count)
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
                count.read, count.added = read, max(0, count.added - before)
            elif is_first:
                count.read_at -= max(0.0, count.resource.fresh - AGAIN)
