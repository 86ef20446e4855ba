# SPDX-License-Identifier: Apache-2.0
"""Removal of expired messages, purged queues and old tombstones."""

import secrets

from pymongo import ReturnDocument
from pymongo.errors import OperationFailure

from zaqar.storage.base import TOMBSTONE_LIFETIME
from zaqar.storage.mongodb import documents
from zaqar.storage.mongodb.database import CHUNK, Documents, MongoDatabase
from zaqar.storage.mongodb.documents import Document
from zaqar.storage.mongodb.errors import is_duplicate

#: Milliseconds, by the server's clock, after which a sweeper is presumed dead.
LEASE = 30_000


class DatabaseSweeper:
    """Sweeps all databases of a store; one sweeper at a time."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database

    def sweep(self, now: int, batch: int) -> int:
        """Remove dead documents, ``batch`` at most; return how many."""
        owner = secrets.token_hex(16)
        if not self._take_lease(owner):
            return 0
        try:
            removed = 0
            for partition in range(self._database.partitions):
                removed += self._sweep(partition, now, batch - removed)
            return removed
        finally:
            self._give_back(owner)

    def _take_lease(self, owner: str) -> bool:
        leases = self._database.collection('lease')
        moment = {'$toLong': '$$NOW'}
        is_free = {
            '$or': [
                {'$eq': [{'$type': '$until'}, 'missing']},
                {'$lte': ['$until', moment]},
                # Taken by a first try whose answer was lost.
                {'$eq': ['$owner', owner]},
            ]
        }
        change = {
            'owner': {'$cond': [is_free, owner, '$owner']},
            'until': {'$cond': [is_free, {'$add': [moment, LEASE]}, '$until']},
        }
        try:
            lease = self._database.step(
                lambda: leases.find_one_and_update(
                    {'_id': 'sweep'},
                    [{'$set': change}],
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            )
        except OperationFailure as error:
            if is_duplicate(error):
                # Another sweeper was faster.
                return False
            raise
        return lease is not None and lease['owner'] == owner

    def _give_back(self, owner: str) -> None:
        leases = self._database.collection('lease')
        self._database.step(
            lambda: leases.delete_one({'_id': 'sweep', 'owner': owner})
        )

    def _sweep(self, partition: int, now: int, limit: int) -> int:
        messages = self._database.collection('message', partition)
        queues = self._database.collection('queue', partition)
        dead: Document = {'e': {'$lte': documents.date(now)}}
        removed = self._remove(messages, dead, limit)
        removed += self._empty_garbage(messages, queues, limit - removed)
        tombstones: Document = {
            'gone': {'$lte': now - TOMBSTONE_LIFETIME},
            'old': {'$exists': False},
        }
        return removed + self._remove(queues, tombstones, limit - removed)

    def _remove(
        self, documents: Documents, where: Document, limit: int
    ) -> int:
        removed = 0
        while removed < limit:
            rows = self._database.step(
                lambda: list(
                    documents.find(where, {'_id': 1}).limit(
                        min(CHUNK, limit - removed)  # noqa: B023
                    )
                )
            )
            if not rows:
                break
            ids = [row['_id'] for row in rows]
            # The condition again: a claim may have prolonged a lifetime.
            removed += self._database.step(
                lambda ids=ids: documents.delete_many(  # type: ignore[misc]
                    {'_id': {'$in': ids}, **where}
                )
            ).deleted_count
        return removed

    def _empty_garbage(
        self, messages: Documents, queues: Documents, limit: int
    ) -> int:
        """Remove the messages of purged and dropped queues."""
        removed = 0
        while removed < limit:
            queue = self._database.step(
                lambda: queues.find_one({'old': {'$exists': True}}, {'old': 1})
            )
            if queue is None:
                break
            qid, keys = queue['_id'], queue['old']
            for key in keys:
                where: Document = {
                    'k': {
                        '$gte': documents.place(bytes(key), 0),
                        '$lte': documents.ahead(bytes(key)),
                    }
                }
                removed += self._remove(messages, where, limit - removed)
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
            lambda: queues.update_one(
                {'_id': qid}, [{'$set': {'old': change}}]
            )
        )
