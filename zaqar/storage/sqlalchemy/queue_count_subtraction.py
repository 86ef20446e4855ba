# SPDX-License-Identifier: Apache-2.0
"""Subtraction of removed messages from a queue's running counts.

Posts add messages and the bytes of their bodies. What is removed counts with
the mean size of what the queue holds, since nobody reads it any more: the
bytes are approximate, and are exact again once the queue is empty.
"""

from collections.abc import Mapping
from typing import Any

from zaqar.storage.sqlalchemy import queue_row
from zaqar.storage.sqlalchemy.statement_execution import SqlSession


def subtract(count: str, row: str = '') -> str:
    """Return the assignments that subtract removed messages.

    :param count: SQL for their number
    :param row: prefix of the columns that are read
    """
    # In this order: MySQL evaluates assignments one after another.
    return (
        f'bytes = coalesce({row}bytes - {row}bytes * {count} '
        f'/ nullif({row}live, 0), 0 * {row}bytes), '
        f'live = {row}live - {count}'
    )


_SUBTRACT = (
    f'UPDATE message_queue SET {subtract(":count")} '
    'WHERE id = :id AND live IS NOT NULL'
)
_SUBTRACT_BY_KEY = (
    f'UPDATE message_queue SET {subtract(":count")} '
    'WHERE qid = :qid AND id + 0 = :id AND live IS NOT NULL'
)
_COUNTED_QID = (
    'SELECT qid FROM message_queue WHERE id = :id AND live IS NOT NULL'
)


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
    for qid, queue_id in queue_row.keys_of(session, counts, is_counted=True):
        subtract_by_key(session, qid, queue_id, counts[queue_id])


def subtract_by_key(
    session: SqlSession, qid: str, queue_id: int, count: int
) -> None:
    """Subtract removed messages from the count of a queue that has one."""
    session.later(
        _SUBTRACT_BY_KEY, {'qid': qid, 'id': queue_id, 'count': count}
    )
