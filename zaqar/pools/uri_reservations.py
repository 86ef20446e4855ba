# SPDX-License-Identifier: Apache-2.0
"""Reservations of URIs: no two pools have the same one.

A record of kind ``pool_uri`` is created before a pool is recorded with a URI,
and deleted when the pool gets another one or is removed. Its name is a hash of
the URI, which can be longer than names may be.
"""

import hashlib
from collections.abc import Callable

from zaqar.objects import Data, Record
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.record_updates_and_listing import update

KIND = 'pool_uri'

#: Milliseconds after which the URI of a pool that does not have it is free
#: again: a process died before the pool was recorded, or after it had got
#: another URI.
STALE = 60_000


def reserve(
    management: ManagementStore,
    uri: str,
    pool: str,
    uri_of: Callable[[str], str | None],
) -> bool:
    """Reserve a URI for a pool.

    :param uri_of: returns the URI that a pool is recorded with, if it exists
    :returns: False if another pool has it
    """
    now = management.clock.now()

    def edit(record: Record | None) -> Data | None:
        if record is not None:
            holder = record.data['pool']
            is_fresh = now - record.data['at'] < STALE
            if holder != pool and (is_fresh or uri_of(holder) == uri):
                return None
        return {'pool': pool, 'at': now}

    return update(management, (KIND, '', _name(uri)), edit) is not None


def release(management: ManagementStore, uri: str, pool: str) -> None:
    """Delete the reservation of a URI, if this pool has it."""
    key = (KIND, '', _name(uri))
    record = management.get(*key)
    if record is not None and record.data['pool'] == pool:
        management.delete(*key, version=record.version)


def _name(uri: str) -> str:
    return hashlib.sha256(uri.encode('utf-8', 'surrogatepass')).hexdigest()
