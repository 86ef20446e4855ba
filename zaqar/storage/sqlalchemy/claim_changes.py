# SPDX-License-Identifier: Apache-2.0
"""What becomes of claims: they are renewed or released."""

from __future__ import annotations

from typing import Any

from zaqar.storage.sqlalchemy import groups, queue_state
from zaqar.storage.sqlalchemy.claiming import PROLONG
from zaqar.storage.sqlalchemy.message_rows import FREED, index_hint
from zaqar.storage.sqlalchemy.statement_execution import SqlSession


def renew(
    session: SqlSession,
    qid: str,
    claim_id: str,
    values: dict[str, Any],
    *,
    takes_groups: bool = False,
) -> bool:
    """Prolong a claim and its messages, within a transaction.

    :raises GroupedQueueError: the queue has groups
    """
    values = {**values, 'qid': qid, 'claim_id': claim_id}
    queue, values = queue_state.queue_for_change(
        session, values, takes_groups=takes_groups
    )
    busy = (
        groups.lock_those_of_claim(session, queue, values)
        if takes_groups
        else []
    )
    renewed = session.run(
        'UPDATE claim SET ttl = :ttl, expires_at = :end '
        f'WHERE queue_id = {queue} AND id = :claim_id '
        'AND expires_at > :now',
        values,
    )
    if not renewed and not _is_unchanged(session, queue, values):
        queue_state.check_gone(session, qid, takes_groups=takes_groups)
        return False
    session.run(
        f'UPDATE message{_by_claim(session)} SET wake_at = :end, {PROLONG} '
        f'WHERE queue_id = {queue} AND claim_id = :claim_id '
        'AND state = 1 AND expires_at > :now',
        values,
    )
    keep_until = values['raised_end']
    groups.regroup(session, busy, values['now'], keep_until=keep_until)
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
    queue, values = queue_state.queue_for_change(
        session,
        {'qid': qid, 'claim_id': claim_id},
        takes_groups=takes_groups,
    )
    busy = (
        groups.lock_those_of_claim(session, queue, values)
        if takes_groups
        else []
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
    groups.regroup(session, busy, now)
    if not freed and not deleted:
        queue_state.check_gone(session, qid, takes_groups=takes_groups)
