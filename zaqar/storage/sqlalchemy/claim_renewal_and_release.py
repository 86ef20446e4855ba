# SPDX-License-Identifier: Apache-2.0
"""Claims are renewed or released."""

from collections.abc import Collection, Mapping
from typing import Any

from zaqar.storage.sqlalchemy import (
    group_locks,
    next_free_messages_of_groups,
    queue_row,
)
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint
from zaqar.storage.sqlalchemy.message_sql_fragments import FREED, PROLONG
from zaqar.storage.sqlalchemy.statement_execution import SqlSession


def renew(
    session: SqlSession, qid: str, claim_id: str, values: dict[str, Any]
) -> bool:
    """Prolong a claim and its messages, within a transaction."""
    values = {**values, 'qid': qid, 'claim_id': claim_id}
    queue, values = queue_row.queue_for_change(session, values)
    renewed = session.run(
        'UPDATE claim SET ttl = :ttl, expires_at = :end '
        f'WHERE queue_id = {queue} AND id = :claim_id '
        # An expression, so that it is found by its key.
        'AND expires_at + 0 > :now',
        values,
    )
    if not renewed and not _is_unchanged(session, queue, values):
        queue_row.check_gone(session, qid)
        return False
    session.run(
        f'UPDATE message{_by_claim(session)} SET wake_at = :end, {PROLONG} '
        f'WHERE queue_id = {queue} AND claim_id = :claim_id '
        'AND state = 1 AND wake_at > :now AND expires_at > :now',
        values,
    )
    return True


def _by_claim(session: SqlSession) -> str:
    return index_hint(session.dialect, 'message_claim')


def _is_unchanged(
    session: SqlSession, queue: str, values: dict[str, Any]
) -> bool:
    # MySQL does not count a row that an UPDATE leaves as it was.
    return session.dialect == 'mysql' and bool(
        session.one(
            f'SELECT 1 FROM claim WHERE queue_id = {queue} '
            'AND id = :claim_id AND expires_at > :now',
            values,
        )
    )


def release(
    session: SqlSession,
    qid: str,
    claim_id: str,
    now: int,
    *,
    takes_groups: bool = False,
) -> None:
    """Free the messages of a claim, within a transaction.

    :raises GroupedQueueError: the queue has groups
    """
    queue, values = queue_row.queue_for_change(
        session,
        {'qid': qid, 'claim_id': claim_id},
        takes_groups=takes_groups,
    )
    queue_id = 0
    left: Mapping[str, Collection[str]] = {}
    if takes_groups:
        queue_id, left = group_locks.lock_those_of_claim(
            session, queue, values
        )
    freed = session.run(
        f'UPDATE message{_by_claim(session)} '
        f'SET {FREED} '
        f'WHERE queue_id = {queue} AND claim_id = :claim_id AND state = 1',
        values,
    )
    deleted = session.run(
        f'DELETE FROM claim WHERE queue_id = {queue} AND id = :claim_id',
        values,
    )
    next_free_messages_of_groups.go_on(session, queue_id, left, now)
    if not freed and not deleted:
        queue_row.check_gone(session, qid, takes_groups=takes_groups)
