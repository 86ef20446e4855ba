# SPDX-License-Identifier: Apache-2.0
"""A queue's row: its lock, numbers, version and tombstone."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from zaqar.errors import QueueGone, StaleMetadata
from zaqar.storage.sqlalchemy.dialect_clauses import (
    for_update,
    insert_ignoring,
)
from zaqar.storage.sqlalchemy.message_sql_fragments import (
    QUEUE,
    UNGROUPED,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import (
    placeholder_values,
    placeholders,
)

#: Ids of one query.
_CHUNK = 200

#: See the fields of :class:`QueueRow`; the last two are when it was dropped,
#: and whether it has had groups.
SELECT = (
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
_ADD_GARBAGE = 'INSERT INTO garbage (queue_id) VALUES (:id)'
_NEW_ID = (
    'UPDATE message_queue SET id = :new, dropped_at = :dropped_at, '
    'bytes = CASE WHEN bytes IS NULL THEN NULL ELSE 0 END, '
    'live = CASE WHEN live IS NULL THEN NULL ELSE 0 END WHERE id = :id'
)
#: The id of a queue, if its messages are counted.
COUNTED = (
    'SELECT id FROM message_queue WHERE qid = :qid '
    'AND live IS NOT NULL AND dropped_at IS NULL'
)
_NAMES = 'SELECT qid, id FROM message_queue WHERE id IN ({})'


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
    sql = for_update(session, SELECT)
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
    row = session.one(SELECT, {'qid': qid})
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
        session.one(for_update(session, SELECT), values)


def lock_unless_locked(session: SqlSession, ids: Collection[int]) -> set[int]:
    """Lock likewise the rows of several queues, and wait for none.

    :returns: those that others have locked
    """
    if session.dialect == 'sqlite':
        return set()
    sql = 'SELECT qid FROM message_queue WHERE qid = :qid'
    sql = for_update(session, sql, skip=True)
    names = keys_of(session, ids, is_counted=not session.spans_nodes)
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
    find = for_update(session, SELECT)
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


def keys_of(
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
