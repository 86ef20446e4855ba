# SPDX-License-Identifier: Apache-2.0
"""Pools: where messages can be kept, and which pool a new queue gets.

The record of a pool is of kind ``pool``: ``uri``, ``weight``, ``options``,
``flavor``. A record of kind ``pooled`` says under the pool's name that a
queue may be there. It is written before the
queue's own record and removed after it, so that a pool without such records
keeps nothing. ``noted`` tells that this holds; pools that were adopted may
keep queues of which there is no such record.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from zaqar.errors import (
    ConfigurationError,
    Conflict,
    NoPool,
    StoreUnavailable,
)
from zaqar.models import Record
from zaqar.storage import pool_uris
from zaqar.storage.base import ManagementStore, MessageStore
from zaqar.storage.loader import PoolOpener
from zaqar.storage.pool_health import PoolHealth

LOG = logging.getLogger(__name__)

GROUP = 'pooling:catalog'

OPTS = [
    cfg.BoolOpt(
        'enable_virtual_pool',
        default=False,
        help='Whether queues for which there is no pool are kept in the '
        'store that [drivers] message_store names, and those for which none '
        'answers. Off, they cannot be made.',
    ),
]

KIND = 'pool'

#: Stands for the configured message store; no pool can be called so.
VIRTUAL = ':message_store'

#: Seconds for which a pool is used without looking at its record again, and
#: for which a failure to find or open it is remembered.
FRESH = 1.0

#: Seconds that calls on a store that was replaced may still take.
LEISURE = 60.0

#: Records read at a time.
BATCH = 200

#: Tries of a change that meets others.
ATTEMPTS = 5

#: Milliseconds that a deletion may take.
CLOSING = 60_000


class PoolMissing(StoreUnavailable):
    """A queue is in a pool that does not exist."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as it is recorded.

    :ivar closing: the deletion that is under way, '' for none
    :ivar closing_at: since when
    :ivar gone: whether that deletion has found it unused
    """

    name: str
    uri: str
    weight: int
    flavor: str | None
    options: Mapping[str, Any]
    closing: str = ''
    closing_at: int = 0
    gone: bool = False
    noted: bool = False

    def is_over(self, now: int) -> bool:
        """Tell whether its deletion cannot be under way any more."""
        return now - self.closing_at >= CLOSING

    def is_closed(self, now: int) -> bool:
        """Tell whether no queue may be put there."""
        return self.gone or (bool(self.closing) and not self.is_over(now))


def pool_of(record: Record) -> Pool:
    """Return the pool that a record speaks of."""
    data = record.data
    closing = data.get('closing') or {}
    return Pool(
        record.name,
        data['uri'],
        data['weight'],
        data.get('flavor') or None,
        data.get('options') or {},
        closing.get('by', ''),
        closing.get('at', 0),
        bool(data.get('gone')),
        bool(data.get('noted')),
    )


class Pools:
    """The pools and their open stores.

    :param virtual: the configured message store
    :param use_virtual: whether new queues may be put there
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        management: ManagementStore,
        opener: PoolOpener,
        virtual: MessageStore,
        *,
        use_virtual: bool,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.opener = opener
        self.use_virtual = use_virtual
        self._management = management
        self._virtual = virtual
        self._stores = OpenStores(management, opener, timer)
        self._health = PoolHealth(self._stores.get, timer)

    def all(self) -> Sequence[Pool]:
        """Return all pools, by name."""
        records = everything(self._management, KIND, '')
        return [pool_of(record) for record in records]

    def get(self, name: str) -> Pool | None:
        """Return a pool, or None."""
        record = self._management.get(KIND, '', name)
        return None if record is None else pool_of(record)

    def put(self, name: str, data: Mapping[str, Any]) -> None:
        """Record a pool, new or not.

        :raises Conflict: another one is being recorded with its URI
        :raises StoreUnavailable: the one of this name is being deleted
        """
        self._take_uri(name, data['uri'])
        old = self.get(name)
        if old is not None and old.gone and not old.is_over(self._now()):
            # What deletes it does not look again.
            raise StoreUnavailable
        new = {**data, 'noted': True}
        again = {**data, 'closing': None, 'gone': False}
        while not (
            self._management.create(KIND, '', name, new)
            or self._changed(name, again)
        ):
            # Deleted between our two looks.
            continue
        self._look_again(name)
        if old is not None and old.uri != data['uri']:
            pool_uris.give_back(self._management, old.uri, name)

    def change(self, name: str, changes: Mapping[str, Any]) -> Pool | None:
        """Change members of a pool's record and return it, None if gone.

        :raises Conflict: another one is being recorded with its new URI
        """
        if 'uri' not in changes:
            return self._changed(name, changes)
        old = self.get(name)
        self._take_uri(name, changes['uri'])
        changed = self._changed(name, changes)
        if old is not None and changed is not None and old.uri != changed.uri:
            pool_uris.give_back(self._management, old.uri, name)
        return changed

    def begin_deletion(self, name: str) -> str:
        """Put no queue into a pool from here on; return the mark."""
        mark = secrets.token_hex(8)
        closing = {'by': mark, 'at': self._now()}
        self._changed(name, {'closing': closing})
        return mark

    def give_up_deletion(self, name: str, mark: str) -> bool:
        """Use a pool again; tell whether the mark was still there."""
        return self._remark(name, mark, {'closing': None})

    def end_deletion(self, name: str, mark: str) -> bool:
        """Remove a pool that nobody uses.

        :returns: False, and it stays, if others have taken the mark away
        """
        if not self._remark(name, mark, {'gone': True}):
            return False
        record = self._management.delete(KIND, '', name)
        self._look_again(name)
        if record is not None:
            uri = record.data['uri']
            pool_uris.give_back(self._management, uri, name)
        return True

    def use(self, name: str) -> bool:
        """Tell whether a queue may be put into a pool, which is noted.

        A deletion that has died is given up.
        """
        pool = self.get(name)
        if pool is None or pool.is_closed(self._now()):
            return False
        return not pool.closing or self.give_up_deletion(name, pool.closing)

    def choose(self, flavor: Any) -> str:
        """Return the name of a pool for a new queue, at random by weight.

        :param flavor: its name; something falsy for none
        :raises NoPool: there is none that could ever get the queue
        :raises StoreUnavailable: those that could do not answer at the moment
        """
        fitting = [
            pool
            for pool in self.all()
            if pool.flavor == (flavor or None) and pool.weight > 0
        ]
        if not fitting and self.use_virtual and not flavor:
            return VIRTUAL
        if not fitting:
            raise NoPool(_reason(flavor))
        now = self._now()
        free = [pool for pool in fitting if not pool.is_closed(now)]
        while free:
            weights = [pool.weight for pool in free]
            (chosen,) = random.choices(free, weights)
            if self._health.answers(chosen.name):
                return chosen.name
            free.remove(chosen)
        if self.use_virtual and not flavor:
            return VIRTUAL
        LOG.error('No pool for a queue of flavor %s answers', flavor)
        raise StoreUnavailable

    def store(self, name: str) -> MessageStore:
        """Return the open store of a pool.

        :raises PoolMissing: there is no such pool
        :raises StoreUnavailable: it cannot be opened
        """
        if name == VIRTUAL:
            return self._virtual
        return self._stores.get(name)

    def names(self) -> Sequence[str]:
        """Return the names of what messages can be in."""
        found = [pool.name for pool in self.all()]
        return [*found, VIRTUAL] if self.use_virtual else found

    def close(self) -> None:
        """Give back all connections to pools."""
        self._stores.close()

    def _changed(self, name: str, changes: Mapping[str, Any]) -> Pool | None:
        for _ in range(ATTEMPTS):
            record = self._management.get(KIND, '', name)
            if record is None:
                return None
            data = {**record.data, **changes}
            if self._management.replace(
                KIND, '', name, data, version=record.version
            ):
                self._look_again(name)
                return pool_of(Record(name, data, record.version))
        raise StoreUnavailable

    def _remark(
        self, name: str, mark: str, changes: Mapping[str, Any]
    ) -> bool:
        """Change a pool as long as it has this mark."""
        for _ in range(ATTEMPTS):
            record = self._management.get(KIND, '', name)
            if record is None or pool_of(record).closing != mark:
                return False
            data = {**record.data, **changes}
            if self._management.replace(
                KIND, '', name, data, version=record.version
            ):
                return True
        raise StoreUnavailable

    def _look_again(self, name: str) -> None:
        self._stores.look_again(name)
        self._health.forget(name)

    def _now(self) -> int:
        return self._management.clock.now()

    def _take_uri(self, name: str, uri: str) -> None:
        def uri_of(holder: str) -> str | None:
            pool = self.get(holder)
            return None if pool is None else pool.uri

        if not pool_uris.take(self._management, uri, name, uri_of):
            raise Conflict('The database URI is in use by another pool.')


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
            open_now = [slot.store for slot in self._slots.values()]
            found = [*open_now, *(store for _, store in self._retired)]
            self._slots.clear()
            self._retired.clear()
        for store in found:
            if store is not None:
                store.close()

    def _refresh(self, name: str, slot: _Slot) -> None:
        record = self._management.get(KIND, '', name)
        pool = None if record is None else pool_of(record)
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


def _reason(flavor: Any) -> str:
    kind = f'of the flavor {flavor}' if flavor else 'without a flavor'
    return (
        f'There is no pool for queues {kind}. An administrator has to create '
        'one with a weight above 0.'
    )


def everything(
    management: ManagementStore, kind: str, parent: str
) -> Iterator[Record]:
    """Yield all records of a kind under a parent, by name."""
    after: str | None = None
    while True:
        records = management.list(kind, parent, after=after, limit=BATCH)
        yield from records
        if len(records) < BATCH:
            return
        after = records[-1].name
