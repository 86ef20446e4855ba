# SPDX-License-Identifier: Apache-2.0
"""A cache of the keys of queues, and of when their next message wakes.

Entries live for a moment, so that a busy queue is not looked up at every
call. A purge gives the queue another key and waits for that moment before it
returns: no process shows purged messages afterwards. Calls that use an old key
meanwhile reach messages that are never shown again.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from zaqar.bounded_cache import BoundedCache
from zaqar.errors import QueueGone
from zaqar.storage.mongodb.database_commands_and_transactions import (
    Documents,
    MongoDatabase,
)
from zaqar.storage.mongodb.document_layout import Document, ahead, place

#: Seconds for which an entry is valid.
CACHE_TTL = 0.25

#: Maximum number of entries.
MAX_ENTRIES = 20_000


@dataclass(slots=True)
class NextWake:
    """When the first claim or delay of a queue ends.

    :ivar read_at: the ``now`` of the query, in milliseconds
    :ivar until: when it must be queried again, monotonic
    """

    at: int
    read_at: int
    until: float

    def is_fresh(self, now: int) -> bool:
        return (
            time.monotonic() < self.until
            # Tests move the clock further than an entry lives.
            and abs(now - self.read_at) < CACHE_TTL * 1000
        )


@dataclass(slots=True)
class CachedQueue:
    """A queue with its current key.

    :ivar messages: its collection
    :ivar committed: the same, showing only what no failover can undo
    :ivar least: the oldest version of metadata that may be used
    :ivar next: the number of the next message
    :ivar grouped: whether it has ever had groups; see :mod:`.document_layout`
    :ivar groups: the collection of their documents
    :ivar is_counted: whether its bytes are; see :mod:`.queue_byte_counts`
    """

    qid: str
    key: bytes
    partition: int
    messages: Documents
    committed: Documents
    groups: Documents
    until: float
    next_wake: NextWake | None = field(default=None)
    least: int = 0
    next: int = 0
    grouped: int = 0
    is_counted: bool = False

    def wakes_by(self, now: int) -> bool:
        """Tell whether a claim or a delay may have ended."""
        wake = self.next_wake
        return wake is None or not wake.is_fresh(now) or wake.at <= now

    def will_wake(self, moment: int) -> None:
        """Note that a claim or a delay ends then."""
        if self.next_wake is not None:
            self.next_wake.at = min(self.next_wake.at, moment)


class QueueCache:
    """The queues of a store, as they were read last."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database
        self._queues: BoundedCache[str, CachedQueue] = BoundedCache(
            MAX_ENTRIES
        )

    def get(self, qid: str) -> CachedQueue | None:
        """Return a queue, None if it was never seen."""
        queue = self._queues.get(qid)
        if queue is not None and time.monotonic() < queue.until:
            return queue
        return self.refresh(qid)

    def refresh(self, qid: str) -> CachedQueue | None:
        """Return a queue as it is now; see :meth:`get`."""
        start = time.monotonic()
        document = self.read(qid)
        if document is None:
            self.invalidate(qid)
            return None
        return self.update(qid, document, start)

    def refresh_all(
        self, qids: Sequence[str]
    ) -> Iterator[Sequence[CachedQueue]]:
        """Yield queues as they are now, by partition.

        Without those that were never seen, or are gone.
        """
        by_partition: dict[int, set[str]] = {}
        for qid in qids:
            partition = self._database.partition(qid)
            by_partition.setdefault(partition, set()).add(qid)
        for partition, some in by_partition.items():
            start = time.monotonic()
            where: Document = {
                '_id': {'$in': [*some]},
                'gone': {'$exists': False},
            }
            source = self._database.collection('queue', partition)
            rows = self._database.find(source, where)
            yield [self.update(str(row['_id']), row, start) for row in rows]

    def read(self, qid: str) -> Document | None:
        partition = self._database.partition(qid)
        queues = self._database.collection('queue', partition)
        return self._database.step(queues.find_one, {'_id': qid})

    def update(
        self, qid: str, document: Document, start: float
    ) -> CachedQueue:
        """Store a document whose query was started then."""
        if 'gone' in document:
            self.invalidate(qid)
            raise QueueGone
        key = bytes(document['key'])
        queue = self._queues.get(qid)
        if queue is None or queue.key != key:
            queue = self._queue(qid, key)
            self._queues[qid] = queue
        queue.least = max(queue.least, int(document.get('least', 0)))
        queue.next = max(queue.next, int(document.get('next', 0)))
        queue.grouped = max(queue.grouped, int(document.get('grp', 0)))
        queue.is_counted = 'hk' in document
        queue.until = max(queue.until, start + CACHE_TTL)
        return queue

    def invalidate(self, qid: str) -> None:
        """Read the queue again before it is used."""
        self._queues.pop(qid, None)

    def refresh_next_wake(self, queue: CachedQueue, now: int) -> None:
        """Query when the first claim or delay of a queue ends."""
        start = time.monotonic()
        first = self._database.step(
            queue.messages.find_one,
            {'w': {'$gte': place(queue.key, 0), '$lt': ahead(queue.key)}},
            {'w': 1},
            sort=[('w', 1)],
        )
        at = 2**63
        if first is not None:
            at = int.from_bytes(bytes(first['w'])[16:], 'big')
        queue.next_wake = NextWake(at, now, start + CACHE_TTL)

    def _queue(self, qid: str, key: bytes) -> CachedQueue:
        partition = self._database.partition(qid)
        return CachedQueue(
            qid,
            key,
            partition,
            self._database.collection('message', partition),
            self._database.collection('message', partition, committed=True),
            self._database.collection('group', partition),
            0.0,
        )
