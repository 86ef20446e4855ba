# SPDX-License-Identifier: Apache-2.0
"""Which key a queue has, and when its next message wakes.

Both are remembered for a moment, so that a busy queue is not looked up at
every call. A purge gives the queue another key and waits for that moment
before it is done: no process shows purged messages afterwards. Who works with
an old key meanwhile reaches messages that nobody will see again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from zaqar.bounded_cache import BoundedCache
from zaqar.errors import QueueGone
from zaqar.storage.mongodb.database import Database, Documents
from zaqar.storage.mongodb.layout import Document, ahead, place

#: Seconds for which a look is good.
GOOD_FOR = 0.25

#: Queues remembered; then all are forgotten.
MOST = 20_000


@dataclass(slots=True)
class Wakes:
    """When the first claim or delay of a queue ends.

    :ivar seen_at: the ``now`` of the look, in milliseconds
    :ivar until: when it is to be looked up again, monotonic
    """

    at: int
    seen_at: int
    until: float

    def is_fresh(self, now: int) -> bool:
        """Tell whether the look is still good."""
        return (
            time.monotonic() < self.until
            # Whoever moves the clock moves it further than we remember.
            and abs(now - self.seen_at) < GOOD_FOR * 1000
        )


@dataclass(slots=True)
class Queue:
    """A queue with the key it has.

    :ivar messages: its collection
    :ivar committed: the same, showing only what is there to stay
    :ivar least: the oldest version of metadata that may be used
    """

    qid: str
    key: bytes
    partition: int
    messages: Documents
    committed: Documents
    until: float
    wakes: Wakes | None = field(default=None)
    least: int = 0

    def wakes_by(self, now: int) -> bool:
        """Tell whether a claim or a delay may have ended."""
        seen = self.wakes
        return seen is None or not seen.is_fresh(now) or seen.at <= now

    def will_wake(self, moment: int) -> None:
        """Note that a claim or a delay ends then."""
        if self.wakes is not None:
            self.wakes.at = min(self.wakes.at, moment)


class Incarnations:
    """The queues of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: BoundedCache[str, Queue] = BoundedCache(MOST)

    def find(self, qid: str) -> Queue | None:
        """Return a queue, None if it was never seen.

        :raises QueueGone: it was dropped
        """
        found = self._known.get(qid)
        if found is not None and time.monotonic() < found.until:
            return found
        return self.look(qid)

    def look(self, qid: str) -> Queue | None:
        """Return a queue as it is now; see :meth:`find`."""
        asked = time.monotonic()
        document = self.document(qid)
        if document is None:
            self.forget(qid)
            return None
        return self.learn(qid, document, asked)

    def document(self, qid: str) -> Document | None:
        """Return the document of a queue."""
        partition = self._database.partition(qid)
        queues = self._database.collection('queue', partition)
        return self._database.step(lambda: queues.find_one({'_id': qid}))

    def learn(self, qid: str, document: Document, asked: float) -> Queue:
        """Remember what a document says that was asked for then.

        :raises QueueGone: it was dropped
        """
        if 'gone' in document:
            self.forget(qid)
            raise QueueGone
        key = bytes(document['key'])
        found = self._known.get(qid)
        if found is None or found.key != key:
            found = self._made(qid, key)
            self._known[qid] = found
        found.least = max(found.least, int(document.get('least', 0)))
        found.until = max(found.until, asked + GOOD_FOR)
        return found

    def forget(self, qid: str) -> None:
        """Look at the queue again before it is used."""
        self._known.pop(qid, None)

    def look_for_wakes(self, queue: Queue, now: int) -> None:
        """Learn when the first claim or delay of a queue ends."""
        asked = time.monotonic()
        first = self._database.step(
            lambda: queue.messages.find_one(
                {'w': {'$gte': place(queue.key, 0), '$lt': ahead(queue.key)}},
                {'w': 1},
                sort=[('w', 1)],
            )
        )
        at = 2**63
        if first is not None:
            at = int.from_bytes(bytes(first['w'])[16:], 'big')
        queue.wakes = Wakes(at, now, asked + GOOD_FOR)

    def _made(self, qid: str, key: bytes) -> Queue:
        partition = self._database.partition(qid)
        return Queue(
            qid,
            key,
            partition,
            self._database.collection('message', partition),
            self._database.collection('message', partition, committed=True),
            0.0,
        )
