# SPDX-License-Identifier: Apache-2.0
"""Removal of expired rows, purged queues and old tombstones."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.storage.abstract_stores import TOMBSTONE_LIFETIME
from zaqar.storage.record_key_check_and_data_encoding import encode
from zaqar.storage.sqlalchemy import (
    dialect_clauses,
    expired_group_heads,
    group_locks,
    queue_count_subtraction,
    queue_row,
)
from zaqar.storage.sqlalchemy.dialect_clauses import delete_from
from zaqar.storage.sqlalchemy.message_rows import IN_GROUP
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import (
    placeholder_values,
    placeholders,
)

#: Rows of one DELETE.
CHUNK = 200

#: Milliseconds after which the turn of a sweeper that died ends.
TURN = 30_000

#: The record of the turn; MySQL compares keys as bytes.
_TURN_KEY = {'kind': 'sweeper', 'parent': b'', 'name': b'turn'}
_WHERE_TURN = 'WHERE kind = :kind AND parent = :parent AND name = :name'
_TURN = f'FROM record {_WHERE_TURN}'
_INSERT_TURN = (
    'INSERT INTO record (kind, parent, name, data, version) '
    'VALUES (:kind, :parent, :name, :data, 1)'
)

#: PostgreSQL's advisory locks are numbers: "zaqar".
LOCK = 0x7A61716172

_CHILDREN = (
    ('message', ('queue_id', 'seq')),
    ('claim', ('queue_id', 'id')),
    ('post_token', ('queue_id', 'token')),
)


@dataclass(frozen=True, slots=True)
class DeadRows:
    """Rows of a table that can be removed.

    :ivar more: columns that are read with the key
    """

    table: str
    key: Sequence[str]
    where: str
    more: Sequence[str] = ()


_EXPIRED = DeadRows(
    'message',
    ('queue_id', 'seq'),
    'expires_at <= :now',
    ('group_key', 'state', 'claim_id'),
)
_OTHERS = (
    DeadRows('claim', ('queue_id', 'id'), 'expires_at <= :now'),
    # A claim may have prolonged the lifetime of a dead letter.
    DeadRows(
        'post_token',
        ('queue_id', 'token'),
        'keep_until <= :now AND NOT EXISTS (SELECT 1 FROM message m '
        'WHERE m.queue_id = post_token.queue_id '
        'AND m.public_id = post_token.token AND m.expires_at > :now)',
    ),
    DeadRows('dedup', ('qid', 'dedup_id'), 'keep_until <= :now'),
    DeadRows(
        'message_queue', ('qid',), f'dropped_at <= :now - {TOMBSTONE_LIFETIME}'
    ),
)


def take_turn(session: SqlSession, sweeper: str, now: int) -> bool:
    """Become the only sweeper of a cluster, within a transaction.

    Named locks of Galera are those of a node; a row is replicated, and of two
    transactions that write it on different nodes only one is committed.

    :param sweeper: a random text
    :returns: False while another sweeper has its turn
    """
    values = {**_TURN_KEY, 'data': _turn_data(sweeper, now + TURN)}
    row = session.one(f'SELECT data {_TURN} FOR UPDATE', values)
    if row is None:
        insert = dialect_clauses.insert_ignoring(session.dialect, _INSERT_TURN)
        return session.run(insert, values) == 1
    turn = json.loads(row[0])
    if turn['until'] > now and turn['sweeper'] != sweeper:
        return False
    session.run(f'UPDATE record SET data = :data {_WHERE_TURN}', values)
    return True


def sweep_in_turn(
    session: SqlSession, sweeper: str, now: int, batch: int
) -> int:
    """Remove dead rows and end the turn, within a transaction."""
    removed = _sweep(session, now, batch)
    values = {
        **_TURN_KEY,
        'data': _turn_data('', 0),
        'own': _turn_data(sweeper, now + TURN),
    }
    session.run(
        f'UPDATE record SET data = :data {_WHERE_TURN} AND data = :own', values
    )
    return removed


def _turn_data(sweeper: str, until: int) -> bytes:
    return encode({'sweeper': sweeper, 'until': until}).encode()


def sweep(session: SqlSession, now: int, batch: int) -> int:
    """Remove dead rows within a transaction, ``batch`` at most.

    :returns: how many; 0 while another sweeper is at work
    """
    if session.dialect == 'postgresql':
        row = session.one(f'SELECT pg_try_advisory_xact_lock({LOCK})', {})
        return _sweep(session, now, batch) if row and row[0] else 0
    if session.dialect == 'mysql':
        return _with_named_lock(session, now, batch)
    return _sweep(session, now, batch)


def _with_named_lock(session: SqlSession, now: int, batch: int) -> int:
    row = session.one("SELECT GET_LOCK('zaqar-sweep', 0)", {})
    if not row or not row[0]:
        return 0
    try:
        return _sweep(session, now, batch)
    finally:
        session.one("SELECT RELEASE_LOCK('zaqar-sweep')", {})


def _sweep(session: SqlSession, now: int, batch: int) -> int:
    values = {'now': now}
    rows = _remove_expired(session, now, batch)
    queue_count_subtraction.subtract_from_several(
        session, Counter(row[0] for row in rows)
    )
    removed = len(rows)
    for dead in _OTHERS:
        if removed < batch:
            removed += len(_remove(session, dead, values, batch - removed))
    return removed + _empty_garbage(session, batch - removed)


def _remove_expired(
    session: SqlSession, now: int, batch: int
) -> Sequence[Row]:
    """Remove expired messages, and let their groups go on.

    First ones of groups that others have locked are left for the next time, as
    is all of a queue that others have: the order of locks is another one here.
    """
    rows = _select(session, _EXPIRED, {'now': now}, batch)
    first: dict[int, dict[str, set[str]]] = {}
    for queue_id, _, group, state, claim_id in rows:
        if group is not None and state != IN_GROUP:
            claims = first.setdefault(queue_id, {}).setdefault(group, set())
            claims |= {claim_id} - {None}
    grouped = {row[0] for row in rows if row[2] is not None}
    busy = queue_row.lock_unless_locked(session, grouped)
    rows = [row for row in rows if row[0] not in busy]
    locked = {
        queue_id: {*group_locks.lock(session, queue_id, keys, skip=True)}
        for queue_id, keys in first.items()
        if queue_id not in busy
    }
    rows = [
        row
        for row in rows
        if row[2] is None or row[3] == IN_GROUP or row[2] in locked[row[0]]
    ]
    _delete(session, _EXPIRED, rows)
    for queue_id, keys in locked.items():
        left = {key: first[queue_id][key] for key in keys}
        expired_group_heads.pass_over(session, queue_id, left, now)
    return rows


def _remove(
    session: SqlSession, dead: DeadRows, values: dict[str, Any], most: int
) -> Sequence[Row]:
    rows = _select(session, dead, values, most)
    _delete(session, dead, rows)
    return rows


def _select(
    session: SqlSession, dead: DeadRows, values: dict[str, Any], most: int
) -> Sequence[Row]:
    columns = ', '.join((*dead.key, *dead.more))
    select = f'SELECT {columns} FROM {dead.table} WHERE {dead.where}'
    return session.all(
        dialect_clauses.for_update(
            session, f'{select} LIMIT {most}', skip=True
        ),
        values,
    )


def _delete(session: SqlSession, dead: DeadRows, rows: Sequence[Row]) -> None:
    for start in range(0, len(rows), CHUNK):
        _delete_chunk(session, dead, rows[start : start + CHUNK])


def _delete_chunk(
    session: SqlSession, dead: DeadRows, rows: Sequence[Row]
) -> None:
    width = len(dead.key)
    keys = ', '.join(
        f'({placeholders(f"r{place}_", width)})' for place in range(len(rows))
    )
    values: dict[str, Any] = {}
    for place, row in enumerate(rows):
        values |= placeholder_values(f'r{place}_', row[:width])
    # SQLite requires VALUES behind IN; the others do not.
    key_list = f'VALUES {keys}' if session.dialect == 'sqlite' else keys
    delete = f'DELETE FROM {dead.table}'
    if dead.table == 'message':
        delete = delete_from(session.dialect)
    session.run(
        f'{delete} WHERE ({", ".join(dead.key)}) IN ({key_list})',
        values,
    )


def _empty_garbage(session: SqlSession, most: int) -> int:
    removed = 0
    while removed < most:
        row = session.one('SELECT queue_id FROM garbage LIMIT 1', {})
        if row is None:
            break
        values = {'id': row[0]}
        before = removed
        for table, key in _CHILDREN:
            if removed < most:
                dead = DeadRows(table, key, 'queue_id = :id')
                removed += len(_remove(session, dead, values, most - removed))
        if removed == before:
            session.run('DELETE FROM garbage WHERE queue_id = :id', values)
            removed += 1
    return removed
