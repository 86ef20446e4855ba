# SPDX-License-Identifier: Apache-2.0
"""How much a deployment holds, as far as that can be told at once."""

from __future__ import annotations

import functools
import time

from zaqar.models import Stats
from zaqar.storage.base import OUTBOX
from zaqar.storage.mongodb import layout
from zaqar.storage.mongodb.database import Database
from zaqar.storage.mongodb.layout import Document

#: Seconds after which nothing more is counted.
PATIENCE = 2.0

#: Queues of which the server is asked at a time.
BATCH = 500


def volume(database: Database, now: int) -> Stats:
    """Count the live messages of all queues, or of as many as it can.

    :raises StoreUnavailable: the deployment does not answer
    """
    end = time.monotonic() + PATIENCE
    total = claimed = 0
    for partition in range(database.partitions):
        after = ''
        while keys := _keys(database, partition, after):
            after = keys[-1][0]
            for _qid, key in keys:
                if time.monotonic() > end:
                    return Stats(total - claimed, claimed)
                live: Document = {'e': {'$gt': layout.date(now)}}
                held = {'c': layout.claims(key), 'h': {'$gt': now}, **live}
                # In this order: a claim made in between is not counted.
                claimed += _count(database, partition, held)
                everyone = {'k': layout.places(key), **live}
                total += _count(database, partition, everyone)
    return Stats(max(total - claimed, 0), claimed)


def _keys(
    database: Database, partition: int, after: str
) -> list[tuple[str, bytes]]:
    """Return queues behind a name, with their keys."""
    where: Document = {
        # Notices and deliveries are ours, not anybody's messages.
        '_id': {'$gt': after, '$not': {'$regex': f'^{OUTBOX}'}},
        'gone': {'$exists': False},
    }
    source = database.collection('queue', partition)

    def read() -> list[Document]:
        found = source.find(where, {'key': 1}).sort('_id', 1)
        return list(found.limit(BATCH))

    return [
        (str(item['_id']), bytes(item['key'])) for item in database.step(read)
    ]


def _count(database: Database, partition: int, where: Document) -> int:
    source = database.collection('message', partition)
    return database.step(functools.partial(source.count_documents, where))
