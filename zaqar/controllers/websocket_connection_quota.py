# SPDX-License-Identifier: Apache-2.0
"""WebSocket connections of projects, counted for their quota.

A server counts its own connections exactly, and those of other servers by what
they last recorded: they may exceed a limit by as many connections as are made
at several servers within :data:`FRESH` seconds.
"""

import collections
import contextlib
import math
import threading
import time
from collections.abc import Callable, Mapping

from zaqar.controllers.quota_checks_by_counting import Quotas
from zaqar.errors import StoreUnavailable
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.record_updates_and_listing import list_all, update

#: Kind and parent of the records, one for each server.
KIND = 'sockets'
PARENT = ''

#: Seconds for which the counts of other servers are cached.
FRESH = 10.0

#: Milliseconds after which a record no longer counts: its server has died.
LIFETIME = 30_000

RESOURCE = 'sockets'


class Sockets:
    """The connections of one server.

    :param node: name of the server
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        quotas: Quotas,
        store: ManagementStore,
        node: str,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quotas = quotas
        self._store = store
        self._node = node
        self._timer = timer
        self._lock = threading.Lock()
        self._counts: collections.Counter[str] = collections.Counter()
        self._is_recorded = False
        #: Those of other servers, and until when that is fresh.
        self._others: Mapping[str, int] = {}
        self._until = -math.inf

    def enter(self, project: str) -> None:
        """Count a connection of a project.

        :raises QuotaExceeded: it has as many as it may have
        """
        limit = self._quotas.limits(project).get(RESOURCE)
        others = 0 if limit is None else self._count_others(project)
        with self._lock:
            used = self._counts[project] + others
            if limit is not None and used >= limit:
                raise self._quotas.exceeded(project, RESOURCE, limit, used)
            self._counts[project] += 1

    def leave(self, project: str) -> None:
        """Count a connection of a project no longer."""
        with self._lock:
            self._counts[project] -= 1
            if not self._counts[project]:
                del self._counts[project]

    def record(self) -> None:
        """Record how many there are, for other servers.

        :raises StoreUnavailable: they may not be recorded
        """
        if not self._quotas.settings.are_on:
            return
        with self._lock:
            counts = dict(self._counts)
        if not counts and not self._is_recorded:
            return
        until = self._store.clock.now() + LIFETIME
        self._is_recorded = True
        data = {'counts': counts, 'until': until}
        update(self._store, (KIND, PARENT, self._node), lambda _: data)

    def withdraw(self) -> None:
        """Record that there are none any more.

        :raises StoreUnavailable: the record may stay until it expires
        """
        if self._is_recorded:
            self._store.delete(KIND, PARENT, self._node)
            self._is_recorded = False

    def _count_others(self, project: str) -> int:
        if self._timer() >= self._until:
            with contextlib.suppress(StoreUnavailable):
                self._others = recorded(self._store, but=self._node)
            self._until = self._timer() + FRESH
        return self._others.get(project, 0)


class Place:
    """The place of one connection among those of its project.

    :param sockets: those of the server, None to count nothing
    """

    def __init__(self, sockets: Sockets | None = None) -> None:
        self._sockets = sockets
        self._lock = threading.Lock()
        self._is_closed = False
        self.project: str | None = None

    def take(self, project: str) -> None:
        """Count the connection for a project, and for no other.

        :raises QuotaExceeded: the project has as many as it may have
        """
        if self.project == project:
            return
        if self._sockets is not None:
            self._sockets.enter(project)
        with self._lock:
            former, self.project = self.project, project
        self._leave(project if self._is_closed else former)

    def close(self) -> None:
        """Count the connection no longer."""
        with self._lock:
            self._is_closed = True
            former, self.project = self.project, None
        self._leave(former)

    def _leave(self, project: str | None) -> None:
        if self._sockets is not None and project is not None:
            self._sockets.leave(project)


def recorded(store: ManagementStore, but: str = '') -> Mapping[str, int]:
    """Return how many connections of projects servers have recorded.

    :param but: a server that is left out
    """
    now = store.clock.now()
    counts: collections.Counter[str] = collections.Counter()
    for record in list_all(store, KIND, PARENT):
        if record.name != but and record.data['until'] > now:
            counts.update(record.data['counts'])
    return counts
