# SPDX-License-Identifier: Apache-2.0
"""Stores of pools, opened when first needed and when a pool has changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.pools.records import KIND, Pool, pool_of
from zaqar.storage.base import ManagementStore, MessageStore
from zaqar.storage.opener import PoolOpener

LOG = logging.getLogger(__name__)

#: Seconds for which a pool is used without reading its record again, and
#: for which a failure to find or open it is remembered.
FRESH = 1.0

#: Seconds that calls on a store that was replaced may still take.
LEISURE = 60.0


class PoolMissing(StoreUnavailable):
    """A queue is in a pool that does not exist."""


class OpenStores:
    """Stores of pools by name, opened when first needed.

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
        """Return the store of a pool."""
        with self._lock:
            slot = self._slots.setdefault(name, _Slot())
        if self._timer() >= slot.until:
            # One thread looks; others may need other pools meanwhile.
            with slot.lock:
                if self._timer() >= slot.until:
                    self._refresh(name, slot)
        if slot.store is None:
            raise slot.fault()
        return slot.store

    def look_again(self, name: str) -> None:
        """Believe nothing that is known of a pool."""
        with self._lock:
            slot = self._slots.get(name)
        if slot is not None:
            slot.until = -1.0

    def close(self) -> None:
        """Give back all connections."""
        with self._lock:
            stores = [slot.store for slot in self._slots.values()]
            stores += [store for _, store in self._retired]
            self._slots.clear()
            self._retired.clear()
        for store in stores:
            if store is not None:
                store.close()

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
        """Close a store, once calls that are under way have ended."""
        now = self._timer()
        with self._lock:
            over = [old for at, old in self._retired if now - at >= LEISURE]
            kept = [item for item in self._retired if now - item[0] < LEISURE]
            self._retired = [*kept, (now, store)]
        for old in over:
            old.close()


class _Slot:
    """What is known of one pool.

    :ivar opened: URI and options that the store was opened with
    :ivar until: when to look again
    :ivar fault: what to raise without a store
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.store: MessageStore | None = None
        self.opened: tuple[str, Mapping[str, Any]] | None = None
        self.until = -1.0
        self.fault: type[StoreUnavailable] = StoreUnavailable
