# SPDX-License-Identifier: Apache-2.0
"""Addresses of WebSocket servers: leases in the management store.

:source: reference/websocket, "Pushes"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zaqar.bounded_cache import BoundedCache
from zaqar.objects import Data, Record
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.record_updates_and_listing import update

#: Kind of the records, all under one parent.
KIND = 'node'
_PARENT = ''

#: Seconds between two renewals, and after which a lease expires.
RENEW_SECONDS = 10
LIFETIME = 30

#: Seconds for which leases are cached, and the maximum number of them.
CACHE_SECONDS = 5
MAX_CACHED = 1000

#: Scheme of the addresses of servers; those of earlier releases have another
#: one, and speak another protocol.
SCHEME = 'tcp:'


@dataclass(frozen=True, slots=True)
class NodeLease:
    """The internal address of a WebSocket server.

    :ivar uri: ``tcp://host:port``
    :ivar expires: in milliseconds by the clock of the store
    :ivar secret: secret of this server alone, '' where a shared one is set
    """

    uri: str
    expires: int
    secret: str = ''


def renew(
    store: ManagementStore,
    node: str,
    uri: str,
    secret: str,
    *,
    yields: bool = False,
) -> tuple[int | None, int]:
    """Create or renew a lease.

    :param yields: whether to leave it to a successor that has taken it over
    :returns: when the former one expires, None without one; and now
    """
    now = store.clock.now()
    data: dict[str, Any] = {'uri': uri, 'expires': now + LIFETIME * 1000}
    if secret:
        data['secret'] = secret
    former: int | None = None

    def edit(record: Record | None) -> Data | None:
        nonlocal former
        former = record.data['expires'] if record else None
        if yields and record and _is_held(record.data, uri, now):
            return None
        return data

    update(store, (KIND, _PARENT, node), edit)
    return former, now


def _is_held(data: Mapping[str, Any], uri: str, now: int) -> bool:
    """Tell whether another server has a lease that has not expired."""
    return data['uri'] != uri and bool(data['expires'] > now)


def release(store: ManagementStore, node: str, uri: str) -> None:
    """Delete a lease, unless a successor has it already."""
    record = store.get(KIND, _PARENT, node)
    if record is not None and record.data['uri'] == uri:
        store.delete(KIND, _PARENT, node, version=record.version)


class NodeDirectory:
    """Looks up servers by node, with a cache of a few seconds."""

    def __init__(self, store: ManagementStore) -> None:
        self._store = store
        self._cached: BoundedCache[str, tuple[int, NodeLease | None]] = (
            BoundedCache(MAX_CACHED)
        )

    def cached(self, node: str) -> NodeLease | None:
        """Return the lease of a server that was read a moment ago, if any."""
        now = self._store.clock.now()
        read_at, lease = self._cached.get(node, (0, None))
        if lease is None or now - read_at > CACHE_SECONDS * 1000:
            return None
        return lease if lease.expires > now else None

    def read(self, node: str) -> NodeLease | None:
        """Read the lease of a server, None without a live one."""
        now = self._store.clock.now()
        lease = self._read(node)
        self._cached[node] = (now, lease)
        return lease if lease is not None and lease.expires > now else None

    def invalidate(self, node: str) -> None:
        """Drop what is cached of a server."""
        self._cached.pop(node, None)

    def _read(self, node: str) -> NodeLease | None:
        record = self._store.get(KIND, _PARENT, node)
        return NodeLease(**record.data) if record else None
