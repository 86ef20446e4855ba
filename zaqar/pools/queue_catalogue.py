# SPDX-License-Identifier: Apache-2.0
"""The catalogue of queues: their records, and the stores of their messages.

A process caches records for a few seconds, so that the hot path does not query
the management store; its own changes are visible at once. The message store
detects changes by other processes in the call itself: it has a tombstone of
each deleted queue, and of every other queue the lowest version of the record
that may be used. That version is raised before a change is recorded. Calls
that depend on no metadata are not checked, and reads may be up to
:data:`.queue_record_cache.FRESH` seconds out of date.
"""

import contextlib
import copy
import functools
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeVar

from msgspec import structs

from zaqar import event_loop_greenlets
from zaqar.errors import NoRoute, QueueGone, StaleMetadata, StoreUnavailable
from zaqar.objects import Queue, Record, Scope
from zaqar.pools import open_stores_and_pings, queue_record_conversion
from zaqar.pools.queue_record_cache import QueueRecordCache
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.record_updates_and_listing import repeat

#: Seconds between reads while an announced change is awaited; after them it is
#: taken to have failed.
PAUSES = (0.005, 0.02, 0.075)

#: Tries of a call while its queue is being changed.
ATTEMPTS = 20

#: Kind of the record of the incarnation that follows one whose deletion was
#: interrupted: its parent is the dropped incarnation, its name the next one.
SUCCESSOR = 'heir'

T = TypeVar('T')

#: A call on the messages of a queue.
Call = Callable[[MessageStore, Queue], T]

#: Raises what keeps a queue from being created in a store.
Admit = Callable[[MessageStore], None]

#: Entered while a queue is created; raises what keeps it from being so.
Room = Callable[[Scope], contextlib.AbstractContextManager[None]]


def _any_room(scope: Scope) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


class Catalogue:
    """Finds queues by name, and the stores of their messages.

    :param management: the store of records
    :param messages: the store of messages
    :param timer: seconds by a clock that never goes back
    :ivar created: called after this process has created a queue
    :ivar room: held while this process creates one
    """

    created: Callable[[Scope], None] | None = None

    #: Fingerprint of the only queue that there is for a caller, '' for all.
    only = ''

    def __init__(
        self,
        management: ManagementStore,
        messages: MessageStore,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.management = management
        self.messages = messages
        self.room: Room = _any_room
        self._timer = timer
        self._cache = QueueRecordCache(timer)

    def limited(self, fingerprint: str) -> Self:
        """Return one to which any other queue, or none, is a NoRoute."""
        limited = copy.copy(self)
        limited.only = fingerprint
        return limited

    def find(self, scope: Scope) -> Queue | None:
        """Return the queue, perhaps from the cache, or None."""
        cached = self._cache.get(scope)
        if cached is not None and self._timer() < cached[1]:
            queue: Queue | None = cached[0]
        else:
            queue = self.read(scope)
        if self.only and (queue is None or queue.fingerprint != self.only):
            raise NoRoute
        return queue

    def read(self, scope: Scope) -> Queue | None:
        """Return the queue as it is recorded now, or None."""
        record = self.management.get(scope.kind, scope.project, scope.name)
        if record is None:
            self.forget(scope)
            return None
        return self._cache.add(self.from_record(scope, record))

    # It may hold a lock meanwhile.
    @event_loop_greenlets.offloaded
    def create(
        self,
        scope: Scope,
        metadata: Mapping[str, Any],
        admit: Admit | None = None,
        *,
        needs_room: bool = True,
    ) -> tuple[Queue, bool]:
        """Return a queue, created if missing, and whether this call did it.

        :param admit: see :meth:`run_ensured`
        :param needs_room: see :meth:`run_ensured`
        """

        def attempt() -> tuple[Queue, bool] | None:
            queue = self._new(scope, metadata)
            if admit is not None:
                try:
                    admit(self.store(queue))
                except BaseException:
                    self._discard(queue)
                    raise
            if self.management.create(
                scope.kind,
                scope.project,
                scope.name,
                queue_record_conversion.data(queue),
            ):
                return self._is_created(self._cache.add(queue)), True
            existing = self.read(scope)
            if existing is not None and existing.qid == queue.qid:
                # The answer was lost, and then somebody changed the queue.
                return self._is_created(existing), True
            self._discard(queue)
            return (existing, False) if existing else None

        room = self.room if needs_room else _any_room
        with room(scope):
            return repeat(attempt)

    def ensure(
        self,
        scope: Scope,
        admit: Admit | None = None,
        *,
        needs_room: bool = True,
    ) -> Queue:
        """Return a queue, created without metadata if it is missing.

        :param admit: see :meth:`run_ensured`
        :param needs_room: see :meth:`run_ensured`
        """
        queue = self.find(scope)
        if queue is not None:
            return queue
        return self.create(scope, {}, admit, needs_room=needs_room)[0]

    def update(self, queue: Queue, metadata: Mapping[str, Any]) -> bool:
        """Store other metadata, if nobody changed it since it was read."""
        return self._announce(queue) and self._write(
            structs.replace(
                queue,
                metadata=metadata,
                changed_at=self.management.clock.now(),
            )
        )

    def flavor_exists(self, project: str, name: str) -> bool:
        """Tell whether queues of a project can be of a flavor."""
        return True

    def delete(self, scope: Scope) -> None:
        """Remove the queue with its messages; a missing one is fine.

        Messages go first: a crash between the steps leaves a record without
        messages, which the next caller repairs, and no process can post to a
        queue without a record.
        """
        queue = self.read(scope)
        if queue is None:
            return
        self._drop(queue)
        record = self.management.delete(scope.kind, scope.project, scope.name)
        self.forget(scope)
        if record is None:
            # Deleted by somebody else, or by us and the answer was lost: only
            # records of successors tell then what the record was.
            self._drop_successors(queue)
        elif record.data['qid'] != queue.qid:
            # Somebody repaired the record between the two steps.
            self._drop(self.from_record(scope, record))
            self._drop_successors(queue)

    def store(self, queue: Queue) -> MessageStore:
        return self.messages

    def forget(self, scope: Scope) -> None:
        self._cache.pop(scope, None)

    def run(self, scope: Scope, call: Call[T], missing: T) -> T:
        """Run a call on a queue's messages; without one return ``missing``."""
        result: T = self._run(scope, self.find, call, missing)
        return result

    def run_ensured(
        self,
        scope: Scope,
        call: Call[T],
        admit: Admit | None = None,
        *,
        needs_room: bool = True,
    ) -> T:
        """Run a call on a queue's messages; create the queue if missing.

        :param admit: looks at the store of a queue that is about to be
            created; what it raises prevents that
        :param needs_room: False to create it whatever :attr:`room` says
        """
        ensure = functools.partial(
            self.ensure, admit=admit, needs_room=needs_room
        )
        result: T = self._run(scope, ensure, call, None)
        return result

    def ping(self) -> None:
        """Raise StoreUnavailable unless all stores answer."""
        open_stores_and_pings.ping_each((self.management, *self._stores()))

    def sweep(self, batch: int) -> int:
        """Remove dead rows, ``batch`` at most; return how many."""
        store = self.messages
        return store.sweep(now=store.clock.server_now(), batch=batch)

    def close(self) -> None:
        self.messages.close()
        self.management.close()

    def _run(
        self,
        scope: Scope,
        find: Callable[[Scope], Queue | None],
        call: Call[T],
        missing: Any,
    ) -> Any:
        for _ in range(ATTEMPTS):
            cached = self._cache.get(scope)
            if self.only or cached is None or self._timer() >= cached[1]:
                queue = find(scope)
            else:
                queue = cached[0]
            if queue is None:
                return missing
            try:
                return call(self.store(queue), queue)
            except QueueGone:
                self._repair(queue)
            except StaleMetadata:
                self._refresh(queue)
        raise StoreUnavailable

    def _announce(self, queue: Queue) -> bool:
        """Make the message store refuse the present metadata of a queue.

        :returns: False if the queue is gone
        """
        store = self.store(queue)
        try:
            store.require_version(
                queue.qid, queue.version + 1, now=store.clock.now()
            )
        except QueueGone:
            self._repair(queue)
            return False
        return True

    def _refresh(self, stale: Queue) -> None:
        """Replace a cached queue that the message store refuses.

        If no newer record exists, a change was announced that failed or is
        under way. After a short wait it is prevented: the record is stored
        unchanged under the next version, so that the change, if it still
        comes, starts again.
        """
        for pause in PAUSES:
            if self._has_changed(stale):
                return
            event_loop_greenlets.sleep(pause)
        if not self._has_changed(stale):
            self._write(stale)

    def _has_changed(self, cached: Queue) -> bool:
        """Tell whether the record is no longer the cached one."""
        queue = self.read(cached.scope)
        return (
            queue is None
            or queue.qid != cached.qid
            or queue.version > cached.version
        )

    def _repair(self, stale: Queue) -> None:
        """Replace a cached queue whose messages have been dropped.

        Usually another process has deleted the queue, and perhaps created it
        again. Otherwise its deletion was interrupted, or is under way: the
        queue continues as a new incarnation.
        """
        queue = self.read(stale.scope)
        if queue is None or queue.qid != stale.qid:
            return
        successor = self._next_incarnation(queue)
        # Recorded first, so that no deletion can miss it.
        key = (SUCCESSOR, queue.qid, successor.qid)
        self.management.create(*key, queue_record_conversion.data(successor))
        if not self._write(successor) and not self._is_recorded(successor):
            self.management.delete(*key)
            self._discard(successor)

    def _is_recorded(self, queue: Queue) -> bool:
        """Tell whether a queue is recorded, though a call said that it is not.

        The answer may have been lost, and the queue been changed before the
        call was repeated.
        """
        scope = queue.scope
        record = self.management.get(scope.kind, scope.project, scope.name)
        return record is not None and record.data['qid'] == queue.qid

    def _drop_successors(self, queue: Queue) -> None:
        """Drop the later incarnations of a queue that was deleted."""
        parent = queue.qid
        for record in self.management.list(
            SUCCESSOR, parent, after=None, limit=100
        ):
            successor = self.from_record(queue.scope, record)
            self._drop(successor)
            self.management.delete(SUCCESSOR, parent, record.name)
            self._drop_successors(successor)

    def _new(self, scope: Scope, metadata: Mapping[str, Any]) -> Queue:
        """Return a queue to be recorded."""
        now = self.management.clock.now()
        return queue_record_conversion.fresh(scope, metadata, now)

    def _is_created(self, queue: Queue) -> Queue:
        if self.created is not None:
            self.created(queue.scope)
        return queue

    def _discard(self, queue: Queue) -> None:
        """Undo what was stored for a queue that is not recorded after all."""

    def _next_incarnation(self, queue: Queue) -> Queue:
        return structs.replace(queue, qid=secrets.token_hex(16), origin='')

    def from_record(self, scope: Scope, record: Record) -> Queue:
        return queue_record_conversion.queue(scope, record)

    def _write(self, queue: Queue) -> bool:
        """Record a queue unless its record has changed since it was read."""
        scope = queue.scope
        done = self.management.replace(
            scope.kind,
            scope.project,
            scope.name,
            queue_record_conversion.data(queue),
            version=queue.version,
        )
        self.forget(scope)
        return done

    def openers(self) -> Mapping[str, Callable[[], MessageStore]]:
        """Return functions that open the message stores, by pool name."""
        return {'': lambda: self.messages}

    def outboxes(self) -> Mapping[str, Callable[[], MessageStore]]:
        """Return the same for the stores that may have an outbox."""
        return self.openers()

    def _stores(self) -> Iterable[MessageStore]:
        return (self.messages,)

    def _drop(self, queue: Queue) -> None:
        store = self.store(queue)
        store.drop(queue.qid, now=store.clock.now())
