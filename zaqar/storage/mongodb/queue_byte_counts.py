# SPDX-License-Identifier: Apache-2.0
"""Counts of the bytes of bodies that queues hold, which run along.

Posts add to the count in the document of their queue, which they change
anyway. What is removed is summed up in memory, and subtracted once a second
by one command for all queues: a command for each deletion would be another
round trip, and would make posts to the queue start again. It counts with the
mean size of what the queue holds.

What a process has not written when it is killed, and what the server's own
expiry removes, stays counted until the count begins anew, once an hour.
"""

import collections
import logging
import threading
import time
from collections.abc import Mapping, Sequence

import pymongo

from zaqar.errors import StoreUnavailable
from zaqar.storage.mongodb import document_layout
from zaqar.storage.mongodb.database_commands_and_transactions import (
    CHUNK,
    MongoDatabase,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.queue_state_cache import CachedQueue, QueueCache

LOG = logging.getLogger(__name__)

#: Seconds for which removals are summed up.
INTERVAL = 1.0

#: Milliseconds after which the count of a queue begins anew.
RENEWAL = 3_600_000

#: Queues of one call whose counts begin, messages that are counted, and those
#: that stand for all of them.
MOST_BEGUN = 20
MOST = 1_000_000
SAMPLE = 1000


class QueueByteCounts:
    """The counts of the queues of a store."""

    def __init__(self, database: MongoDatabase, cache: QueueCache) -> None:
        self._database = database
        self._cache = cache
        self._lock = threading.Lock()
        self._removed: collections.Counter[tuple[int, bytes]] = (
            collections.Counter()
        )
        self._timer: threading.Timer | None = None
        self._is_closed = False

    def total(self, qids: Sequence[str], now: int) -> int:
        """Return what some queues hold; see the contract."""
        self._write()
        total = begun = 0
        for partition, names in self._by_partition(qids).items():
            start = time.monotonic()
            where: Document = {
                '_id': {'$in': names},
                'gone': {'$exists': False},
            }
            source = self._database.collection('queue', partition)
            for row in self._database.find(source, where):
                queue = self._cache.update(str(row['_id']), row, start)
                size = int(row.get('hb', 0))
                is_due = 'hb' not in row or row['ht'] <= now - RENEWAL
                if is_due and begun < MOST_BEGUN:
                    begun += 1
                    size = self._begin(queue, size, now)
                total += size
        return total

    def subtract(self, queue: CachedQueue, count: int) -> None:
        """Subtract messages of a queue that were removed, soon."""
        if not queue.is_counted or not count:
            return
        with self._lock:
            self._removed[queue.partition, queue.key] += count
            self._write_soon()

    def close(self) -> None:
        """Write what was summed up, if the server responds."""
        with self._lock:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
        self._try_to_write()

    def _begin(self, queue: CachedQueue, former: int, now: int) -> int:
        """Count the bytes of a queue from now on; return them.

        :param former: by the last count; it stays if the queue holds more
            messages than are counted
        """
        where: Document = {'k': document_layout.places(queue.key)}
        messages = queue.messages
        count = self._database.step(
            messages.count_documents, where, limit=MOST
        )
        change: Document = {'ht': now}
        size = former
        if count < MOST or not queue.is_counted:
            size = int(count * self._mean(queue, where))
            change |= {'hk': queue.key, 'hn': count, 'hb': size}
        self._database.step(
            self._database.collection('queue', queue.partition).update_one,
            {'_id': queue.qid, 'key': queue.key},
            {'$set': change},
        )
        self._cache.invalidate(queue.qid)
        return size

    def _mean(self, queue: CachedQueue, where: Document) -> float:
        mean = {'$avg': {'$binarySize': '$b'}}
        pipeline: list[Document] = [
            {'$match': where},
            {'$limit': SAMPLE},
            {'$group': {'_id': None, 'mean': mean}},
        ]
        rows = self._database.step(
            lambda: [*queue.messages.aggregate(pipeline)]
        )
        return float(rows[0]['mean']) if rows else 0.0

    def _by_partition(self, qids: Sequence[str]) -> Mapping[int, list[str]]:
        names: dict[int, list[str]] = {}
        for qid in dict.fromkeys(qids):
            partition = self._database.partition(qid)
            names.setdefault(partition, []).append(qid)
        return names

    def _write_soon(self) -> None:
        """Start the timer if there is none; the lock is held."""
        if self._timer is None and not self._is_closed:
            self._timer = threading.Timer(INTERVAL, self._try_to_write)
            self._timer.daemon = True
            self._timer.start()

    def _try_to_write(self) -> None:
        with self._lock:
            self._timer = None
        try:
            self._write()
        except StoreUnavailable:
            LOG.info('Removed bytes cannot be written; retrying later')
        except Exception:
            LOG.exception('Removed bytes cannot be written')

    def _write(self) -> None:
        """Write what was summed up; what fails is written later."""
        with self._lock:
            removed, self._removed = self._removed, collections.Counter()
        by_partition: dict[int, dict[bytes, int]] = {}
        for (partition, key), count in removed.items():
            by_partition.setdefault(partition, {})[key] = count
        try:
            for partition, counts in by_partition.items():
                subtract(self._database, partition, counts)
                for key in counts:
                    del removed[partition, key]
        except StoreUnavailable:
            with self._lock:
                self._removed.update(removed)
                self._write_soon()
            raise


def subtract(
    database: MongoDatabase, partition: int, removed: Mapping[bytes, int]
) -> None:
    """Subtract removed messages from the counts of queues.

    :param removed: their numbers by the keys of the queues, counted or not
    """
    source = database.collection('queue', partition)
    updates = [
        pymongo.UpdateOne({'hk': key}, [{'$set': _less(count)}])
        for key, count in removed.items()
    ]
    for start in range(0, len(updates), CHUNK):
        # A command whose answer is lost may count twice, until the count
        # begins anew.
        chunk = updates[start : start + CHUNK]
        database.step(source.bulk_write, chunk, ordered=False)


def _less(count: int) -> Document:
    left = {'$max': [{'$subtract': ['$hn', count]}, 0]}
    # Without messages it is 0, whatever was counted.
    bytes_ = {'$divide': [{'$multiply': ['$hb', left]}, {'$max': ['$hn', 1]}]}
    return {'hn': left, 'hb': {'$toLong': bytes_}}
