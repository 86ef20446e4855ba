# SPDX-License-Identifier: Apache-2.0
"""Statistics of queues, by one command."""

from collections.abc import Mapping, Sequence

from msgspec import structs

from zaqar.objects import MessageSpan, Stats
from zaqar.storage.mongodb import document_layout, message_groups
from zaqar.storage.mongodb.database_commands_and_transactions import (
    Documents,
    MongoDatabase,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.queue_state_cache import CachedQueue

#: Queues of one command, whose pipelines have forty stages each at most:
#: servers allow a thousand stages.
CHUNK = 20


def count(
    database: MongoDatabase, queue: CachedQueue, now: int, *, has_woken: bool
) -> Stats:
    """Count the live messages of a queue, and name both ends.

    :param has_woken: whether a claim or delay may have ended since it was
        last written
    """
    pipelines = [
        *_ends(queue, now),
        *_pipelines(queue, now, has_woken=has_woken),
    ]
    rows = {
        row['_id']: row
        for row in _answers(database, queue.committed, pipelines)
    }
    if 'oldest' not in rows or 'newest' not in rows:
        return Stats(posted=queue.next)
    return structs.replace(
        _stats(queue, rows),
        oldest=_span(rows['oldest']),
        newest=_span(rows['newest']),
    )


def count_many(
    database: MongoDatabase, queues: Sequence[CachedQueue], now: int
) -> dict[str, Stats]:
    """Count the live messages of queues of one partition, without ends.

    By one command for each :data:`CHUNK` of them.
    """
    counts: dict[str, Stats] = {}
    for start in range(0, len(queues), CHUNK):
        chunk = queues[start : start + CHUNK]
        pipelines = [
            _marked(pipeline, place)
            for place, queue in enumerate(chunk)
            for pipeline in _pipelines(queue, now, has_woken=True)
        ]
        rows: list[dict[str, Document]] = [{} for _ in chunk]
        for row in _answers(database, chunk[0].committed, pipelines):
            place, _, name = row['_id'].partition(' ')
            rows[int(place)][name] = row
        for queue, some in zip(chunk, rows, strict=True):
            counts[queue.qid] = _stats(queue, some)
    return counts


def _marked(pipeline: Sequence[Document], place: int) -> Sequence[Document]:
    """Return a pipeline whose document begins its name with a number."""
    *rest, last = pipeline
    group = last['$group']
    name = {'$literal': f'{place} {group["_id"]["$literal"]}'}
    return [*rest, {'$group': {**group, '_id': name}}]


def _answers(
    database: MongoDatabase,
    source: Documents,
    pipelines: Sequence[Sequence[Document]],
) -> Sequence[Document]:
    """Return the documents of all pipelines, by one command."""
    first, *others = pipelines
    pipeline = [
        *first,
        *(
            {'$unionWith': {'coll': source.name, 'pipeline': other}}
            for other in others
        ),
    ]
    return database.step(lambda: [*source.aggregate(pipeline)])


def _stats(queue: CachedQueue, rows: Mapping[str, Document]) -> Stats:
    def number(name: str) -> int:
        return int(rows.get(name, {}).get('n', 0))

    total = max(number('all') - number('dead'), 0)
    claimed = number('claimed') - number('dead claimed') - number('lapsed')
    claimed = min(max(claimed, 0), total)
    starts = [rows[name]['at'] for name in _FREE if name in rows]
    return Stats(
        total - claimed,
        claimed,
        delayed=min(number('delayed'), total - claimed),
        held_by_groups=min(number('in group'), total - claimed),
        oldest_free_at=min(
            (int(at) for at in starts if at is not None), default=None
        ),
        posted=queue.next,
    )


#: Pipelines that find the oldest claimable message.
_FREE = ('free', 'woken', 'in group')


def _ends(queue: CachedQueue, now: int) -> list[Sequence[Document]]:
    live: Document = {
        'k': document_layout.places(queue.key),
        'e': {'$gt': document_layout.date(now)},
    }
    return [
        _end('oldest', live, {'k': 1}),
        _end('newest', live, {'k': -1}),
    ]


def _pipelines(
    queue: CachedQueue, now: int, *, has_woken: bool
) -> list[Sequence[Document]]:
    """Return pipelines, each of which makes one document at most."""
    key = queue.key
    everyone: Document = {'k': document_layout.places(key)}
    dead = {'e': {'$lte': document_layout.date(now)}, **everyone}
    live: Document = {'e': {'$gt': document_layout.date(now)}}
    counted = {
        'all': everyone,
        'dead': dead,
        'claimed': {'c': document_layout.claims(key)},
        'dead claimed': {**dead, 'h': {'$gt': now}},
        'delayed': {
            'd': document_layout.places(key),
            'z': {'$gt': now},
            **live,
        },
    }
    pipelines = [
        _end('free', {'f': document_layout.places(key), **live}, {'f': 1}),
    ]
    if has_woken:
        woken: Document = {'w': document_layout.until(key, now)}
        counted['lapsed'] = {**woken, 'h': {'$gt': 0}}
        start = {'_id': {'$literal': 'woken'}, 'at': {'$min': '$m'}}
        where = woken | live
        if queue.grouped:
            where |= message_groups.UNGROUPED
        pipelines.append([{'$match': where}, {'$group': start}])
    for name, where in counted.items():
        group = {'_id': {'$literal': name}, 'n': {'$sum': 1}}
        pipelines.append([{'$match': where}, {'$group': group}])
    if queue.grouped:
        pipelines.append(_of_groups(queue, now))
    return pipelines


def _of_groups(queue: CachedQueue, now: int) -> list[Document]:
    """Return a pipeline: the oldest in free groups, how many in busy ones.

    Messages and groups are counted together, by group.
    """
    waiting = {
        'k': document_layout.places(queue.key),
        'og': {'$exists': True},
        'a': {'$lte': now},
        'e': {'$gt': document_layout.date(now)},
    }
    later = {
        '$gt': document_layout.place(queue.key, now),
        '$lt': document_layout.ahead(queue.key),
    }
    is_busy: list[Document] = [
        {'$match': {'w': later}},
        {'$group': {'_id': '$_id', 'n': {'$sum': 0}, 'busy': {'$sum': 1}}},
    ]
    own = {'n': {'$sum': 1}, 'busy': {'$sum': 0}, 'at': {'$min': '$m'}}
    sums = {
        'n': {'$sum': '$n'},
        'busy': {'$sum': '$busy'},
        'at': {'$min': '$at'},
    }
    holds: Document = {'$gt': ['$busy', 0]}
    return [
        {'$match': waiting},
        {'$group': {'_id': '$og', **own}},
        {'$unionWith': {'coll': queue.groups.name, 'pipeline': is_busy}},
        {'$group': {'_id': '$_id', **sums}},
        {
            '$group': {
                '_id': {'$literal': 'in group'},
                'n': {'$sum': {'$cond': [holds, '$n', 0]}},
                'at': {'$min': {'$cond': [holds, None, '$at']}},
            }
        },
    ]


def _end(name: str, where: Document, sort: Document) -> Sequence[Document]:
    return [
        {'$match': where},
        {'$sort': sort},
        {'$limit': 1},
        {
            '$group': {
                '_id': {'$literal': name},
                'name': {'$min': '$_id'},
                'at': {'$min': '$m'},
            }
        },
    ]


def _span(row: Document) -> MessageSpan:
    return MessageSpan(bytes(row['name'])[16:].hex(), int(row['at']))
