# SPDX-License-Identifier: Apache-2.0
"""The catalogue of queues in pools, and the moves of queues between these.

The record of a queue names its pool, so that both are written and read at
once. Queues that the reference service has registered have a record of kind
``catalogue`` instead; those with neither are in the virtual pool, where they
were before there were pools.

A queue changes its pool only when its flavor changes while it is empty. Posts
that other processes are making at that moment arrive in its former pool, which
is therefore checked for a while; messages found there are moved.
"""

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import structs

from zaqar import request_deadline
from zaqar.errors import Conflict, QueueGone, StoreUnavailable
from zaqar.objects import Former, Kind, Message, Queue, Scope
from zaqar.objects import Record as Recorded
from zaqar.pools import flavor_records, pool_selection
from zaqar.pools.facade_with_virtual_pool import VIRTUAL, Pools
from zaqar.pools.open_stores_and_pings import PoolMissing
from zaqar.pools.queue_catalogue import Admit, Catalogue
from zaqar.storage.base import ManagementStore, MessageStore
from zaqar.storage.record_updates_and_listing import list_all, repeat

LOG = logging.getLogger(__name__)

#: The mapping of the reference service: parent project, name queue.
ENTRY = 'catalogue'

#: Registers a queue in a pool: parent pool, name incarnation.
POOLED = 'pooled'

#: Milliseconds for which a former pool is checked: many times as long as any
#: process caches a queue.
GRACE = 60_000

#: Messages moved at a time.
BATCH = 100


class PooledCatalogue(Catalogue):
    """Finds queues by name, each in a pool.

    :param messages: the virtual pool
    """

    def __init__(
        self, management: ManagementStore, messages: MessageStore, pools: Pools
    ) -> None:
        super().__init__(management, messages)
        self.pools = pools

    def read(self, scope: Scope) -> Queue | None:
        queue = super().read(scope)
        if queue is not None and queue.former:
            return self._drain_former(queue)
        return queue

    def create(
        self,
        scope: Scope,
        metadata: Mapping[str, Any],
        admit: Admit | None = None,
        *,
        needs_room: bool = True,
    ) -> tuple[Queue, bool]:
        # An existing queue needs no pool, and stays where it is.
        queue = self.read(scope)
        if queue is not None:
            return queue, False
        return super().create(scope, metadata, admit, needs_room=needs_room)

    def update(self, queue: Queue, metadata: Mapping[str, Any]) -> bool:
        """Store other metadata; see the base class.

        :raises Conflict: it changes the flavor of a queue with messages
        """
        if flavor(metadata) == flavor(queue.metadata):
            return super().update(queue, metadata)
        self._check_empty(queue)
        if not self._announce(queue):
            return False
        changed = structs.replace(
            queue,
            metadata=metadata,
            changed_at=self.management.clock.now(),
        )
        if self._fits_pool(changed):
            return self._write(changed)
        return self._move(queue, changed)

    def delete(self, scope: Scope) -> None:
        queue = self.read(scope)
        super().delete(scope)
        if queue is not None:
            for pool, qid in _places(queue):
                self.management.delete(POOLED, pool, qid)
            if scope.kind == Kind.QUEUE:
                self.management.delete(ENTRY, scope.project, scope.name)

    def store(self, queue: Queue) -> MessageStore:
        try:
            return self.pools.store(queue.pool)
        except PoolMissing:
            self._report_missing(queue)
            raise

    def _report_missing(self, queue: Queue) -> None:
        """Log the missing pool, unless only a cached queue names it."""
        recorded = super().read(queue.scope)
        if recorded is not None and recorded.pool == queue.pool:
            LOG.error(
                'Queue "%s" of project "%s" is in pool "%s", which does not '
                'exist',
                queue.scope.name,
                queue.scope.project,
                queue.pool,
            )

    def flavor_exists(self, project: str, name: str) -> bool:
        return flavor_records.find(self.management, project, name) is not None

    def sweep(self, batch: int) -> int:
        """Remove dead rows of every pool, ``batch`` of each at most."""
        removed = 0
        for name in dict.fromkeys([*self.pools.names(), VIRTUAL]):
            try:
                store = self.pools.store(name)
                now = store.clock.server_now()
                removed += store.sweep(now=now, batch=batch)
            except StoreUnavailable:
                LOG.warning('Pool "%s" does not answer; swept later', name)
        return removed

    def close(self) -> None:
        self.pools.close()
        super().close()

    def is_used(self, pool: str) -> bool:
        """Tell whether a queue is in a pool, which must be closing.

        Registrations of queues that are gone are removed.
        """
        for entry in list_all(self.management, POOLED, pool):
            if self._still_holds(pool, entry):
                return True
            self.management.delete(POOLED, pool, entry.name)
        return False

    def _still_holds(self, pool: str, entry: Recorded) -> bool:
        data = entry.data
        scope = Scope(data['project'], data['name'], Kind(data['kind']))
        queue = Catalogue.read(self, scope)
        if queue is not None and pool in dict(_places(queue)):
            return True
        # It may be about to be created there, or to be moved there.
        return self.management.clock.now() - int(data.get('at', 0)) < GRACE

    def _new(self, scope: Scope, metadata: Mapping[str, Any]) -> Queue:
        queue = super()._new(scope, metadata)
        return self._placed(queue, flavor(metadata))

    def _placed(self, queue: Queue, wanted: Any) -> Queue:
        """Return the queue in a pool in which it is registered."""

        def attempt() -> Queue | None:
            pool = pool_selection.choose(self.pools, wanted)
            placed = structs.replace(queue, pool=pool)
            if placed.pool == VIRTUAL:
                return placed
            self._register(placed)
            # A deletion closes the pool before it looks for registrations.
            if self.pools.records.use(placed.pool):
                return placed
            self._discard(placed)
            return None

        return repeat(attempt)

    def _register(self, queue: Queue) -> None:
        if queue.pool == VIRTUAL:
            return
        scope = queue.scope
        data = {
            'kind': scope.kind,
            'project': scope.project,
            'name': scope.name,
            'at': self.management.clock.now(),
        }
        self.management.create(POOLED, queue.pool, queue.qid, data)

    def _discard(self, queue: Queue) -> None:
        self.management.delete(POOLED, queue.pool, queue.qid)

    def _next_incarnation(self, queue: Queue) -> Queue:
        fresh = super()._next_incarnation(queue)
        self._register(fresh)
        return fresh

    def from_record(self, scope: Scope, record: Recorded) -> Queue:
        queue = super().from_record(scope, record)
        if queue.pool:
            return queue
        return structs.replace(queue, pool=self._adopted_pool(scope))

    def _adopted_pool(self, scope: Scope) -> str:
        """Return the pool in which the reference service had a queue."""
        if scope.kind != Kind.QUEUE:
            return VIRTUAL
        entry = self.management.get(ENTRY, scope.project, scope.name)
        return str(entry.data['pool']) if entry else VIRTUAL

    def openers(self) -> Mapping[str, Callable[[], MessageStore]]:
        return {
            name: functools.partial(self.pools.store, name)
            for name in self.pools.names()
        }

    def outboxes(self) -> Mapping[str, Callable[[], MessageStore]]:
        # Queues from before there were pools are in the virtual pool, even if
        # it takes no new ones.
        virtual = functools.partial(self.pools.store, VIRTUAL)
        return {**self.openers(), VIRTUAL: virtual}

    def _stores(self) -> Iterable[MessageStore]:
        return (self.pools.store(name) for name in self.pools.names())

    def _drop(self, queue: Queue) -> None:
        for pool, qid in _places(queue):
            try:
                store = self.pools.store(pool)
            except PoolMissing:
                # Nothing to drop.
                continue
            store.drop(qid, now=store.clock.now())

    def _check_empty(self, queue: Queue) -> None:
        for pool, qid in _places(queue):
            store = self.pools.store(pool)
            try:
                total = store.stats(qid, now=store.clock.now()).total
            except QueueGone:
                continue
            if total:
                raise Conflict(
                    f'{queue.scope.kind.capitalize()} {queue.scope.name} '
                    'holds messages; its flavor can be changed only while it '
                    'is empty.'
                )

    def _fits_pool(self, queue: Queue) -> bool:
        """Tell whether a queue can stay in its pool."""
        wanted = flavor(queue.metadata)
        if queue.pool == VIRTUAL:
            return not wanted and self.pools.use_virtual
        pool = self.pools.records.get(queue.pool)
        return pool is not None and pool.flavor == wanted

    def _move(self, queue: Queue, changed: Queue) -> bool:
        """Move an empty queue to a pool of the flavor that it gets."""
        old = self.pools.store(queue.pool)
        left = Former(queue.pool, queue.qid, old.clock.now() + GRACE)
        fresh = structs.replace(
            super()._next_incarnation(changed),
            former=(*queue.former, left),
            origin=queue.origin or queue.qid,
        )
        moved = self._placed(fresh, flavor(changed.metadata))
        try:
            done = self._write(moved)
        except Exception:
            with request_deadline.undoing():
                self._withdraw(moved, queue)
            raise
        if done or self._is_recorded(moved):
            return True
        self._discard(moved)
        return False

    def _withdraw(self, moved: Queue, queue: Queue) -> None:
        """Discard a move that failed, unless it was recorded all the same."""
        # It cannot be recorded later, since this changes the version.
        self._write(queue)
        if not self._is_recorded(moved):
            self._discard(moved)

    def _drain_former(self, queue: Queue) -> Queue | None:
        """Move messages out of former pools; forget those that are empty."""
        try:
            drained = [p for p in queue.former if self._is_drained(queue, p)]
        except StoreUnavailable:
            LOG.warning('A former pool of %s does not respond', queue.scope)
            return queue
        if not drained:
            return queue
        rest = tuple(place for place in queue.former if place not in drained)
        if self._write(structs.replace(queue, former=rest)):
            for place in drained:
                self.management.delete(POOLED, place.pool, place.qid)
        return super().read(queue.scope)

    def _is_drained(self, queue: Queue, place: Former) -> bool:
        """Move messages out of a former pool; tell whether it is done with."""
        old = self.pools.store(place.pool)
        now = old.clock.now()
        try:
            # Claimed and delayed messages follow once they are free.
            for message in old.list(place.qid, now=now, limit=BATCH).messages:
                self._transfer(queue, message, now)
                old.delete_many(place.qid, [message.id], now=now)
            if now < place.until or old.stats(place.qid, now=now).total:
                return False
            old.drop(place.qid, now=now)
        except QueueGone:
            return True
        return True

    def _transfer(self, queue: Queue, message: Message, now: int) -> None:
        letter = message.to_post(now, group=message.group)
        store = self.pools.store(queue.pool)
        # The token allows other processes to do the same at the same time.
        try:
            store.post(
                queue.qid, [letter], now=store.clock.now(), token=message.id
            )
        except QueueGone:
            # Its deletion may have been interrupted; the former pool stays.
            raise StoreUnavailable from None


def flavor(metadata: Mapping[str, Any]) -> Any:
    """Return the flavor that metadata names, or None."""
    return metadata.get('_flavor') or None


def _places(queue: Queue) -> list[tuple[str, str]]:
    """Return the pools that may have messages of a queue, and its qid."""
    former = [(place.pool, place.qid) for place in queue.former]
    return [(queue.pool, queue.qid), *former]
