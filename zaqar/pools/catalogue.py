# SPDX-License-Identifier: Apache-2.0
"""From the name of a queue to its record and to the store of its messages.

Records are kept in this process for a few seconds, so that the hot path asks
the management store nothing; own changes are seen at once. What was changed
elsewhere in the meantime is noticed by the message store in the step in which
it would work: it keeps a tombstone of a deleted queue, and of every other one
the least version of its record that may be used. The version is raised there
before a change is recorded. Calls that depend on no metadata go unchecked, and
so may reads, for :data:`FRESH` seconds.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from cachetools import TTLCache

from zaqar.errors import QueueGone, StaleMetadata, StoreUnavailable
from zaqar.models import Former, Queue, Record, Scope
from zaqar.storage.base import ManagementStore, MessageStore
from zaqar.storage.records import repeat

#: Seconds for which a record that was read is believed.
FRESH = 5.0

#: Seconds between looks for a change that was announced, before others go on
#: without it.
PAUSES = (0.005, 0.02, 0.075)

#: Tries of a call that meets changes of its queue.
ATTEMPTS = 20

#: Records kept at most; beyond it the oldest are read again.
CACHED = 10_000

#: What a queue lives on as whose deletion stopped half way: parent the
#: incarnation that was dropped, name the next one.
HEIR = 'heir'

T = TypeVar('T')


class Catalogue:
    """Queues by name, and where their messages are.

    :param management: keeps the records
    :param messages: keeps the messages
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        management: ManagementStore,
        messages: MessageStore,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.management = management
        self._messages = messages
        self._lock = threading.Lock()
        self._cache: TTLCache[Scope, Queue] = TTLCache(
            CACHED, FRESH, timer=timer
        )

    def find(self, scope: Scope) -> Queue | None:
        """Return the queue, perhaps as it was a moment ago, or None."""
        return self._cached(scope) or self.read(scope)

    def read(self, scope: Scope) -> Queue | None:
        """Return the queue as it is now, or None."""
        record = self.management.get(scope.kind, scope.project, scope.name)
        if record is None:
            self.forget(scope)
            return None
        return self._keep(self._loaded(scope, record))

    def create(
        self, scope: Scope, metadata: Mapping[str, Any]
    ) -> tuple[Queue, bool]:
        """Return the queue, made with ``metadata`` unless it exists.

        :returns: the queue, and whether it was made by this call
        """

        def attempt() -> tuple[Queue, bool] | None:
            queue = self._made(scope, metadata)
            if self.management.create(
                scope.kind, scope.project, scope.name, self._data(queue)
            ):
                return self._keep(queue), True
            existing = self.read(scope)
            return (existing, False) if existing else None

        return repeat(attempt)

    def ensure(self, scope: Scope) -> Queue:
        """Return the queue, made without metadata if it is missing."""
        return self.find(scope) or self.create(scope, {})[0]

    def update(self, queue: Queue, metadata: Mapping[str, Any]) -> bool:
        """Store other metadata, if nobody changed it since it was read."""
        return self._announce(queue) and self._write(
            dataclasses.replace(queue, metadata=metadata)
        )

    def flavor_exists(self, project: str, name: str) -> bool:
        """Tell whether queues of a project can be of a flavor."""
        return True

    def delete(self, scope: Scope) -> None:
        """Remove the queue with its messages; a missing one is fine.

        Messages go first: who dies between the steps leaves a record whose
        messages are gone, which the next caller mends, and no process can
        post into a queue that nobody will find again.
        """
        queue = self.read(scope)
        if queue is None:
            return
        self._drop(queue)
        record = self.management.delete(scope.kind, scope.project, scope.name)
        self.forget(scope)
        if record is None:
            # Deleted by somebody else, or by us and the answer was lost:
            # then nobody but an heir's note tells what the record was.
            self._drop_heirs(queue)
        elif record.data['qid'] != queue.qid:
            # Somebody mended the record between our two steps.
            self._drop(self._loaded(scope, record))
            self._drop_heirs(queue)

    def store(self, queue: Queue) -> MessageStore:
        """Return the store that keeps the messages of a queue."""
        return self._messages

    def forget(self, scope: Scope) -> None:
        """Read the record anew next time."""
        with self._lock:
            self._cache.pop(scope, None)

    def ask(
        self,
        scope: Scope,
        call: Callable[[MessageStore, Queue], T],
        missing: T,
    ) -> T:
        """Run a call on a queue's messages.

        :returns: its result, or ``missing`` if the queue does not exist
        """
        found: T = self._run(scope, self.find, call, missing)
        return found

    def put(self, scope: Scope, call: Callable[[MessageStore, Queue], T]) -> T:
        """Run a call on a queue's messages, making the queue if missing."""
        found: T = self._run(scope, self.ensure, call, None)
        return found

    def ping(self) -> None:
        """Return when all stores answer.

        :raises StoreUnavailable: one does not
        """
        self.management.ping()
        for store in self._stores():
            store.ping()

    def sweep(self, batch: int) -> int:
        """Remove dead rows, ``batch`` at most; return how many."""
        store = self._messages
        return store.sweep(now=store.clock.server_now(), batch=batch)

    def close(self) -> None:
        """Give back all connections."""
        self._messages.close()
        self.management.close()

    def _run(
        self,
        scope: Scope,
        find: Callable[[Scope], Queue | None],
        call: Callable[[MessageStore, Queue], T],
        missing: Any,
    ) -> Any:
        for _ in range(ATTEMPTS):
            queue = find(scope)
            if queue is None:
                return missing
            try:
                return call(self.store(queue), queue)
            except QueueGone:
                self._mend(queue)
            except StaleMetadata:
                self._refresh(queue)
        raise StoreUnavailable

    def _announce(self, queue: Queue) -> bool:
        """Have the present metadata of a queue refused from now on.

        :returns: False if the queue is gone
        """
        store = self.store(queue)
        try:
            store.require_version(
                queue.qid, queue.version + 1, now=store.clock.now()
            )
        except QueueGone:
            self._mend(queue)
            return False
        return True

    def _refresh(self, stale: Queue) -> None:
        """Bring a record up to date that must not be used any more.

        If it is no older than the one that is recorded, a change was announced
        and then given up, or is on its way. It is waited for a moment, and
        then prevented: the record is stored again, as it is, under the next
        version. Who was about to change it meets that one and starts again.
        """
        for pause in PAUSES:
            if self._is_newer(stale):
                return
            time.sleep(pause)
        if not self._is_newer(stale):
            self._write(stale)

    def _is_newer(self, known: Queue) -> bool:
        """Tell whether another record than a known one is there by now."""
        queue = self.read(known.scope)
        return (
            queue is None
            or queue.qid != known.qid
            or queue.version > known.version
        )

    def _mend(self, stale: Queue) -> None:
        """Bring a record up to date whose messages have been dropped.

        Most often it is merely ours that is old: the queue was deleted
        elsewhere, and perhaps made again. If not, its deletion stopped half
        way (or is on its way): the queue lives on, as a new incarnation.
        """
        queue = self.read(stale.scope)
        if queue is None or queue.qid != stale.qid:
            return
        heir = self._renewed(queue)
        # Before the record, so that no deletion can miss it.
        note = (HEIR, queue.qid, heir.qid)
        self.management.create(*note, self._data(heir))
        if not self._write(heir):
            self.management.delete(*note)

    def _drop_heirs(self, queue: Queue) -> None:
        """Drop what a queue lived on as, after its record was deleted."""
        parent = queue.qid
        for note in self.management.list(HEIR, parent, after=None, limit=100):
            heir = self._loaded(queue.scope, note)
            self._drop(heir)
            self.management.delete(HEIR, parent, note.name)
            self._drop_heirs(heir)

    def _made(self, scope: Scope, metadata: Mapping[str, Any]) -> Queue:
        """Return a queue that is about to be recorded."""
        return Queue(scope, secrets.token_hex(16), metadata, 1)

    def _renewed(self, queue: Queue) -> Queue:
        """Return the next incarnation of a queue."""
        return dataclasses.replace(queue, qid=secrets.token_hex(16))

    def _loaded(self, scope: Scope, record: Record) -> Queue:
        former = record.data.get('former') or ()
        return Queue(
            scope,
            record.data['qid'],
            record.data.get('metadata') or {},
            record.version,
            record.data.get('pool') or '',
            tuple(Former(*place) for place in former),
        )

    def _data(self, queue: Queue) -> dict[str, Any]:
        """Return what is recorded of a queue."""
        data: dict[str, Any] = {'qid': queue.qid, 'metadata': queue.metadata}
        if queue.pool:
            data['pool'] = queue.pool
        if queue.former:
            data['former'] = [
                [place.pool, place.qid, place.until] for place in queue.former
            ]
        return data

    def _write(self, queue: Queue) -> bool:
        """Record a queue, if nobody changed it since it was read."""
        scope = queue.scope
        done = self.management.replace(
            scope.kind,
            scope.project,
            scope.name,
            self._data(queue),
            version=queue.version,
        )
        self.forget(scope)
        return done

    def openers(self) -> Mapping[str, Callable[[], MessageStore]]:
        """Return what opens each store of messages, by the pool's name."""
        return {'': lambda: self._messages}

    def outboxes(self) -> Mapping[str, Callable[[], MessageStore]]:
        """Return what opens each store that may owe notifications."""
        return self.openers()

    def _stores(self) -> Iterable[MessageStore]:
        """Return all stores of messages."""
        return (self._messages,)

    def _drop(self, queue: Queue) -> None:
        store = self.store(queue)
        store.drop(queue.qid, now=store.clock.now())

    def _cached(self, scope: Scope) -> Queue | None:
        with self._lock:
            try:
                # Its get() would look three times.
                return self._cache[scope]
            except KeyError:
                return None

    def _keep(self, queue: Queue) -> Queue:
        with self._lock:
            self._cache[queue.scope] = queue
        return queue
