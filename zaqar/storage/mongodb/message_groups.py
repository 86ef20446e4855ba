# SPDX-License-Identifier: Apache-2.0
"""Groups of messages: which are free, and which are busy until when.

Each group with messages has a document, in the collection ``group``:

====== ================================================================
_id    key of the queue, hash of the group's name (16 + 16)
hd     key, number of its first message (16 + 8); expired ones count
f      as ``hd``, only while it is free
w      key, end of what it waits for (16 + 8), only while it is not free
a      that end: of the last hold, or of the delay of its first message
m      when its first message was posted
e      when its last message expires, at the earliest
t      number of the last message that was posted
v      a number that each change but a post increases
====== ================================================================

Whatever changes messages of a group does it in a transaction that also writes
the document of the group: so changes of a group come one after the other, and
a post keeps others from removing it as one without messages. Claims read
first; they are refused if a group has another ``v`` than they have read.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bson.binary import Binary
from pymongo import DeleteOne, UpdateOne
from pymongo.client_session import ClientSession

from zaqar.errors import StoreUnavailable
from zaqar.storage.mongodb import document_layout
from zaqar.storage.mongodb.database_commands_and_transactions import (
    CHUNK,
    Documents,
    MongoDatabase,
    in_time,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.queue_state_cache import CachedQueue

#: The name of the collection.
COLLECTION = 'group'

#: Groups of one query, with four stages each: servers allow a thousand.
RUNS = 200

#: The condition for messages without a group.
UNGROUPED: Document = {'og': {'$exists': False}}


def append(
    queue: CachedQueue,
    rows: Iterable[Mapping[str, Any]],
    session: ClientSession | None,
) -> None:
    """Note new messages of a queue in its groups, within a transaction.

    :param rows: of :func:`.document_layout.new_message`, in order
    :raises StoreUnavailable: there are no transactions, as the next call knows
    """
    groups: dict[bytes, list[Mapping[str, Any]]] = {}
    for row in rows:
        if 'og' in row:
            groups.setdefault(row['og'], []).append(row)
    if groups and session is None:
        raise StoreUnavailable
    updates = []
    for group, own in sorted(groups.items()):
        head = own[0]
        new = _state(queue.key, head, int(head['a']))
        last = max(int(row['e']) for row in own)
        change: Document = {
            name: _if_new(name, value) for name, value in new.items()
        }
        change |= {
            'v': {'$ifNull': ['$v', 0]},
            't': document_layout.seq_of(own[-1]),
            'e': {'$max': ['$e', document_layout.date(last)]},
        }
        where = {'_id': Binary(group)}
        updates.append(UpdateOne(where, [{'$set': change}], upsert=True))
    _write(queue.groups, updates, session)


def _state(key: bytes, head: Mapping[str, Any], end: int) -> Document:
    """Return the fields of a group.

    :param head: its first message
    :param end: of what it waits for; 0 if it is free
    """
    place = Binary(bytes(head['k']))
    return {
        'hd': place,
        'm': int(head['m']),
        'a': end,
        'f': '$$REMOVE' if end else place,
        'w': document_layout.place(key, end) if end else '$$REMOVE',
    }


def _if_new(name: str, value: Any) -> Document:
    is_new = {'$eq': [{'$type': '$v'}, 'missing']}
    return {'$cond': [is_new, value, f'${name}']}


def _write(
    groups: Documents,
    writes: Sequence[UpdateOne | DeleteOne],
    session: ClientSession | None,
) -> int:
    matched = 0
    for start in range(0, len(writes), CHUNK):
        with in_time():
            matched += groups.bulk_write(
                [*writes[start : start + CHUNK]],
                ordered=True,
                session=session,
            ).matched_count
    return matched


def ids_of(rows: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Return the groups of some messages, each once, in order."""
    return sorted({bytes(row['og']) for row in rows if 'og' in row})


def occupy(
    queue: CachedQueue,
    some: Sequence[Document],
    end: int,
    keep_until: int,
    session: ClientSession | None,
) -> bool:
    """Make groups busy, within a transaction, if they are as they were.

    :param some: the groups, as they were read
    :param end: of the claim
    :param keep_until: when the last of its messages may expire
    """
    change = {
        'a': end,
        'w': document_layout.place(queue.key, end),
        'f': '$$REMOVE',
        'v': {'$add': ['$v', 1]},
        'e': {'$max': ['$e', document_layout.date(keep_until)]},
    }
    updates = [
        UpdateOne({'_id': row['_id'], 'v': row['v']}, [{'$set': change}])
        for row in some
    ]
    return _write(queue.groups, updates, session) == len(updates)


def regroup(
    messages: Documents,
    groups: Documents,
    ids: Sequence[bytes],
    now: int,
    session: ClientSession | None,
    *,
    keep_until: int = 0,
) -> None:
    """Update groups whose messages were changed in the same transaction.

    A group is busy until the last hold of its messages ends, or what is held
    has expired, else free from its first message on, once that is no longer
    delayed. One without live messages is removed.

    :param keep_until: when the last message expires, if that was changed
    """
    if not ids:
        return
    live: Document = {'e': {'$gt': document_layout.date(now)}}
    ends: dict[bytes, int] = {}
    names = [Binary(name) for name in ids]
    held = {'y': {'$in': names}, 'a': {'$gt': now}, **live}
    with in_time():
        fields = {'y': 1, 'a': 1, 'e': 1}
        for row in messages.find(held, fields, session=session):
            name = bytes(row['y'])
            end = min(int(row['a']), int(row['e']))
            ends[name] = max(ends.get(name, 0), end)
    writes: list[UpdateOne | DeleteOne] = []
    for name in names:
        where = {'l': _lane(name), **live}
        with in_time():
            head = messages.find_one(
                where,
                {'k': 1, 'a': 1, 'm': 1},
                sort=[('l', 1)],
                session=session,
            )
        if head is None:
            writes.append(DeleteOne({'_id': name}))
            continue
        end = ends.get(bytes(name)) or int(head['a'])
        change = {
            **_state(bytes(name)[:16], head, end if end > now else 0),
            'v': {'$add': ['$v', 1]},
            'e': {'$max': ['$e', document_layout.date(keep_until)]},
        }
        writes.append(UpdateOne({'_id': name}, [{'$set': change}]))
    _write(groups, writes, session)


def regroup_of(
    queue: CachedQueue,
    rows: Iterable[Mapping[str, Any]],
    now: int,
    session: ClientSession | None,
    *,
    keep_until: int = 0,
) -> None:
    """Do so with the groups of some messages of a queue."""
    regroup(
        queue.messages,
        queue.groups,
        ids_of(rows),
        now,
        session,
        keep_until=keep_until,
    )


def _lane(group: bytes) -> Document:
    """Return the condition for the places of the messages of a group."""
    return {'$gte': group + b'\0' * 8, '$lte': group + b'\xff' * 8}


def find_free(
    database: MongoDatabase, queue: CachedQueue, now: int, limit: int
) -> list[Document]:
    """Return free groups, by their first messages."""
    is_free = {'f': document_layout.places(queue.key)}
    has_woken = {'w': document_layout.until(queue.key, now)}
    pipeline = [
        *_first(is_free, 'f', limit),
        {
            '$unionWith': {
                'coll': queue.groups.name,
                'pipeline': _first(has_woken, 'hd', limit),
            }
        },
    ]
    rows = database.step(_aggregated, queue.groups, pipeline)
    by_id = {bytes(row['_id']): row for row in rows}
    ordered = sorted(by_id.values(), key=lambda row: bytes(row['hd']))
    return ordered[:limit]


def _first(where: Document, order: str, limit: int) -> list[Document]:
    return [{'$match': where}, {'$sort': {order: 1}}, {'$limit': limit}]


def _aggregated(
    source: Documents, pipeline: Sequence[Document]
) -> list[Document]:
    return [*source.aggregate(pipeline)]


def free_woken(
    database: MongoDatabase, queue: CachedQueue, now: int, limit: int
) -> None:
    """Free many groups whose claims and delays have ended.

    They are free anyway, but found faster.
    """
    where: Document = {'w': document_layout.until(queue.key, now)}
    rows = database.find(
        queue.groups, where, {'_id': 1}, sort={'w': 1}, limit=limit
    )
    change = {'a': 0, 'f': '$hd', 'w': '$$REMOVE'}
    database.step(
        queue.groups.update_many,
        {'_id': {'$in': [row['_id'] for row in rows]}, **where},
        [{'$set': change}],
    )


def runs(
    database: MongoDatabase,
    queue: CachedQueue,
    some: Sequence[Document],
    now: int,
    limit: int,
) -> dict[bytes, list[Document]]:
    """Return the first messages of each group, without their bodies.

    They are consecutive, and end before the first that is not visible.
    """
    runs: dict[bytes, list[Document]] = {bytes(row['_id']): [] for row in some}
    names = [*runs]
    rows: list[Document] = []
    live: Document = {'e': {'$gt': document_layout.date(now)}}
    fields = {'$project': {'k': 1, 'a': 1, 'n': 1, 'og': 1}}
    for start in range(0, len(names), RUNS):
        first, *others = (
            [*_first({'l': _lane(name), **live}, 'l', limit), fields]
            for name in names[start : start + RUNS]
        )
        source = {'coll': queue.messages.name}
        pipeline = first + [
            {'$unionWith': {**source, 'pipeline': one}} for one in others
        ]
        rows += database.step(_aggregated, queue.messages, pipeline)
    ended: set[bytes] = set()
    for row in sorted(rows, key=document_layout.seq_of):
        name = bytes(row['og'])
        if row['a'] > now:
            ended.add(name)
        elif name not in ended:
            runs[name].append(row)
    return runs


def busy_until(
    database: MongoDatabase, queue: CachedQueue, name: str, now: int
) -> int | None:
    """Return when a busy group is free, None for one that is free."""
    group = database.step(
        queue.groups.find_one,
        {'_id': document_layout.group_id(queue.key, name)},
        {'a': 1},
    )
    return int(group['a']) if group and group['a'] > now else None
