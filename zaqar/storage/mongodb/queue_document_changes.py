# SPDX-License-Identifier: Apache-2.0
"""Changes of a queue's document: numbers, counts, flags, tombstones.

Each change is one command, hence atomic.
"""

import secrets
import time
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession

from zaqar.errors import QueueGone
from zaqar.storage.mongodb.database_commands_and_transactions import (
    Documents,
    MongoDatabase,
    in_time,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.queue_state_cache import CACHE_TTL, QueueCache

#: The condition that a queue was not dropped.
_EXISTS: Document = {'gone': {'$exists': False}}


#: Values of ``grp``; nobody has seen a queue that is created with it.
SOME_KNOW, ALL_KNOW = 1, 2


class QueueDocuments:
    """The documents of the queues of a store."""

    def __init__(self, database: MongoDatabase, cache: QueueCache) -> None:
        self._database = database
        self._cache = cache

    def take_numbers(
        self,
        qid: str,
        count: int,
        now: int,
        session: ClientSession | None,
        size: int = 0,
    ) -> Document:
        """Assign sequence numbers, within a transaction.

        :param size: bytes of the bodies of their messages
        :returns: the document, whose ``next`` is behind those numbers
        """
        with in_time():
            document: Document | None
            document = self._documents(qid).find_one_and_update(
                {'_id': qid},
                [{'$set': {**_defaults(now), **_more(count, size, now)}}],
                upsert=True,
                return_document=ReturnDocument.AFTER,
                session=session,
            )
        if document is None or 'gone' in document:
            raise QueueGone
        return document

    def set_live(
        self, qid: str, live: int, session: ClientSession | None
    ) -> None:
        """Store the number of messages, within a transaction."""
        with in_time():
            self._documents(qid).update_one(
                {'_id': qid}, {'$set': {'live': live}}, session=session
            )

    def subtract(
        self, qid: str, count: int, size: int, session: ClientSession | None
    ) -> None:
        """Count messages no longer that have numbers, but are not stored.

        Within the same transaction.
        """
        change = {
            'hn': {'$subtract': ['$hn', count]},
            'hb': {'$subtract': ['$hb', size]},
        }
        with in_time():
            self._documents(qid).update_one(
                {'_id': qid}, [{'$set': change}], session=session
            )

    def purge(self, qid: str) -> None:
        """Give a queue a new key."""
        documents = self._documents(qid)
        former = self._database.step(
            # With another key for each try: the one before may be in use.
            lambda: documents.find_one_and_update(
                {'_id': qid, **_EXISTS}, [{'$set': _purged()}]
            )
        )
        self._cache.invalidate(qid)
        if former is None:
            self._cache.refresh(qid)
            return
        # Other processes may still use the old key.
        time.sleep(CACHE_TTL)

    def drop(self, qid: str, now: int) -> None:
        """Leave a tombstone."""
        documents = self._documents(qid)
        change: Document = {
            **_defaults(now),
            **_purged(),
            'gone': {'$ifNull': ['$gone', now]},
        }
        self._database.step(
            documents.find_one_and_update,
            {'_id': qid},
            [{'$set': change}],
            upsert=True,
        )
        self._cache.invalidate(qid)

    def mark(self, qid: str, now: int) -> None:
        """Set the flag, in a new epoch."""
        self._change(
            qid,
            {
                **_defaults(now),
                'sub': {'$add': [{'$abs': {'$ifNull': ['$sub', 1]}}, 1]},
            },
        )

    def require_version(self, qid: str, version: int, now: int) -> None:
        """Refuse older metadata from the return on."""
        least = {'$max': [{'$ifNull': ['$least', 0]}, version]}
        self._change(qid, {**_defaults(now), 'least': least})
        self._cache.invalidate(qid)
        # Claims of other processes may still use the cached version.
        time.sleep(CACHE_TTL)

    def note_groups(self, qid: str, now: int) -> None:
        """Let all processes know that a queue has groups, before it has."""
        queue = self._cache.get(qid)
        if queue is not None and queue.grouped == ALL_KNOW:
            return
        documents = self._documents(qid)
        former = self._database.step(
            documents.find_one_and_update,
            {'_id': qid},
            [{'$set': {**_defaults(now), 'grp': _announced()}}],
            upsert=True,
        )
        self._cache.invalidate(qid)
        if former is None:
            return
        if 'gone' in former:
            raise QueueGone
        # Claims of other processes may still use what they know of it.
        time.sleep(CACHE_TTL)
        self._change(qid, {**_defaults(now), 'grp': ALL_KNOW})
        self._cache.invalidate(qid)

    def _change(self, qid: str, change: Document) -> None:
        """Change a document, created if it is missing."""
        documents = self._documents(qid)
        document = self._database.step(
            documents.find_one_and_update,
            {'_id': qid},
            [{'$set': change}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        if document is None or 'gone' in document:
            raise QueueGone

    def unmark(self, qid: str, epoch: int, now: int) -> bool:
        """Clear the flag, if it is still of this epoch."""
        if epoch <= 0:
            return False
        documents = self._documents(qid)
        if epoch == 1:
            # A new queue has the flag.
            self._database.step(
                documents.update_one,
                {'_id': qid},
                [{'$set': _defaults(now)}],
                upsert=True,
            )
        result = self._database.step(
            documents.update_one,
            {'_id': qid, 'sub': epoch, **_EXISTS},
            {'$set': {'sub': -epoch}},
        )
        if result.matched_count:
            return True
        document = self._cache.read(qid)
        if document is not None and 'gone' in document:
            raise QueueGone
        return False

    def epoch(self, qid: str) -> int:
        """Return the epoch of the flag, 0 if it is not set."""
        document = self._cache.read(qid)
        if document is None:
            return 1
        if 'gone' in document:
            raise QueueGone
        return max(int(document['sub']), 0)

    def _documents(self, qid: str) -> Documents:
        return self._database.collection(
            'queue', self._database.partition(qid)
        )


def _defaults(now: int) -> Document:
    """Return the fields of a new queue.

    Numbers begin at the current microsecond: after a loss of data, old markers
    are then before all new messages.
    """
    return {
        'key': {'$ifNull': ['$key', secrets.token_bytes(16)]},
        'next': {'$ifNull': ['$next', now * 1000]},
        'sub': {'$ifNull': ['$sub', 1]},
    }


def _announced() -> Document:
    is_new = _missing('$key')
    value = {'$cond': [is_new, ALL_KNOW, SOME_KNOW]}
    return {'$ifNull': ['$grp', value]}


def _more(count: int, size: int, now: int) -> Document:
    return {
        'next': {'$add': [{'$ifNull': ['$next', now * 1000]}, count]},
        'live': _if_there('live', {'$add': ['$live', count]}),
        'hn': _if_there('hn', {'$add': ['$hn', count]}),
        'hb': _if_there('hb', {'$add': ['$hb', size]}),
    }


def _purged() -> Document:
    key = secrets.token_bytes(16)
    return {
        'key': key,
        'old': {
            '$concatArrays': [
                {'$ifNull': ['$old', []]},
                {'$cond': [_missing('$key'), [], ['$key']]},
            ]
        },
        'live': _if_there('live', 0),
        'hk': _if_there('hk', key),
        'hn': _if_there('hn', 0),
        'hb': _if_there('hb', 0),
    }


def _if_there(field: str, value: Any) -> Document:
    """Return a new value of a field that only some documents have."""
    return {'$cond': [_missing(f'${field}'), '$$REMOVE', value]}


def _missing(field: str) -> Document:
    return {'$eq': [{'$type': field}, 'missing']}
