# SPDX-License-Identifier: Apache-2.0
"""Removing what nobody can see any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.storage.base import TOMBSTONE_LIFETIME
from zaqar.storage.sqlalchemy import queue_rows
from zaqar.storage.sqlalchemy.session import Row, Session, marks, named

#: Rows of one DELETE.
CHUNK = 200

#: PostgreSQL's advisory locks are numbers: "zaqar".
LOCK = 0x7A61716172

_CHILDREN = (
    ('message', ('queue_id', 'seq')),
    ('claim', ('queue_id', 'id')),
    ('post_token', ('queue_id', 'token')),
)


@dataclass(frozen=True, slots=True)
class Dead:
    """A kind of row that is of no more use."""

    table: str
    key: Sequence[str]
    where: str


_EXPIRED = Dead('message', ('queue_id', 'seq'), 'expires_at <= :now')
_DEAD = (
    Dead('claim', ('queue_id', 'id'), 'expires_at <= :now'),
    # A claim may have prolonged the life of a dead letter.
    Dead(
        'post_token',
        ('queue_id', 'token'),
        'keep_until <= :now AND NOT EXISTS (SELECT 1 FROM message m '
        'WHERE m.queue_id = post_token.queue_id '
        'AND m.public_id = post_token.token AND m.expires_at > :now)',
    ),
    Dead(
        'message_queue', ('qid',), f'dropped_at <= :now - {TOMBSTONE_LIFETIME}'
    ),
)


def sweep(session: Session, now: int, batch: int) -> int:
    """Remove dead rows within a transaction, ``batch`` at most.

    :returns: how many; 0 while another sweeper is at work
    """
    if session.dialect == 'postgresql':
        row = session.one(f'SELECT pg_try_advisory_xact_lock({LOCK})', {})
        return _sweep(session, now, batch) if row and row[0] else 0
    if session.dialect == 'mysql':
        return _with_named_lock(session, now, batch)
    return _sweep(session, now, batch)


def _with_named_lock(session: Session, now: int, batch: int) -> int:
    row = session.one("SELECT GET_LOCK('zaqar-sweep', 0)", {})
    if not row or not row[0]:
        return 0
    try:
        return _sweep(session, now, batch)
    finally:
        session.one("SELECT RELEASE_LOCK('zaqar-sweep')", {})


def _sweep(session: Session, now: int, batch: int) -> int:
    values = {'now': now}
    rows = _remove(session, _EXPIRED, values, batch)
    for queue_id, count in Counter(row[0] for row in rows).items():
        queue_rows.take_away(session, queue_id, count)
    done = len(rows)
    for dead in _DEAD:
        if done < batch:
            done += len(_remove(session, dead, values, batch - done))
    return done + _empty_garbage(session, batch - done)


def _remove(
    session: Session, dead: Dead, values: dict[str, Any], most: int
) -> Sequence[Row]:
    columns = ', '.join(dead.key)
    select = f'SELECT {columns} FROM {dead.table} WHERE {dead.where}'
    rows = session.all(
        queue_rows.locking(session, f'{select} LIMIT {most}', skip=True),
        values,
    )
    for start in range(0, len(rows), CHUNK):
        _delete(session, dead, rows[start : start + CHUNK])
    return rows


def _delete(session: Session, dead: Dead, rows: Sequence[Row]) -> None:
    width = len(dead.key)
    keys = ', '.join(
        f'({marks(f"r{place}_", width)})' for place in range(len(rows))
    )
    values: dict[str, Any] = {}
    for place, row in enumerate(rows):
        values |= named(f'r{place}_', row)
    # SQLite wants VALUES behind IN; the others do not.
    listed = f'VALUES {keys}' if session.dialect == 'sqlite' else keys
    session.run(
        f'DELETE FROM {dead.table} WHERE ({", ".join(dead.key)}) '
        f'IN ({listed})',
        values,
    )


def _empty_garbage(session: Session, most: int) -> int:
    done = 0
    while done < most:
        row = session.one('SELECT queue_id FROM garbage LIMIT 1', {})
        if row is None:
            break
        values = {'id': row[0]}
        before = done
        for table, key in _CHILDREN:
            if done < most:
                dead = Dead(table, key, 'queue_id = :id')
                done += len(_remove(session, dead, values, most - done))
        if done == before:
            session.run('DELETE FROM garbage WHERE queue_id = :id', values)
            done += 1
    return done
