# SPDX-License-Identifier: Apache-2.0
"""Moves of queues between pools.

A queue changes its pool only when its flavor changes while it is empty. Posts
that other processes are making at that moment arrive in its former pool, which
is therefore checked for a while; messages found there are moved.
"""

import logging
from collections.abc import Mapping
from typing import Any

from msgspec import structs

from zaqar import request_deadline
from zaqar.errors import Conflict, QueueGone, StoreUnavailable
from zaqar.objects import Former, Message, Queue, Scope
from zaqar.pools.pooled_catalogue import (
    GRACE,
    POOLED,
    PooledCatalogue,
    flavor,
    places_of,
)
from zaqar.pools.registered_and_virtual_pools import VIRTUAL

LOG = logging.getLogger(__name__)

#: Messages moved at a time.
BATCH = 100


class MovingCatalogue(PooledCatalogue):
    """Finds queues by name, and moves those whose flavor changes."""

    def read(self, scope: Scope) -> Queue | None:
        queue = super().read(scope)
        if queue is not None and queue.former:
            return self._drain_former(queue)
        return queue

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

    def _check_empty(self, queue: Queue) -> None:
        for pool, qid in places_of(queue):
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
            super(PooledCatalogue, self)._next_incarnation(changed),
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
