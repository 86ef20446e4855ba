# SPDX-License-Identifier: Apache-2.0
"""The document of a queue: numbers, counts, marks and tombstones.

Each change is one command, hence atomic by itself.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession

from zaqar.errors import QueueGone
from zaqar.storage.mongodb.database import Database, Documents, in_time
from zaqar.storage.mongodb.incarnations import GOOD_FOR, Incarnations
from zaqar.storage.mongodb.layout import Document

#: A queue that nobody dropped.
_HERE: Document = {'gone': {'$exists': False}}


class Queues:
    """Changes of queues as a whole."""

    def __init__(self, database: Database, known: Incarnations) -> None:
        self._database = database
        self._known = known

    def take_numbers(
        self, qid: str, count: int, now: int, session: ClientSession | None
    ) -> Document:
        """Take sequence numbers, within a transaction.

        :returns: the document, whose ``next`` is behind those numbers
        :raises QueueGone: the queue was dropped
        """
        with in_time():
            found: Document | None
            found = self._documents(qid).find_one_and_update(
                {'_id': qid},
                [{'$set': {**_born(now), **_more(count, now)}}],
                upsert=True,
                return_document=ReturnDocument.AFTER,
                session=session,
            )
        if found is None or 'gone' in found:
            raise QueueGone
        return found

    def set_live(
        self, qid: str, live: int, session: ClientSession | None
    ) -> None:
        """Note how many messages there are, within a transaction."""
        with in_time():
            self._documents(qid).update_one(
                {'_id': qid}, {'$set': {'live': live}}, session=session
            )

    def purge(self, qid: str) -> None:
        """Give a queue a new key.

        :raises QueueGone: it was dropped
        """
        documents = self._documents(qid)
        found = self._database.step(
            lambda: documents.find_one_and_update(
                {'_id': qid, **_HERE}, [{'$set': _emptied()}]
            )
        )
        self._known.forget(qid)
        if found is None:
            self._known.look(qid)
            return
        # Others may still know the old key.
        time.sleep(GOOD_FOR)

    def drop(self, qid: str, now: int) -> None:
        """Leave a tombstone."""
        documents = self._documents(qid)
        change: Document = {
            **_born(now),
            **_emptied(),
            'gone': {'$ifNull': ['$gone', now]},
        }
        self._database.step(
            lambda: documents.find_one_and_update(
                {'_id': qid}, [{'$set': change}], upsert=True
            )
        )
        self._known.forget(qid)

    def mark(self, qid: str, now: int) -> None:
        """Begin the next epoch of a mark.

        :raises QueueGone: the queue was dropped
        """
        self._change(
            qid,
            {
                **_born(now),
                'sub': {'$add': [{'$abs': {'$ifNull': ['$sub', 1]}}, 1]},
            },
        )

    def require_version(self, qid: str, version: int, now: int) -> None:
        """Refuse older metadata from the return on.

        :raises QueueGone: the queue was dropped
        """
        least = {'$max': [{'$ifNull': ['$least', 0]}, version]}
        self._change(qid, {**_born(now), 'least': least})
        self._known.forget(qid)
        # Claims go by what others may still know.
        time.sleep(GOOD_FOR)

    def _change(self, qid: str, change: Document) -> None:
        """Change a document, made if it is missing.

        :raises QueueGone: the queue was dropped
        """
        documents = self._documents(qid)
        found = self._database.step(
            lambda: documents.find_one_and_update(
                {'_id': qid},
                [{'$set': change}],
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        )
        if found is None or 'gone' in found:
            raise QueueGone

    def unmark(self, qid: str, epoch: int, now: int) -> bool:
        """End a epoch, if it still lasts.

        :raises QueueGone: the queue was dropped
        """
        if epoch <= 0:
            return False
        documents = self._documents(qid)
        if epoch == 1:
            # A queue is born with its first mark.
            self._database.step(
                lambda: documents.update_one(
                    {'_id': qid}, [{'$set': _born(now)}], upsert=True
                )
            )
        found = self._database.step(
            lambda: documents.update_one(
                {'_id': qid, 'sub': epoch, **_HERE},
                {'$set': {'sub': -epoch}},
            )
        )
        if found.matched_count:
            return True
        document = self._known.document(qid)
        if document is not None and 'gone' in document:
            raise QueueGone
        return False

    def epoch(self, qid: str) -> int:
        """Return that of the mark, 0 for a silent queue.

        :raises QueueGone: the queue was dropped
        """
        document = self._known.document(qid)
        if document is None:
            return 1
        if 'gone' in document:
            raise QueueGone
        return max(int(document['sub']), 0)

    def _documents(self, qid: str) -> Documents:
        return self._database.collection(
            'queue', self._database.partition(qid)
        )


def _born(now: int) -> Document:
    """Return what a queue has from the beginning.

    Numbers begin at the current microsecond, so that after a loss of data old
    markers stay behind new messages.
    """
    return {
        'key': {'$ifNull': ['$key', secrets.token_bytes(16)]},
        'next': {'$ifNull': ['$next', now * 1000]},
        'sub': {'$ifNull': ['$sub', 1]},
    }


def _more(count: int, now: int) -> Document:
    return {
        'next': {'$add': [{'$ifNull': ['$next', now * 1000]}, count]},
        'live': _if_counted({'$add': ['$live', count]}),
    }


def _emptied() -> Document:
    return {
        'key': secrets.token_bytes(16),
        'old': {
            '$concatArrays': [
                {'$ifNull': ['$old', []]},
                {'$cond': [_missing('$key'), [], ['$key']]},
            ]
        },
        'live': _if_counted(0),
    }


def _if_counted(value: Any) -> Document:
    return {'$cond': [_missing('$live'), '$$REMOVE', value]}


def _missing(field: str) -> Document:
    return {'$eq': [{'$type': field}, 'missing']}
