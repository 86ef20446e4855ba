# SPDX-License-Identifier: Apache-2.0
"""The catalogue of queues in pools.

The record of a queue names its pool, so that both are written and read at
once. Queues that the reference service has registered have a record of kind
``catalogue`` instead; those with neither are in the virtual pool, where they
were before there were pools.

Queues move between pools in :mod:`.queue_moves_between_pools`.
"""

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import structs

from zaqar.errors import StoreUnavailable
from zaqar.objects import Kind, Queue, Scope
from zaqar.objects import Record as Recorded
from zaqar.pools import flavor_records, pool_selection
from zaqar.pools.open_stores_and_pings import PoolMissing
from zaqar.pools.queue_catalogue import Admit, Catalogue
from zaqar.pools.registered_and_virtual_pools import VIRTUAL, Pools
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.record_updates_and_listing import list_all, repeat

LOG = logging.getLogger(__name__)

#: The mapping of the reference service: parent project, name queue.
ENTRY = 'catalogue'

#: Registers a queue in a pool: parent pool, name incarnation.
POOLED = 'pooled'

#: Milliseconds for which a former pool is checked: many times as long as any
#: process caches a queue.
GRACE = 60_000


class PooledCatalogue(Catalogue):
    """Finds queues by name, each in a pool.

    A queue stays in its pool, whatever its metadata say.

    :param messages: the virtual pool
    """

    def __init__(
        self, management: ManagementStore, messages: MessageStore, pools: Pools
    ) -> None:
        super().__init__(management, messages)
        self.pools = pools

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

    def delete(self, scope: Scope) -> None:
        queue = self.read(scope)
        super().delete(scope)
        if queue is not None:
            for pool, qid in places_of(queue):
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
        if queue is not None and pool in dict(places_of(queue)):
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
        for pool, qid in places_of(queue):
            try:
                store = self.pools.store(pool)
            except PoolMissing:
                # Nothing to drop.
                continue
            store.drop(qid, now=store.clock.now())


def flavor(metadata: Mapping[str, Any]) -> Any:
    """Return the flavor that metadata names, or None."""
    return metadata.get('_flavor') or None


def places_of(queue: Queue) -> list[tuple[str, str]]:
    """Return the pools that may have messages of a queue, and its qid."""
    former = [(place.pool, place.qid) for place in queue.former]
    return [(queue.pool, queue.qid), *former]
