# SPDX-License-Identifier: Apache-2.0
"""Removal of expired messages, purged queues and old tombstones."""

import secrets
from collections import Counter
from collections.abc import Sequence
from functools import partial

from zaqar.storage.abstract_stores import TOMBSTONE_LIFETIME
from zaqar.storage.mongodb import (
    document_layout,
    leases,
    message_groups,
    queue_byte_counts,
)
from zaqar.storage.mongodb.database_commands_and_transactions import (
    CHUNK,
    Documents,
    MongoDatabase,
)
from zaqar.storage.mongodb.document_layout import Document

#: Milliseconds, by the server's clock, after which a sweeper is presumed dead.
LEASE = 30_000

#: Groups that are updated in one transaction.
REGROUP_BATCH = 50


class DatabaseSweeper:
    """Sweeps all databases of a store; one sweeper at a time."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database

    def sweep(self, now: int, batch: int) -> int:
        """Remove dead documents, ``batch`` at most; return how many."""
        owner = secrets.token_hex(16)
        taken = self._database.collection(leases.COLLECTION)
        if not self._database.step(leases.take, taken, 'sweep', owner, LEASE):
            return 0
        try:
            removed = 0
            for partition in range(self._database.partitions):
                removed += self._sweep(partition, now, batch - removed)
            return removed
        finally:
            self._database.step(leases.give_back, taken, 'sweep', owner)

    def _sweep(self, partition: int, now: int, limit: int) -> int:
        messages = self._database.collection('message', partition)
        queues = self._database.collection('queue', partition)
        lanes = self._database.collection(message_groups.COLLECTION, partition)
        dead: Document = {'e': {'$lte': document_layout.date(now)}}
        rows: list[Document] = []
        removed = self._remove(messages, dead, limit, rows)
        self._regroup(messages, lanes, message_groups.ids_of(rows), now)
        by_queue = Counter(
            bytes(row['_id'])[: document_layout.KEY_SIZE]
            for row in rows
            # That of a token is text.
            if not isinstance(row['_id'], str)
        )
        queue_byte_counts.subtract(self._database, partition, by_queue)
        removed += self._remove(lanes, dead, limit - removed)
        removed += self._empty_garbage(
            messages, lanes, queues, limit - removed
        )
        tombstones: Document = {
            'gone': {'$lte': now - TOMBSTONE_LIFETIME},
            'old': {'$exists': False},
        }
        return removed + self._remove(queues, tombstones, limit - removed)

    def _remove(
        self,
        documents: Documents,
        where: Document,
        limit: int,
        seen: list[Document] | None = None,
    ) -> int:
        """Remove documents, ``limit`` at most; return how many.

        :param seen: takes their names and groups
        """
        removed = 0
        while removed < limit:
            batch = min(CHUNK, limit - removed)
            rows = self._database.find(
                documents, where, {'og': 1}, limit=batch
            )
            if not rows:
                break
            ids = [row['_id'] for row in rows]
            if seen is not None:
                seen += rows
            # The condition again: a claim may have prolonged a lifetime.
            removed += self._database.step(
                documents.delete_many, {'_id': {'$in': ids}, **where}
            ).deleted_count
        return removed

    def _regroup(
        self,
        messages: Documents,
        lanes: Documents,
        touched: Sequence[bytes],
        now: int,
    ) -> None:
        """Update groups that have lost messages.

        If this fails, they are updated by the claims that meet them.
        """
        for start in range(0, len(touched), REGROUP_BATCH):
            part = touched[start : start + REGROUP_BATCH]
            self._database.atomically(
                partial(message_groups.regroup, messages, lanes, part, now)
            )

    def _empty_garbage(
        self,
        messages: Documents,
        lanes: Documents,
        queues: Documents,
        limit: int,
    ) -> int:
        """Remove the messages and groups of purged and dropped queues."""
        removed = 0
        while removed < limit:
            queue = self._database.step(
                queues.find_one, {'old': {'$exists': True}}, {'old': 1}
            )
            if queue is None:
                break
            qid, keys = queue['_id'], queue['old']
            for key in keys:
                where: Document = {
                    'k': {
                        '$gte': document_layout.place(bytes(key), 0),
                        '$lte': document_layout.ahead(bytes(key)),
                    }
                }
                removed += self._remove(messages, where, limit - removed)
                own: Document = {'_id': document_layout.claims(bytes(key))}
                removed += self._remove(lanes, own, limit - removed)
                if removed >= limit:
                    break
            else:
                self._forget(queues, qid, keys)
        return removed

    def _forget(self, queues: Documents, qid: str, keys: list[object]) -> None:
        """Remove keys whose messages are gone from a queue's document."""
        # They are missing if an earlier try has removed them.
        former = {'$ifNull': ['$old', []]}
        left = {'$setDifference': [former, {'$literal': keys}]}
        change = {'$cond': [{'$eq': [left, []]}, '$$REMOVE', left]}
        self._database.step(
            queues.update_one, {'_id': qid}, [{'$set': {'old': change}}]
        )
