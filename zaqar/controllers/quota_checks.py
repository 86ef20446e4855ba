# SPDX-License-Identifier: Apache-2.0
"""Checks of quotas: whether a project may have more of a resource.

Limits are cached for a minute. Older ones are used while a thread reads them
anew, so that no request waits for Keystone but the first one of a project.
What is created is counted by the store while a lock of the process is held:
processes that do so at the same moment may exceed a limit by one each.

:source: reference/http, "Quotas and rates"
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import msgspec

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers.background_reads import BackgroundReads
from zaqar.controllers.quota_limit_sources import (
    NO_LIMITS,
    LimitSource,
    LimitsUnavailable,
)
from zaqar.controllers.quota_settings import (
    RESOURCES,
    Limits,
    QuotaSettings,
)
from zaqar.errors import QuotaExceeded, StoreUnavailable, one_line
from zaqar.loop_greenlets import offload
from zaqar.objects import Scope
from zaqar.pools.queue_catalogue import Room
from zaqar.storage.base import ManagementStore

LOG = logging.getLogger(__name__)

#: Seconds for which limits are cached, and after which they are read again if
#: that failed.
FRESH = 60.0
AGAIN = 10.0

#: Projects whose limits are cached.
CACHED = 10_000

#: Locks of a resource, which its projects share.
_LOCKS = 64

#: Seconds for which a creation waits for others of the same project.
_PATIENCE = 5.0


class _Known(msgspec.Struct):
    """Limits, and when to read them again."""

    limits: Limits
    until: float


class Quotas:
    """The limits of projects.

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
        self._rejected = rejected
        self.settings = settings or QuotaSettings()
        self._defaults = self.settings.limits
        self._is_on = self.settings.are_on
        self._source = source
        self._timer = timer
        self._known: BoundedCache[str, _Known] = BoundedCache(CACHED)
        self._locks = {
            name: [threading.Lock() for _ in range(_LOCKS)]
            for name in RESOURCES
        }
        self._reads = BackgroundReads('quotas', self._read)
        self._lock = threading.Lock()
        self._is_away = False

    def limits(self, project: str) -> Limits:
        """Return the limits that a project has."""
        if not self._is_on:
            return NO_LIMITS
        if self._source is None:
            return self._defaults
        known = self._known.get(project)
        if known is None:
            return offload(self._read, project)
        if self._timer() >= known.until:
            self._reads.later(project)
        return known.limits

    def forget(self, project: str) -> None:
        """Read the limits of a project anew."""
        self._known.pop(project, None)

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

    def close(self) -> None:
        self._reads.close()

    def _read(self, project: str) -> Limits:
        """Read the limits of a project; keep the last ones if that fails."""
        assert self._source is not None
        try:
            own = self._source.limits(project)
            limits, patience = _merged(self._defaults, own), FRESH
            self._note_back()
        except Exception as error:
            self._note_away(error)
            known = self._known.get(project)
            if known is not None:
                limits = known.limits
            else:
                general = getattr(error, 'general', NO_LIMITS)
                limits = _merged(self._defaults, general)
            patience = AGAIN
        # At the end, so that those go first that were read longest ago.
        self._known.pop(project, None)
        self._known[project] = _Known(limits, self._timer() + patience)
        return limits

    def _note_away(self, error: Exception) -> None:
        with self._lock:
            was_away, self._is_away = self._is_away, True
        if not was_away:
            is_known = isinstance(error, LimitsUnavailable)
            LOG.warning(
                'Limits of projects cannot be read, the last known ones hold: '
                '%s',
                one_line(error),
                exc_info=None if is_known else error,
            )

    def _note_back(self) -> None:
        if not self._is_away:
            return
        with self._lock:
            was_away, self._is_away = self._is_away, False
        if was_away:
            LOG.info('Limits of projects can be read again')


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


def _merged(defaults: Limits, own: Mapping[str, int]) -> Limits:
    """Return the limits of a project with own ones."""
    limits = {**defaults, **own}
    return {
        name: limits[name] for name in RESOURCES if limits.get(name, -1) >= 0
    }
