# SPDX-License-Identifier: Apache-2.0
"""Where WebSocket servers are: leases in the management store.

:source: reference/websocket, "Pushes"
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zaqar.models import Record
from zaqar.storage.base import ManagementStore
from zaqar.storage.records import Data, update

#: Kind of the records, all under one parent.
KIND = 'node'
_PARENT = ''

#: Seconds between two renewals, and after which a lease is over.
RENEWED = 10
LIFETIME = 30

#: Seconds for which a lease that was read is believed.
_BELIEVED = 5

#: Takes a connection and JSON text; returns a status as of HTTP.
Deliver = Callable[[str, bytes], int]


@dataclass(frozen=True, slots=True)
class Lease:
    """Where a server can be told of messages.

    :ivar uri: ``http://host:port``
    :ivar expires: in milliseconds by the clock of the store
    :ivar secret: of the server alone, '' where a shared one is set
    """

    uri: str
    expires: int
    secret: str = ''


def renew(
    store: ManagementStore, node: str, uri: str, secret: str
) -> tuple[int | None, int]:
    """Write or renew a lease.

    :returns: when the former one ended, None without one; and now
    """
    now = store.clock.now()
    data: dict[str, Any] = {'uri': uri, 'expires': now + LIFETIME * 1000}
    if secret:
        data['secret'] = secret
    former: int | None = None

    def edit(record: Record | None) -> Data:
        nonlocal former
        former = record.data['expires'] if record else None
        return data

    update(store, (KIND, _PARENT, node), edit)
    return former, now


def release(store: ManagementStore, node: str, uri: str) -> None:
    """Give a lease back, unless a successor has it already."""
    record = store.get(KIND, _PARENT, node)
    if record is not None and record.data['uri'] == uri:
        store.delete(KIND, _PARENT, node)


class Directory:
    """Finds servers, and asks the store once in a few seconds for each."""

    def __init__(self, store: ManagementStore) -> None:
        self._store = store
        self._known: dict[str, tuple[int, Lease | None]] = {}

    def find(self, node: str) -> Lease | None:
        """Return the lease of a server that lives, else None.

        :raises StoreUnavailable: nobody knows
        """
        now = self._store.clock.now()
        read_at, lease = self._known.get(node, (0, None))
        if lease is None or now - read_at > _BELIEVED * 1000:
            lease = self._read(node)
            if len(self._known) > 1000:
                self._known.clear()
            self._known[node] = (now, lease)
        return lease if lease is not None and lease.expires > now else None

    def doubt(self, node: str) -> None:
        """Ask the store the next time, whatever is known."""
        self._known.pop(node, None)

    def _read(self, node: str) -> Lease | None:
        record = self._store.get(KIND, _PARENT, node)
        return Lease(**record.data) if record else None


class Here:
    """The servers of this process, which need not be sent anything."""

    def __init__(self) -> None:
        self._found: dict[str, Deliver] = {}
        self._lock = threading.Lock()

    def join(self, node: str, deliver: Deliver) -> None:
        """Take in a server."""
        with self._lock:
            self._found[node] = deliver

    def leave(self, node: str) -> None:
        """Forget a server."""
        with self._lock:
            self._found.pop(node, None)

    def find(self, node: str) -> Deliver | None:
        """Return how to tell a server of this process, else None."""
        return self._found.get(node)


HERE = Here()
