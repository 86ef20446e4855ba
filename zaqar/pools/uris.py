# SPDX-License-Identifier: Apache-2.0
"""One pool for a URI, even if two are made at the same moment.

A record of kind ``pool_uri`` is taken before a pool is recorded with a URI
and given back when the pool has another one or is gone. Its name is a hash of
the URI, which can be longer than names may be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from zaqar.models import Record
from zaqar.storage.base import ManagementStore
from zaqar.storage.records import Data, update

KIND = 'pool_uri'

#: Milliseconds after which a URI is free that was taken for a pool which does
#: not have it: whoever took it has died before the pool was recorded, or
#: after it was given another one.
STALE = 60_000


def take(
    management: ManagementStore,
    uri: str,
    pool: str,
    uri_of: Callable[[str], str | None],
) -> bool:
    """Take a URI for a pool; tell whether it was to be had.

    :param uri_of: returns the URI that a pool is recorded with, if it exists
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


def give_back(management: ManagementStore, uri: str, pool: str) -> None:
    """Let others have a URI, if this pool had it."""
    key = (KIND, '', _name(uri))
    record = management.get(*key)
    if record is not None and record.data['pool'] == pool:
        management.delete(*key)


def _name(uri: str) -> str:
    return hashlib.sha256(uri.encode('utf-8', 'surrogatepass')).hexdigest()
