# SPDX-License-Identifier: Apache-2.0
"""The row of a queue in the message plane: numbers, counts, tombstones."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zaqar.errors import QueueFull, QueueGone, StaleMetadata
from zaqar.storage.sqlalchemy.rows import QUEUE
from zaqar.storage.sqlalchemy.session import Session

#: Milliseconds between two exact counts of a queue that is full.
RECOUNT = 1000

_FIND = (
    'SELECT id, next_seq, live, counted_at, subscribed, least_version, '
    'dropped_at FROM message_queue WHERE qid = :qid'
)
_NEW = (
    'INSERT INTO message_queue (qid, id, next_seq, dropped_at) '
    'VALUES (:qid, :id, :seq, :dropped_at)'
)
_REQUIRE = 'UPDATE message_queue SET least_version = :version WHERE id = :id'
_LEAVE = 'INSERT INTO garbage (queue_id) VALUES (:id)'
_MOVE = (
    'UPDATE message_queue SET id = :new, dropped_at = :dropped_at, '
    'live = CASE WHEN live IS NULL THEN NULL ELSE 0 END WHERE id = :id'
)
_TAKE = (
    'UPDATE message_queue SET live = live - :count '
    'WHERE id = :id AND live IS NOT NULL'
)
_TAKE_BY_KEY = (
    'UPDATE message_queue SET live = live - :count '
    'WHERE qid = :qid AND id + 0 = :id AND live IS NOT NULL'
)
_COUNTED_QID = (
    'SELECT qid FROM message_queue WHERE id = :id AND live IS NOT NULL'
)
_COUNTED = (
    'UPDATE message_queue SET live = :live, counted_at = :now WHERE id = :id'
)
#: By the index on the moment of death: few rows are dead, since they are
#: swept, while the queue may hold millions.
_EXPIRED = (
    'SELECT seq FROM message WHERE queue_id + 0 = :id AND expires_at <= :now'
)


@dataclass(slots=True)
class QueueRow:
    """The row, locked for the rest of the transaction."""

    id: int
    next_seq: int
    live: int | None
    counted_at: int | None
    subscribed: int
    least_version: int


def new_id() -> int:
    """Return an id under which there is nothing yet."""
    return secrets.randbits(62) + 1


def ignoring(dialect: str, insert: str) -> str:
    """Let an INSERT pass over rows whose key is taken."""
    if dialect == 'mysql':
        return insert.replace('INSERT INTO', 'INSERT IGNORE INTO', 1)
    return f'{insert} ON CONFLICT DO NOTHING'


def locking(session: Session, select: str, *, skip: bool = False) -> str:
    """Let a SELECT lock its rows, passing over locked ones if asked."""
    if session.dialect == 'sqlite':
        # Whoever writes is alone.
        return select
    return select + (' FOR UPDATE SKIP LOCKED' if skip else ' FOR UPDATE')


def lock(session: Session, qid: str, now: int) -> QueueRow:
    """Return the row of a queue, made if it is missing.

    :raises QueueGone: it was dropped
    """
    sql = locking(session, _FIND)
    row = session.one(sql, {'qid': qid})
    if row is None:
        # Numbers begin at the current microsecond, so that after a loss of
        # data old markers stay behind new messages.
        values = {
            'qid': qid,
            'id': new_id(),
            'seq': now * 1000,
            'dropped_at': None,
        }
        session.run(ignoring(session.dialect, _NEW), values)
        row = session.one(sql, {'qid': qid})
    if row is None or row[6] is not None:
        raise QueueGone
    return QueueRow(*row[:6])


def require_version(
    session: Session, qid: str, version: int, now: int
) -> None:
    """Refuse older metadata, within a transaction."""
    row = lock(session, qid, now)
    if row.least_version < version:
        session.run(_REQUIRE, {'id': row.id, 'version': version})


def check_version(version: int | None, least: int) -> None:
    """Complain about metadata that is too old.

    :raises StaleMetadata: it is
    """
    if version is not None and version < least:
        raise StaleMetadata


def check_gone(session: Session, qid: str) -> int:
    """Complain about a dropped queue; one never seen is fine.

    :returns: the least version of metadata
    :raises QueueGone: it was dropped
    """
    row = session.one(_FIND, {'qid': qid})
    if row is not None and row[6] is not None:
        raise QueueGone
    return int(row[5]) if row is not None else 0


def empty(
    session: Session, qid: str, now: int, *, dropped_at: int | None
) -> None:
    """Leave all rows of a queue to the sweeper.

    :param dropped_at: when it was deleted, None if it lives on
    """
    find = locking(session, _FIND)
    row = session.one(find, {'qid': qid})
    if row is None and dropped_at is not None:
        values = {'qid': qid, 'id': new_id(), 'seq': now * 1000}
        values['dropped_at'] = dropped_at
        if not session.run(ignoring(session.dialect, _NEW), values):
            # Somebody has just posted the first message.
            row = session.one(find, {'qid': qid})
    if row is None:
        return
    if row[6] is not None:
        if dropped_at is None:
            raise QueueGone
        return
    session.run(_LEAVE, {'id': row[0]})
    session.run(
        _MOVE, {'id': row[0], 'new': new_id(), 'dropped_at': dropped_at}
    )


def for_change(
    session: Session, values: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return SQL for the id of the queue ``:qid`` in a change, and values.

    On MySQL the subquery of a change locks the row it reads: deletions of
    one queue would wait for posts and run into deadlocks with each other.
    """
    if session.dialect != 'mysql':
        return QUEUE, {**values}
    row = session.one(f'SELECT {QUEUE}', values)
    return ':own_queue', {**values, 'own_queue': row[0] if row else None}


def take_away(session: Session, queue_id: int, count: int) -> None:
    """Note that messages were removed, if the queue is counted."""
    if not count:
        return
    values: dict[str, Any] = {'id': queue_id, 'count': count}
    if session.dialect != 'mysql':
        session.run(_TAKE, values)
        return
    # MySQL would wait for the row before it looks at the condition, and lock
    # it by the index on ``id`` first: a deadlock with those who lock it by
    # its key.
    row = session.one(_COUNTED_QID, values)
    if row is not None:
        session.run(_TAKE_BY_KEY, {**values, 'qid': row[0]})


def make_room(
    session: Session, row: QueueRow, count: int, limit: int, now: int
) -> None:
    """Check that ``count`` more messages fit in.

    :raises QueueFull: they do not
    """
    if row.live is None:
        _recount(session, row, now)
    if _full(row, count, limit):
        _bury(session, row, now)
    if _full(row, count, limit) and (
        row.counted_at is None or now - row.counted_at >= RECOUNT
    ):
        _recount(session, row, now)
    if _full(row, count, limit):
        raise QueueFull(
            f'The queue holds {row.live} messages and may hold {limit}.'
        )


def _full(row: QueueRow, count: int, limit: int) -> bool:
    return (row.live or 0) + count > limit


def _recount(session: Session, row: QueueRow, now: int) -> None:
    """Remove what has expired and count the rest."""
    _bury(session, row, now)
    values = {'id': row.id, 'now': now}
    found = session.one(
        'SELECT count(*) FROM message WHERE queue_id = :id', values
    )
    row.live = found[0] if found else 0
    row.counted_at = now
    session.run(_COUNTED, {**values, 'live': row.live})


def _bury(session: Session, row: QueueRow, now: int) -> None:
    """Remove what has expired."""
    values = {'id': row.id, 'now': now}
    # Rows that somebody is deleting just now are skipped: that one waits for
    # us to let go of the queue's row.
    dead = session.all(locking(session, _EXPIRED, skip=True), values)
    if dead:
        session.many(
            'DELETE FROM message WHERE queue_id = :id AND seq = :seq',
            [{'id': row.id, 'seq': seq} for (seq,) in dead],
        )
        take_away(session, row.id, len(dead))
        row.live = None if row.live is None else row.live - len(dead)
