# SPDX-License-Identifier: Apache-2.0
"""Exact checks of quotas: whether a project may have more of a resource.

What is created is counted by the store while a lock of the process is held:
processes that do so at the same moment may exceed a limit by one each.

:source: reference/http, "Quotas and rates"
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from zaqar.controllers.configured_quotas import RESOURCES, QuotaSettings
from zaqar.controllers.quota_limit_sources import LimitSource
from zaqar.controllers.quota_limits_cache import LimitsCache
from zaqar.errors import QuotaExceeded, StoreUnavailable
from zaqar.objects import Scope
from zaqar.pools.queue_catalogue import Room
from zaqar.storage.abstract_stores import ManagementStore

#: Locks of a resource, which its projects share.
_LOCKS = 64

#: Seconds for which a creation waits for others of the same project.
_PATIENCE = 5.0


class Quotas(LimitsCache):
    """The limits of projects, and checks of them.

    :param source: of limits that differ from the settings, None if none do
    :param timer: seconds by a clock that never goes back
    :param rejected: called with the resource of which a project has too much
    """

    def __init__(
        self,
        settings: QuotaSettings | None = None,
        source: LimitSource | None = None,
        timer: Callable[[], float] = time.monotonic,
        rejected: Callable[[str], object] = lambda _: None,
    ) -> None:
        super().__init__(settings, source, timer)
        self._rejected = rejected
        self._locks = {
            name: [threading.Lock() for _ in range(_LOCKS)]
            for name in RESOURCES
        }

    def check(
        self, project: str, resource: str, used: int, more: int = 1
    ) -> None:
        """Check that a project may have more of a resource.

        :raises QuotaExceeded: it may not
        """
        limit = self.limits(project).get(resource)
        if limit is not None and used + more > limit:
            raise self.exceeded(project, resource, limit, used, more)

    def exceeded(
        self, project: str, resource: str, limit: int, used: int, more: int = 1
    ) -> QuotaExceeded:
        """Count a rejection, and return the error to be raised."""
        self._rejected(resource)
        return QuotaExceeded(project, resource, limit, used, more)

    @contextlib.contextmanager
    def room(
        self,
        project: str,
        resource: str,
        count: Callable[[], int],
        exists: Callable[[], bool] = lambda: False,
    ) -> Iterator[None]:
        """Check that there is room for one more, and hold it meanwhile.

        :param count: returns how many there are
        :param exists: tells, when there is no room, whether nothing is going
            to be created
        :raises QuotaExceeded: there is no room
        """
        limit = self.limits(project).get(resource)
        if limit is None:
            yield
            return
        locks = self._locks[resource]
        lock = locks[hash(project) % _LOCKS]
        if not lock.acquire(timeout=_PATIENCE):
            raise StoreUnavailable
        try:
            used = count()
            if used >= limit and not exists():
                raise self.exceeded(project, resource, limit, used)
            yield
        finally:
            lock.release()


def queue_room(quotas: Quotas, store: ManagementStore) -> Room:
    """Return what holds room for the queues and topics of projects."""

    def room(scope: Scope) -> contextlib.AbstractContextManager[None]:
        kind, project = scope.kind, scope.project
        return quotas.room(
            project,
            f'{kind}s',
            lambda: store.count(kind, project),
            lambda: store.get(kind, project, scope.name) is not None,
        )

    return room
