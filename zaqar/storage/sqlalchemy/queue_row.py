# SPDX-License-Identifier: Apache-2.0
"""Changes of a queue's row: numbers, counts, flags, tombstones."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from zaqar.errors import QueueFull, QueueGone, StaleMetadata
from zaqar.storage.sqlalchemy import queue_count_subtraction
from zaqar.storage.sqlalchemy.dialect_clauses import (
    for_update,
    insert_ignoring,
)
from zaqar.storage.sqlalchemy.message_rows import IN_GROUP
from zaqar.storage.sqlalchemy.message_sql_fragments import (
    QUEUE,
    UNGROUPED,
    delete_from,
)
from zaqar.storage.sqlalchemy.statement_execution import (
    SqlSession,
    placeholder_values,
    placeholders,
)

#: Milliseconds between two exact counts of a queue that is full.
RECOUNT = 1000

#: Ids of one query.
_CHUNK = 200

_SELECT = (
    'SELECT id, next_seq, live, counted_at, subscribed, least_version, '
    'dropped_at, grouped FROM message_queue WHERE qid = :qid'
)
_INSERT = (
    'INSERT INTO message_queue (qid, id, next_seq, dropped_at) '
    'VALUES (:qid, :id, :seq, :dropped_at)'
)
_SET_VERSION = (
    'UPDATE message_queue SET least_version = :version WHERE id = :id'
)
_SET_SUBSCRIBED = 'UPDATE message_queue SET subscribed = :new WHERE id = :id'
_ADD_GARBAGE = 'INSERT INTO garbage (queue_id) VALUES (:id)'
_NEW_ID = (
    'UPDATE message_queue SET id = :new, dropped_at = :dropped_at, '
    'bytes = CASE WHEN bytes IS NULL THEN NULL ELSE 0 END, '
    'live = CASE WHEN live IS NULL THEN NULL ELSE 0 END WHERE id = :id'
)
_SUBTRACT = (
    f'UPDATE message_queue SET {queue_count_subtraction.subtract(":count")} '
    'WHERE id = :id AND live IS NOT NULL'
)
_SUBTRACT_BY_KEY = (
    f'UPDATE message_queue SET {queue_count_subtraction.subtract(":count")} '
    'WHERE qid = :qid AND id + 0 = :id AND live IS NOT NULL'
)
#: The id of a queue, if its messages are counted.
COUNTED = (
    'SELECT id FROM message_queue WHERE qid = :qid '
    'AND live IS NOT NULL AND dropped_at IS NULL'
)
_COUNTED_QID = (
    'SELECT qid FROM message_queue WHERE id = :id AND live IS NOT NULL'
)
_NAMES = 'SELECT qid, id FROM message_queue WHERE id IN ({})'
_SET_COUNT = (
    'UPDATE message_queue SET live = :live, counted_at = :now WHERE id = :id'
)
#: By the index on expiry: few rows are expired, since they are swept, while
#: the queue may hold millions.
_EXPIRED = (
    'SELECT seq, group_key, state, claim_id FROM message '
    'WHERE queue_id + 0 = :id AND expires_at <= :now'
)


class QueueRow(msgspec.Struct):
    """The row, locked for the rest of the transaction.

    :ivar bereft: groups whose first messages have expired and been removed,
        with the claims that held these
    """

    id: int
    next_seq: int
    live: int | None
    counted_at: int | None
    subscribed: int
    least_version: int
    grouped: int = 0
    bereft: dict[str, set[str]] = msgspec.field(default_factory=dict)


class Traits(NamedTuple):
    """What a queue is like.

    :ivar least_version: of metadata that may be used
    :ivar grouped: whether it may have groups
    """

    least_version: int
    grouped: bool


class GroupedQueueError(Exception):
    """The queue has groups: its messages are changed in another way."""


def new_id() -> int:
    """Return an unused id."""
    return secrets.randbits(62) + 1


def lock(session: SqlSession, qid: str, now: int) -> QueueRow:
    """Lock and return the row of a queue, created if it is missing."""
    sql = for_update(session, _SELECT)
    row = session.one(sql, {'qid': qid})
    if row is None:
        # Numbers begin at the current microsecond: after a loss of data, old
        # markers are then before all new messages.
        values = {
            'qid': qid,
            'id': new_id(),
            'seq': now * 1000,
            'dropped_at': None,
        }
        session.run(insert_ignoring(session.dialect, _INSERT), values)
        row = session.one(sql, {'qid': qid})
    if row is None or row[6] is not None:
        raise QueueGone
    return QueueRow(*(*row[:6], row[7]))


def require_version(
    session: SqlSession, qid: str, version: int, now: int
) -> None:
    """Refuse older metadata, within a transaction."""
    row = lock(session, qid, now)
    if row.least_version < version:
        session.run(_SET_VERSION, {'id': row.id, 'version': version})


def mark_subscribed(session: SqlSession, qid: str, now: int) -> None:
    """Set the flag in a new epoch, within a transaction."""
    row = lock(session, qid, now)
    values = {'id': row.id, 'new': abs(row.subscribed) + 1}
    session.run(_SET_SUBSCRIBED, values)


def unmark_subscribed(
    session: SqlSession, qid: str, epoch: int, now: int
) -> bool:
    """Clear the flag if it is still of an epoch, within a transaction."""
    row = lock(session, qid, now)
    if epoch <= 0 or row.subscribed != epoch:
        return False
    session.run(_SET_SUBSCRIBED, {'id': row.id, 'new': -epoch})
    return True


def subscribed_epoch(session: SqlSession, qid: str) -> int:
    """Return the epoch of the flag, 0 if it is not set."""
    row = session.one(_SELECT, {'qid': qid})
    if row is None:
        return 1
    if row[6] is not None:
        raise QueueGone
    return max(int(row[4]), 0)


def check_version(version: int | None, least: int) -> None:
    """Refuse metadata that is too old."""
    if version is not None and version < least:
        raise StaleMetadata


def check_gone(
    session: SqlSession, qid: str, *, takes_groups: bool = True
) -> Traits:
    """Refuse a dropped queue; one never seen is fine.

    :param takes_groups: False to refuse a queue with groups, too
    """
    row = session.one(_SELECT, {'qid': qid})
    if row is None:
        return Traits(0, False)
    if row[6] is not None:
        raise QueueGone
    if row[7] and not takes_groups:
        raise GroupedQueueError
    return Traits(int(row[5]), bool(row[7]))


def lock_if_counted(session: SqlSession, qid: str) -> None:
    """Lock the row of a queue whose messages are counted.

    For those that lock rows of groups and subtract messages afterwards, or on
    Galera change the queue's row anyway: posts lock both the other way round.
    """
    values = {'qid': qid}
    if session.dialect != 'sqlite' and (
        session.spans_nodes or session.one(COUNTED, values)
    ):
        session.one(for_update(session, _SELECT), values)


def lock_unless_locked(session: SqlSession, ids: Collection[int]) -> set[int]:
    """Lock likewise the rows of several queues, and wait for none.

    :returns: those that others have locked
    """
    if session.dialect == 'sqlite':
        return set()
    sql = 'SELECT qid FROM message_queue WHERE qid = :qid'
    sql = for_update(session, sql, skip=True)
    names = _names(session, ids, is_counted=not session.spans_nodes)
    return {
        queue_id
        for qid, queue_id in names
        if session.one(sql, {'qid': qid}) is None
    }


def discard_messages(
    session: SqlSession, qid: str, now: int, *, dropped_at: int | None
) -> None:
    """Leave all rows of a queue to the sweeper.

    :param dropped_at: when it was dropped, None for a purge
    """
    find = for_update(session, _SELECT)
    row = session.one(find, {'qid': qid})
    if row is None and dropped_at is not None:
        values = {'qid': qid, 'id': new_id(), 'seq': now * 1000}
        values['dropped_at'] = dropped_at
        if not session.run(insert_ignoring(session.dialect, _INSERT), values):
            # The first message has just been posted.
            row = session.one(find, {'qid': qid})
    if row is None:
        return
    if row[6] is not None:
        if dropped_at is None:
            raise QueueGone
        return
    session.run(_ADD_GARBAGE, {'id': row[0]})
    session.run(
        _NEW_ID, {'id': row[0], 'new': new_id(), 'dropped_at': dropped_at}
    )


def queue_for_change(
    session: SqlSession,
    values: Mapping[str, Any],
    *,
    takes_groups: bool = True,
) -> tuple[str, dict[str, Any]]:
    """Return SQL for the id of the queue ``:qid`` in a change, and values.

    On MySQL the subquery of a change locks the row it reads: deletions from
    a queue would wait for posts and deadlock with each other.

    :param takes_groups: False for no queue if it has groups
    """
    queue = QUEUE if takes_groups else UNGROUPED
    if session.dialect != 'mysql':
        return queue, {**values}
    row = session.one(f'SELECT {queue}', values)
    return ':own_queue', {**values, 'own_queue': row[0] if row else None}


def subtract_live(session: SqlSession, queue_id: int, count: int) -> None:
    """Subtract removed messages from the count, if there is one."""
    if not count:
        return
    values: dict[str, Any] = {'id': queue_id, 'count': count}
    if session.dialect != 'mysql':
        session.run(_SUBTRACT, values)
        return
    # MySQL would wait for the row before it checks the condition, and lock it
    # by the index on ``id`` first: a deadlock with those that lock it by key.
    row = session.one(_COUNTED_QID, values)
    if row is not None:
        subtract_by_key(session, row[0], queue_id, count)


def subtract_from_several(
    session: SqlSession, counts: Mapping[int, int]
) -> None:
    """Subtract removed messages from the counts that there are.

    In the order of the keys, as all do that lock several queues.

    :param counts: by the ids of queues
    """
    for qid, queue_id in _names(session, counts, is_counted=True):
        subtract_by_key(session, qid, queue_id, counts[queue_id])


def _names(
    session: SqlSession, ids: Collection[int], *, is_counted: bool
) -> Sequence[tuple[str, int]]:
    """Return the keys of queues, each with its id.

    :param is_counted: leave out those whose messages are not counted
    """
    every = sorted(ids)
    sql = _NAMES + (' AND live IS NOT NULL' if is_counted else '')
    existing: list[tuple[str, int]] = []
    for start in range(0, len(every), _CHUNK):
        chunk = every[start : start + _CHUNK]
        rows = session.all(
            sql.format(placeholders('id', len(chunk))),
            placeholder_values('id', chunk),
        )
        existing += [(qid, queue_id) for qid, queue_id in rows]
    return sorted(existing)


def subtract_by_key(
    session: SqlSession, qid: str, queue_id: int, count: int
) -> None:
    """Subtract removed messages from the count of a queue that has one."""
    session.later(
        _SUBTRACT_BY_KEY, {'qid': qid, 'id': queue_id, 'count': count}
    )


def check_room(
    session: SqlSession, row: QueueRow, count: int, limit: int, now: int
) -> None:
    """Check that ``count`` more messages fit in.

    :raises QueueFull: they do not
    """
    if row.live is None:
        recount(session, row, now)
    if _full(row, count, limit):
        _remove_expired(session, row, now)
    if _full(row, count, limit) and (
        row.counted_at is None or now - row.counted_at >= RECOUNT
    ):
        recount(session, row, now)
    if _full(row, count, limit):
        raise QueueFull(row.live or 0, limit)


def _full(row: QueueRow, count: int, limit: int) -> bool:
    return (row.live or 0) + count > limit


def recount(session: SqlSession, row: QueueRow, now: int) -> None:
    """Remove expired messages and count the rest."""
    _remove_expired(session, row, now)
    values = {'id': row.id, 'now': now}
    counts = session.one(
        'SELECT count(*) FROM message WHERE queue_id = :id', values
    )
    row.live = counts[0] if counts else 0
    row.counted_at = now
    session.run(_SET_COUNT, {**values, 'live': row.live})


def _remove_expired(session: SqlSession, row: QueueRow, now: int) -> None:
    values = {'id': row.id, 'now': now}
    # Rows that are being deleted are skipped: their transaction waits for our
    # lock on the queue's row.
    expired = session.all(for_update(session, _EXPIRED, skip=True), values)
    if expired:
        session.many(
            f'{delete_from(session.dialect)} '
            'WHERE queue_id = :id AND seq = :seq',
            [{'id': row.id, 'seq': seq} for seq, *_ in expired],
        )
        for _, group, state, claim_id in expired:
            if group is not None and state != IN_GROUP:
                claims = row.bereft.setdefault(group, set())
                claims |= {claim_id} - {None}
        subtract_live(session, row.id, len(expired))
        row.live = None if row.live is None else row.live - len(expired)
