# SPDX-License-Identifier: Apache-2.0
"""What queues offer to those that wait for messages."""

from collections.abc import Iterable, Iterator, Sequence

from zaqar.storage.mongodb import document_layout, message_groups
from zaqar.storage.mongodb.database_commands_and_transactions import (
    MongoDatabase,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.store_watch_interface import MAX_FREE, Availability

#: Queues of one command, whose three pipelines have four stages each: servers
#: allow a thousand stages.
CHUNK = 60

#: The same if some have groups, which have two pipelines more.
CHUNK_WITH_GROUPS = 36


def look(
    database: MongoDatabase, qids: Sequence[str], now: int
) -> Sequence[Availability]:
    """Tell what each queue offers, in their order.

    For each database that holds some of the queues: a query for their keys
    and one command for each :data:`CHUNK` of them.
    """
    by_partition: dict[int, set[str]] = {}
    for qid in qids:
        by_partition.setdefault(database.partition(qid), set()).add(qid)
    offers: dict[str, Availability] = {}
    for partition, some in by_partition.items():
        queues = database.find(
            database.collection('queue', partition),
            {'_id': {'$in': [*some]}, 'gone': {'$exists': False}},
            {'key': 1, 'next': 1, 'grp': 1},
        )
        size = CHUNK
        if any('grp' in queue for queue in queues):
            size = CHUNK_WITH_GROUPS
        for first in range(0, len(queues), size):
            chunk = queues[first : first + size]
            offers |= _offers(database, partition, chunk, now)
    return [offers.get(qid, Availability()) for qid in qids]


def _offers(
    database: MongoDatabase,
    partition: int,
    queues: Sequence[Document],
    now: int,
) -> dict[str, Availability]:
    messages = database.collection('message', partition)
    first, *others = _pipelines(queues, now)
    sums = {'free': {'$sum': '$free'}, 'due': {'$min': '$due'}}
    pipeline = [
        *first,
        *(
            {'$unionWith': {'coll': messages.name, 'pipeline': other}}
            for other in others
        ),
        {'$group': {'_id': '$_id', **sums}},
    ]
    rows = {
        row['_id']: row
        for row in database.step(lambda: [*messages.aggregate(pipeline)])
    }
    return {
        queue['_id']: _availability(queue, rows.get(queue['_id'], {}))
        for queue in queues
    }


def _availability(queue: Document, row: Document) -> Availability:
    due = row.get('due')
    return Availability(
        min(int(row.get('free', 0)), MAX_FREE),
        int(queue['next']),
        None if due is None else int(due),
        grouped='grp' in queue,
    )


def _pipelines(
    queues: Iterable[Document], now: int
) -> Iterator[Sequence[Document]]:
    """Yield what counts free messages and finds the next end of a hold.

    Each makes one document at most, and looks at a bounded part of an index.
    """
    live = {'e': {'$gt': document_layout.date(now)}}
    for queue in queues:
        key, name = bytes(queue['key']), {'$literal': queue['_id']}
        counted: list[Document] = [
            {'$limit': MAX_FREE},
            {'$group': {'_id': name, 'free': {'$sum': 1}}},
        ]
        more = message_groups.UNGROUPED if 'grp' in queue else {}
        free: Sequence[Document] = (
            {'f': document_layout.places(key)},
            {'w': document_layout.until(key, now), **more},
        )
        for where in free:
            yield [{'$match': where | live}, *counted]
        if 'grp' in queue:
            yield from _free_groups(key, now, counted)
        later = {
            '$gt': document_layout.place(key, now),
            '$lt': document_layout.ahead(key),
        }
        yield [
            {'$match': {'w': later}},
            {'$sort': {'w': 1}},
            {'$limit': 1},
            {'$group': {'_id': name, 'due': {'$min': '$a'}}},
        ]


def _free_groups(
    key: bytes, now: int, counted: Sequence[Document]
) -> Iterator[Sequence[Document]]:
    """Yield what counts free groups, each as one message."""
    for where in (
        {'f': document_layout.places(key)},
        {'w': document_layout.until(key, now)},
    ):
        of_groups = [{'$match': where}, *counted]
        yield [
            {'$match': {'_id': {'$in': []}}},
            {
                '$unionWith': {
                    'coll': message_groups.COLLECTION,
                    'pipeline': of_groups,
                }
            },
        ]
