# SPDX-License-Identifier: Apache-2.0
"""What projects have of a resource that is not counted at each request.

A process reads it once in a while, in the background.

:source: reference/http, "Quotas and rates"
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

import msgspec

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers.background_reads import BackgroundReads
from zaqar.controllers.quotas import CACHED, Quotas
from zaqar.errors import StoreUnavailable

LOG = logging.getLogger(__name__)

#: Seconds after which a project is looked at again that is refused, or that
#: has used half of its room since the last look; and after which a read that
#: failed is repeated.
AGAIN = 5.0


class _Known(msgspec.Struct):
    """What a project has.

    :ivar read: at the last look, in all processes
    :ivar added: by this process since then
    """

    read: int = 0
    added: int = 0
    read_at: float = -math.inf


class ApproximateUsage:
    """What projects have of a resource, as one process knows it.

    :param resource: with the name of its quota
    :param read: returns what a project has, None if that is unknown
    :param fresh: seconds for which that is used
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        quotas: Quotas,
        resource: str,
        read: Callable[[str], int | None],
        *,
        fresh: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quotas = quotas
        self._resource = resource
        self._count = read
        self._fresh = fresh
        self._timer = timer
        self._lock = threading.Lock()
        self._known: BoundedCache[str, _Known] = BoundedCache(CACHED)
        self._reads = BackgroundReads(resource, self._read)

    def check(
        self,
        project: str,
        size: int,
        applies: Callable[[], bool] = lambda: True,
    ) -> int:
        """Check that a project may have more, and count that.

        :param applies: tells whether it will; called only if there is no room
        :returns: how much is counted now
        :raises QuotaExceeded: there is no room
        """
        limit = self._quotas.limits(project).get(self._resource)
        if limit is None:
            return 0
        known = self._known.get(project) or self._read(project)
        with self._lock:
            used = known.read + known.added
            has_room = used + size <= limit
            if has_room:
                known.added += size
            is_tight = not has_room or 2 * known.added > limit - known.read
            age = self._timer() - known.read_at
        if age >= (AGAIN if is_tight else self._fresh):
            self._reads.later(project)
        if not has_room and applies():
            raise self._quotas.exceeded(
                project, self._resource, limit, used, size
            )
        return size if has_room else 0

    def give_back(self, project: str, size: int) -> None:
        """Count no longer what a project has not got after all."""
        known = self._known.get(project)
        if known is not None:
            with self._lock:
                # It may have been read meanwhile.
                known.added = max(0, known.added - size)

    def close(self) -> None:
        self._reads.close()

    def _read(self, project: str) -> _Known:
        """Look at what a project has; use what is known if that fails."""
        former = self._known.get(project)
        before = former.added if former is not None else 0
        read: int | None = None
        try:
            read = self._count(project)
        except StoreUnavailable:
            LOG.info(
                'The %s of a project cannot be read at present', self._resource
            )
        except Exception:
            LOG.exception('The %s of a project cannot be read', self._resource)
        with self._lock:
            # At the end, so that those go first that were read longest ago.
            known = self._known.pop(project, None) or _Known()
            known.read_at = self._timer()
            if read is not None:
                # What was added meanwhile may count twice until the next look.
                known.read, known.added = read, max(0, known.added - before)
            elif former is None:
                known.read_at -= max(0.0, self._fresh - AGAIN)
            self._known[project] = known
        return known
