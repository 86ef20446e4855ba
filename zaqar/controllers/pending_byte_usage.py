# SPDX-License-Identifier: Apache-2.0
"""The bytes of pending deliveries of projects, for their quota.

Notifiers keep a running count for each project and pool, in records; a process
that posts reads them twice a minute, and adds what it posts itself meanwhile,
once however many subscribers there are.
"""

import functools
import hashlib

from zaqar.controllers.approximate_quota_checks import Resource
from zaqar.objects import Data, Record
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.record_updates_and_listing import list_all, update

RESOURCE = 'delivery_bytes'

#: Kind of the records: the parent is a pool, the name made of a project.
KIND = 'pending_bytes'

#: Parent for the store that the configuration names.
_CONFIGURED = ':'

#: Seconds for which a count is used.
FRESH = 30.0


def resource(catalogue: Catalogue) -> Resource:
    """Return how a process knows what projects have pending."""
    read = functools.partial(pending, catalogue)
    return Resource(RESOURCE, read, FRESH, is_of_deliveries=True)


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
