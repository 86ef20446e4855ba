# SPDX-License-Identifier: Apache-2.0
"""The flag in a queue's row that says whether it may have subscribers."""

from zaqar.errors import QueueGone
from zaqar.storage.sqlalchemy import queue_row
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

_SET_SUBSCRIBED = 'UPDATE message_queue SET subscribed = :new WHERE id = :id'


def mark_subscribed(session: SqlSession, qid: str, now: int) -> None:
    """Set the flag in a new epoch, within a transaction."""
    row = queue_row.lock(session, qid, now)
    values = {'id': row.id, 'new': abs(row.subscribed) + 1}
    session.run(_SET_SUBSCRIBED, values)


def unmark_subscribed(
    session: SqlSession, qid: str, epoch: int, now: int
) -> bool:
    """Clear the flag if it is still of an epoch, within a transaction."""
    row = queue_row.lock(session, qid, now)
    if epoch <= 0 or row.subscribed != epoch:
        return False
    session.run(_SET_SUBSCRIBED, {'id': row.id, 'new': -epoch})
    return True


def subscribed_epoch(session: SqlSession, qid: str) -> int:
    """Return the epoch of the flag, 0 if it is not set."""
    row = session.one(queue_row.SELECT, {'qid': qid})
    if row is None:
        return 1
    if row[6] is not None:
        raise QueueGone
    return max(int(row[4]), 0)
