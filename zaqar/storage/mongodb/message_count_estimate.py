# SPDX-License-Identifier: Apache-2.0
"""An estimate of how many messages a deployment has, in bounded time."""

import time

from zaqar.objects import Stats
from zaqar.storage.abstract_stores import OUTBOX
from zaqar.storage.mongodb import document_layout
from zaqar.storage.mongodb.database_commands_and_transactions import (
    MongoDatabase,
)
from zaqar.storage.mongodb.document_layout import Document

#: Seconds after which counting stops.
MAX_DURATION = 2.0

#: Queues read at a time.
BATCH = 500


def count_messages(database: MongoDatabase, now: int) -> Stats:
    """Count the live messages of all queues, or of as many as it can."""
    end = time.monotonic() + MAX_DURATION
    total = claimed = 0
    for partition in range(database.partitions):
        after = ''
        while keys := _keys(database, partition, after):
            after = keys[-1][0]
            for _qid, key in keys:
                if time.monotonic() > end:
                    return Stats(total - claimed, claimed)
                live: Document = {'e': {'$gt': document_layout.date(now)}}
                held = {
                    'c': document_layout.claims(key),
                    'h': {'$gt': now},
                    **live,
                }
                # In this order: a claim made in between is not counted.
                claimed += _count(database, partition, held)
                everyone = {'k': document_layout.places(key), **live}
                total += _count(database, partition, everyone)
    return Stats(max(total - claimed, 0), claimed)


def _keys(
    database: MongoDatabase, partition: int, after: str
) -> list[tuple[str, bytes]]:
    """Return the queues that follow a name, with their keys."""
    where: Document = {
        # Notices and deliveries are not messages of a project.
        '_id': {'$gt': after, '$not': {'$regex': f'^{OUTBOX}'}},
        'gone': {'$exists': False},
    }
    source = database.collection('queue', partition)
    rows = database.find(
        source, where, {'key': 1}, sort={'_id': 1}, limit=BATCH
    )
    return [(str(item['_id']), bytes(item['key'])) for item in rows]


def _count(database: MongoDatabase, partition: int, where: Document) -> int:
    source = database.collection('message', partition)
    return database.step(source.count_documents, where)
