# SPDX-License-Identifier: Apache-2.0
"""Removing what nobody can see any more."""

from __future__ import annotations

import secrets

from pymongo import ReturnDocument
from pymongo.errors import OperationFailure

from zaqar.storage.base import TOMBSTONE_LIFETIME
from zaqar.storage.mongodb import layout
from zaqar.storage.mongodb.database import (
    CHUNK,
    Database,
    Documents,
    is_duplicate,
)
from zaqar.storage.mongodb.layout import Document

#: Milliseconds, by the server's clock, after which a sweeper is taken for
#: dead.
LEASE = 30_000


class Sweeping:
    """Sweeps all databases of a store; one sweeper at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sweep(self, now: int, batch: int) -> int:
        """Remove dead documents, ``batch`` at most; return how many."""
        owner = secrets.token_hex(16)
        if not self._take_lease(owner):
            return 0
        try:
            done = 0
            for partition in range(self._database.partitions):
                done += self._sweep(partition, now, batch - done)
            return done
        finally:
            self._give_back(owner)

    def _take_lease(self, owner: str) -> bool:
        leases = self._database.collection('lease')
        moment = {'$toLong': '$$NOW'}
        is_free = {
            '$or': [
                {'$eq': [{'$type': '$until'}, 'missing']},
                {'$lte': ['$until', moment]},
                # After a lost answer it is ours already.
                {'$eq': ['$owner', owner]},
            ]
        }
        change = {
            'owner': {'$cond': [is_free, owner, '$owner']},
            'until': {'$cond': [is_free, {'$add': [moment, LEASE]}, '$until']},
        }
        try:
            found = self._database.step(
                lambda: leases.find_one_and_update(
                    {'_id': 'sweep'},
                    [{'$set': change}],
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            )
        except OperationFailure as error:
            if is_duplicate(error):
                # Another one was the first.
                return False
            raise
        return found is not None and found['owner'] == owner

    def _give_back(self, owner: str) -> None:
        leases = self._database.collection('lease')
        self._database.step(
            lambda: leases.delete_one({'_id': 'sweep', 'owner': owner})
        )

    def _sweep(self, partition: int, now: int, most: int) -> int:
        messages = self._database.collection('message', partition)
        queues = self._database.collection('queue', partition)
        dead: Document = {'e': {'$lte': layout.date(now)}}
        done = self._remove(messages, dead, most)
        done += self._empty_garbage(messages, queues, most - done)
        stones: Document = {
            'gone': {'$lte': now - TOMBSTONE_LIFETIME},
            'old': {'$exists': False},
        }
        return done + self._remove(queues, stones, most - done)

    def _remove(self, documents: Documents, where: Document, most: int) -> int:
        done = 0
        while done < most:
            rows = self._database.step(
                lambda: list(
                    documents.find(where, {'_id': 1}).limit(
                        min(CHUNK, most - done)  # noqa: B023
                    )
                )
            )
            if not rows:
                break
            names = [row['_id'] for row in rows]
            # Again with the condition: a claim may have prolonged a life.
            done += self._database.step(
                lambda names=names: documents.delete_many(  # type: ignore[misc]
                    {'_id': {'$in': names}, **where}
                )
            ).deleted_count
        return done

    def _empty_garbage(
        self, messages: Documents, queues: Documents, most: int
    ) -> int:
        """Remove what purges and drops have left."""
        done = 0
        while done < most:
            found = self._database.step(
                lambda: queues.find_one({'old': {'$exists': True}}, {'old': 1})
            )
            if found is None:
                break
            qid, keys = found['_id'], found['old']
            for key in keys:
                where: Document = {
                    'k': {
                        '$gte': layout.place(bytes(key), 0),
                        '$lte': layout.ahead(bytes(key)),
                    }
                }
                done += self._remove(messages, where, most - done)
                if done >= most:
                    break
            else:
                self._forget(queues, qid, keys)
        return done

    def _forget(self, queues: Documents, qid: str, keys: list[object]) -> None:
        """Note that nothing is left under some keys."""
        left = {'$setDifference': ['$old', {'$literal': keys}]}
        change = {'$cond': [{'$eq': [left, []]}, '$$REMOVE', left]}
        self._database.step(
            lambda: queues.update_one(
                {'_id': qid}, [{'$set': {'old': change}}]
            )
        )
