# SPDX-License-Identifier: Apache-2.0
"""Claims that exist, with the messages that they hold."""

from __future__ import annotations

from collections.abc import Sequence

from zaqar.objects import Claim
from zaqar.storage.sqlalchemy import (
    claimable_rows_of_groups,
    expired_group_heads,
    queue_row,
)
from zaqar.storage.sqlalchemy.claim_request import ClaimRequest
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint
from zaqar.storage.sqlalchemy.message_rows import (
    COLUMNS,
    EXHAUSTED,
    count_of,
    hold_of,
    message,
    rest_of,
)
from zaqar.storage.sqlalchemy.message_sql_fragments import QUEUE
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession

_HELD = (
    f'SELECT {COLUMNS}, c.ttl FROM claim c JOIN message m%s '
    f'ON m.queue_id = c.queue_id AND m.claim_id = c.id '
    f'WHERE c.queue_id = {QUEUE} AND c.id = :claim_id '
    'AND c.expires_at > :now AND m.state = 1 AND m.wake_at > :now '
    'AND m.expires_at > :now ORDER BY m.seq'
)


def repeated_claim(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Return the claim that a call without free messages repeats, if any.

    :raises IncompleteSearchError: there is none, but some groups may go on
    """
    queue = queue_row.check_gone(session, request.qid)
    claim = repeated(session, request)
    if claim is None:
        queue_row.check_version(request.version, queue.least_version)
        if queue.grouped and expired_group_heads.has_hidden(
            session, request.values
        ):
            raise claimable_rows_of_groups.IncompleteSearchError
    return claim


def repeated(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Return a claim whose first answer was lost, as it was then."""
    claim_id, now = request.claim_id, request.lifetime['now']
    rows = _held_rows(session, request.qid, claim_id, now)
    exhausted = [row for row in rows if count_of(row) & EXHAUSTED]
    fresh = [row for row in rows if not count_of(row) & EXHAUSTED]
    return _stored_claim(claim_id, now, fresh, exhausted) if rows else None


def held(
    session: SqlSession, qid: str, claim_id: str, now: int
) -> Claim | None:
    """Return a live claim that still holds messages, else None."""
    rows = _held_rows(session, qid, claim_id, now)
    return _stored_claim(claim_id, now, rows, ()) if rows else None


def _held_rows(
    session: SqlSession, qid: str, claim_id: str, now: int
) -> Sequence[Row]:
    values = {'qid': qid, 'claim_id': claim_id, 'now': now}
    return session.all(
        _HELD % index_hint(session.dialect, 'message_claim'), values
    )


def _stored_claim(
    claim_id: str, now: int, fresh: Sequence[Row], exhausted: Sequence[Row]
) -> Claim:
    rows = [*fresh, *exhausted]
    (ttl,) = rest_of(rows[0])
    return Claim(
        claim_id,
        ttl,
        max(hold_of(row)[1] for row in rows),
        [message(row, now) for row in fresh],
        [message(row, now) for row in exhausted],
    )
