# SPDX-License-Identifier: Apache-2.0
"""Statistics of a queue, by one command."""

from collections.abc import Sequence

from zaqar.models import MessageSpan, Stats
from zaqar.storage.mongodb import documents, groups
from zaqar.storage.mongodb.commands_and_transactions import MongoDatabase
from zaqar.storage.mongodb.documents import Document
from zaqar.storage.mongodb.queue_state_cache import CachedQueue


def count(
    database: MongoDatabase, queue: CachedQueue, now: int, *, has_woken: bool
) -> Stats:
    """Count the live messages of a queue, and name both ends.

    :param has_woken: whether a claim or delay may have ended since it was
        last written
    """
    first, *others = _pipelines(queue, now, has_woken)
    pipeline = [
        *first,
        *(
            {'$unionWith': {'coll': queue.committed.name, 'pipeline': other}}
            for other in others
        ),
    ]
    source = queue.committed
    rows = {
        row['_id']: row
        for row in database.step(lambda: [*source.aggregate(pipeline)])
    }
    if 'oldest' not in rows or 'newest' not in rows:
        return Stats(posted=queue.next)

    def number(name: str) -> int:
        return int(rows.get(name, {}).get('n', 0))

    total = number('all') - number('dead')
    claimed = number('claimed') - number('dead claimed') - number('lapsed')
    claimed = min(max(claimed, 0), total)
    starts = [rows[name]['at'] for name in _FREE if name in rows]
    return Stats(
        total - claimed,
        claimed,
        _span(rows['oldest']),
        _span(rows['newest']),
        delayed=min(number('delayed'), total - claimed),
        held_by_groups=min(number('in group'), total - claimed),
        oldest_free_at=min(
            (int(at) for at in starts if at is not None), default=None
        ),
        posted=queue.next,
    )


#: Pipelines that find the oldest claimable message.
_FREE = ('free', 'woken', 'in group')


def _pipelines(
    queue: CachedQueue, now: int, has_woken: bool
) -> list[Sequence[Document]]:
    """Return pipelines, each of which makes one document at most."""
    key = queue.key
    everyone: Document = {'k': documents.places(key)}
    dead = {'e': {'$lte': documents.date(now)}, **everyone}
    live: Document = {'e': {'$gt': documents.date(now)}}
    counted = {
        'all': everyone,
        'dead': dead,
        'claimed': {'c': documents.claims(key)},
        'dead claimed': {**dead, 'h': {'$gt': now}},
        'delayed': {'d': documents.places(key), 'z': {'$gt': now}, **live},
    }
    pipelines = [
        _end('oldest', everyone | live, {'k': 1}),
        _end('newest', everyone | live, {'k': -1}),
        _end('free', {'f': documents.places(key), **live}, {'f': 1}),
    ]
    if has_woken:
        woken: Document = {'w': documents.until(key, now)}
        counted['lapsed'] = {**woken, 'h': {'$gt': 0}}
        start = {'_id': {'$literal': 'woken'}, 'at': {'$min': '$m'}}
        where = woken | live
        if queue.grouped:
            where |= groups.UNGROUPED
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
        'k': documents.places(queue.key),
        'og': {'$exists': True},
        'a': {'$lte': now},
        'e': {'$gt': documents.date(now)},
    }
    later = {
        '$gt': documents.place(queue.key, now),
        '$lt': documents.ahead(queue.key),
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
