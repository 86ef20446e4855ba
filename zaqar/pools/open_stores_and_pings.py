# SPDX-License-Identifier: Apache-2.0
"""Open stores of pools, and pings that show whether they answer.

A queue in a pool that is down fails for as long as the pool does. Hence a pool
is pinged before it gets a queue, if that was not done within the last seconds,
and by one thread at a time. A health check pings all stores.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.event_loop_greenlets import offload_to
from zaqar.pools.pool_records import KIND, Pool, pool_of
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.store_opener import PoolOpener

LOG = logging.getLogger(__name__)

#: Seconds for which a store, or the failure to open it, is used before the
#: record of its pool is read again.
FRESH = 1.0

#: Seconds for which the result of a ping is used.
PING_FRESH = 5.0

#: Seconds until a store that was replaced is closed; calls may be under way.
LINGER = 60.0


def ping_each(stores: Iterable[ManagementStore | MessageStore]) -> None:
    """Raise StoreUnavailable unless the servers of all stores answer."""
    pinged: list[object] = []
    for store in stores:
        # Both kinds of records are often on the same one.
        if store.server is None or store.server not in pinged:
            store.ping()
            pinged.append(store.server)


class PoolMissing(StoreUnavailable):
    """A queue is in a pool that does not exist."""


class OpenStores:
    """Opens stores of pools on first use.

    A store is replaced when the record of its pool has changed.
    """

    def __init__(
        self,
        management: ManagementStore,
        opener: PoolOpener,
        timer: Callable[[], float],
    ) -> None:
        self._management = management
        self._opener = opener
        self._timer = timer
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._retired: list[tuple[float, MessageStore]] = []

    def get(self, name: str) -> MessageStore:
        slot = self._slot(name)
        if self._timer() >= slot.until:
            offload_to(slot, self._renew, name, slot)
        if slot.store is None:
            raise slot.fault()
        return slot.store

    def answers(self, name: str) -> bool:
        ping = self._slot(name).ping
        if self._timer() < ping.until:
            return bool(ping.succeeded)
        offload_to(ping, self._renew_ping, name, ping)
        return bool(ping.succeeded)

    def _renew(self, name: str, slot: _Slot) -> None:
        # Not under the general lock: other threads may need other pools.
        with slot.lock:
            if self._timer() >= slot.until:
                self._refresh(name, slot)

    def _renew_ping(self, name: str, ping: _Ping) -> None:
        # Other threads use the last result, and wait only for the first one.
        if ping.lock.acquire(blocking=ping.succeeded is None):
            try:
                if self._timer() >= ping.until:
                    ping.succeeded = self._ping(name)
                    ping.until = self._timer() + PING_FRESH
            finally:
                ping.lock.release()

    def look_again(self, name: str) -> None:
        """Read the record of a pool, and ping it, before its next use."""
        with self._lock:
            slot = self._slots.get(name)
        if slot is not None:
            slot.until = -1.0
            slot.ping = _Ping()

    def close(self) -> None:
        with self._lock:
            stores = [slot.store for slot in self._slots.values()]
            stores += [store for _, store in self._retired]
            self._slots.clear()
            self._retired.clear()
        for store in stores:
            if store is not None:
                store.close()

    def _slot(self, name: str) -> _Slot:
        with self._lock:
            return self._slots.setdefault(name, _Slot())

    def _ping(self, name: str) -> bool:
        try:
            self.get(name).ping()
        except StoreUnavailable:
            return False
        return True

    def _refresh(self, name: str, slot: _Slot) -> None:
        record = self._management.get(KIND, '', name)
        pool = None if record is None else pool_of(name, record.data)
        wanted = None if pool is None else (pool.uri, pool.options)
        if wanted is None or wanted != slot.opened:
            self._replace(name, slot, pool)
            slot.opened = wanted if slot.store is not None else None
        slot.until = self._timer() + FRESH

    def _replace(self, name: str, slot: _Slot, pool: Pool | None) -> None:
        old, slot.store = slot.store, None
        if old is not None:
            self._retire(old)
        slot.fault = PoolMissing
        if pool is None:
            return
        slot.fault = StoreUnavailable
        try:
            slot.store = self._opener.open(pool.uri, pool.options, name)
        except ConfigurationError as error:
            LOG.error('Pool "%s" cannot be opened: %s', name, error)

    def _retire(self, store: MessageStore) -> None:
        """Close a store later, when its last calls have ended."""
        now = self._timer()
        with self._lock:
            idle = [old for at, old in self._retired if now - at >= LINGER]
            recent = [pair for pair in self._retired if now - pair[0] < LINGER]
            self._retired = [*recent, (now, store)]
        for old in idle:
            old.close()


class _Ping:
    """The last ping of a pool, and until when it counts."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.succeeded: bool | None = None
        self.until = -1.0


class _Slot:
    """The store of one pool.

    :ivar opened: URI and options that the store was opened with
    :ivar until: when to read the record of the pool again
    :ivar fault: the error to raise without a store
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.store: MessageStore | None = None
        self.opened: tuple[str, Mapping[str, Any]] | None = None
        self.until = -1.0
        self.fault: type[StoreUnavailable] = StoreUnavailable
        self.ping = _Ping()
