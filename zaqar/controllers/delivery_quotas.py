# SPDX-License-Identifier: Apache-2.0
"""The bytes of pending deliveries of projects, for their quota.

Notifiers keep a running count for each project and pool, in records; a process
that posts reads them twice a minute, in the background.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable

import msgspec

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers.background_reads import BackgroundReads
from zaqar.controllers.quotas import CACHED, Quotas
from zaqar.errors import StoreUnavailable
from zaqar.models import Data, Record, Scope
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.base import ManagementStore
from zaqar.storage.record_updates_and_listing import list_all, update

LOG = logging.getLogger(__name__)

RESOURCE = 'delivery_bytes'

#: Kind of the records: the parent is a pool, the name made of a project.
KIND = 'pending_bytes'

#: Parent for the store that the configuration names.
_CONFIGURED = ':'

#: Seconds for which a count is used, and after which a project that is refused
#: is looked at again.
FRESH = 30.0
AGAIN = 5.0


class _Known(msgspec.Struct, frozen=True):
    """What a project had pending, and when that was read."""

    size: int
    read_at: float


class DeliveryBacklog:
    """The bytes of pending deliveries, as one process knows them.

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
        self._known: BoundedCache[str, _Known] = BoundedCache(CACHED)
        self._reads = BackgroundReads('pending-bytes', self._read)

    def check(
        self, scope: Scope, size: int, is_delivered: Callable[[], bool]
    ) -> None:
        """Check that a post may be delivered.

        :param size: bytes of its bodies
        :param is_delivered: tells whether anybody gets it; called only if
            there is no room
        :raises QuotaExceeded: there is no room
        """
        project = scope.project
        limit = self._quotas.limits(project).get(RESOURCE)
        if limit is None:
            return
        known = self._known.get(project) or self._read(project)
        has_room = known.size + size <= limit
        age = self._timer() - known.read_at
        if age >= (FRESH if has_room else AGAIN):
            self._reads.later(project)
        if not has_room and is_delivered():
            used = known.size
            raise self._quotas.exceeded(project, RESOURCE, limit, used, size)

    def close(self) -> None:
        self._reads.close()

    def _read(self, project: str) -> _Known:
        former = self._known.get(project)
        size = 0 if former is None else former.size
        try:
            size = pending(self._catalogue, project)
        except StoreUnavailable:
            LOG.info('What a project has pending cannot be read at present')
        except Exception:
            LOG.exception('What a project has pending cannot be read')
        known = _Known(size, self._timer())
        self._known.pop(project, None)
        self._known[project] = known
        return known


def pending(catalogue: Catalogue, project: str) -> int:
    """Return the bytes of pending deliveries of a project, about."""
    store = catalogue.management
    records = (
        store.get(*_key(pool, project)) for pool in catalogue.outboxes()
    )
    return sum(record.data['bytes'] for record in records if record)


def add(store: ManagementStore, pool: str, project: str, change: int) -> None:
    """Change the count of a project in a pool.

    :raises StoreUnavailable: it is not changed
    """

    def edit(record: Record | None) -> Data:
        size = record.data['bytes'] if record is not None else 0
        # Below zero if it was set back meanwhile.
        return {'bytes': max(size + change, 0)}

    update(store, _key(pool, project), edit)


def reset(store: ManagementStore, pool: str) -> None:
    """Note that a pool has no pending deliveries at all.

    :raises StoreUnavailable: some counts may stay
    """
    parent = pool or _CONFIGURED
    for record in list_all(store, KIND, parent):
        store.delete(KIND, parent, record.name)


def _key(pool: str, project: str) -> tuple[str, str, str]:
    # The id of a project may be longer than a name.
    name = hashlib.sha256(project.encode(errors='surrogatepass')).hexdigest()
    return KIND, pool or _CONFIGURED, name
