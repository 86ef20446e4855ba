# SPDX-License-Identifier: Apache-2.0
"""The bytes of messages that projects have stored, for their quota.

Stores keep a running count for each queue. A process adds the counts of a
project's queues up once a minute, in the background, and adds what it posts
itself meanwhile: what other processes post, and what is deleted, counts a
minute later at most.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers.background_reads import BackgroundReads
from zaqar.controllers.quotas import CACHED, Quotas
from zaqar.errors import StoreUnavailable
from zaqar.models import Kind
from zaqar.pools.all_pools import VIRTUAL
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.record_updates_and_listing import list_all

LOG = logging.getLogger(__name__)

RESOURCE = 'message_bytes'

#: Seconds for which a sum is used, and after which a project that is refused
#: is looked at again.
FRESH = 60.0
AGAIN = 5.0

#: Queues of a store that are looked at in one call.
_CHUNK = 1000


class _Sum(msgspec.Struct):
    """What a project has stored.

    :ivar read: at the last look, in all processes
    :ivar posted: by this process since then
    """

    read: int
    posted: int
    read_at: float


class StoredBytes:
    """The bytes of messages of projects, as one process knows them.

    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        quotas: Quotas,
        catalogue: Catalogue,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quotas = quotas
        self._catalogue = catalogue
        self._timer = timer
        self._lock = threading.Lock()
        self._sums: BoundedCache[str, _Sum] = BoundedCache(CACHED)
        self._reads = BackgroundReads('stored-bytes', self._read)

    def add(self, project: str, size: int) -> None:
        """Count bytes that are about to be posted.

        :raises QuotaExceeded: there is no room for them
        """
        limit = self._quotas.limits(project).get(RESOURCE)
        if limit is None:
            return
        now = self._timer()
        known = self._sums.get(project)
        if known is None:
            known = self._read(project)
        with self._lock:
            used = known.read + known.posted
            has_room = used + size <= limit
            if has_room:
                known.posted += size
            age = now - known.read_at
        if age >= (FRESH if has_room else AGAIN):
            self._reads.later(project)
        if not has_room:
            raise self._quotas.exceeded(project, RESOURCE, limit, used, size)

    def close(self) -> None:
        self._reads.close()

    def _read(self, project: str) -> _Sum:
        """Look at what a project has stored."""
        former = self._sums.get(project)
        before = former.posted if former is not None else 0
        read: int | None = None
        try:
            read = held(self._catalogue, project)
        except StoreUnavailable:
            LOG.info('What a project has stored cannot be read at present')
        except Exception:
            LOG.exception('What a project has stored cannot be read')
        now = self._timer()
        with self._lock:
            if former is not None and read is None:
                former.read_at = now
                return former
            # What was posted while the stores were looked at may count twice
            # for a minute.
            since = former.posted - before if former is not None else 0
            total = _Sum(read or 0, since, now)
            self._sums.pop(project, None)
            self._sums[project] = total
        return total


def held(catalogue: Catalogue, project: str) -> int | None:
    """Return the bytes of messages of a project, about.

    :returns: None if no store counts them
    """
    by_pool: dict[str, list[str]] = {}
    for kind in (Kind.QUEUE, Kind.TOPIC):
        for record in list_all(catalogue.management, kind, project):
            pool = record.data.get('pool') or ''
            by_pool.setdefault(pool, []).append(record.data['qid'])
    openers = catalogue.outboxes()
    total: int | None = 0 if not by_pool else None
    for pool, qids in by_pool.items():
        if pool not in openers:
            # From before there were pools.
            pool = VIRTUAL
        if pool not in openers:
            continue
        store = openers[pool]()
        for start in range(0, len(qids), _CHUNK):
            some = store.held_bytes(
                qids[start : start + _CHUNK], now=store.clock.now()
            )
            if some is not None:
                total = (total or 0) + some
    return total
