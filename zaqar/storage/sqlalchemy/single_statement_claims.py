# SPDX-License-Identifier: Apache-2.0
"""Claims in one statement, hence in one round trip (PostgreSQL)."""

from __future__ import annotations

from zaqar.models import Claim
from zaqar.storage.base import MAX_EXHAUSTED
from zaqar.storage.sqlalchemy.claimable_rows import FREE, WOKEN
from zaqar.storage.sqlalchemy.claiming import (
    COUNT,
    COUNT_EXHAUSTED,
    IS_EXHAUSTED,
    IS_FRESH,
    PROLONG,
    ClaimRequest,
    repeated_claim,
)
from zaqar.storage.sqlalchemy.message_rows import (
    COLUMNS,
    message,
    order,
    rest_of,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession


def _statement(limit: int, counting: bool) -> str:
    queue = '(SELECT id FROM q)'
    # Below not NOT EXISTS: a plan that was made while there were few claims,
    # and is kept, would read all of them. The bounds of the UPDATE are for the
    # same reason; see :func:`is_one_of`.

    def free(where: str, count: str, most: int) -> str:
        return (
            f'SELECT m.seq FROM message m WHERE m.queue_id = {queue} '
            f'AND {where} {count} ORDER BY {order(where)} LIMIT {most} '
            'FOR UPDATE SKIP LOCKED'
        )

    below = f'AND {IS_FRESH}' if counting else ''
    above = (
        f'AND {IS_EXHAUSTED} AND m.seq < coalesce((SELECT max(seq) '
        f'FROM taken HAVING count(*) = {limit}), 9223372036854775807)'
    )
    exhausted = (
        f"""
        e AS ({free(FREE, above, MAX_EXHAUSTED)}),
        f AS ({free(WOKEN, above, MAX_EXHAUSTED)}),
        exhausted AS (SELECT seq FROM
            (SELECT * FROM e UNION ALL SELECT * FROM f) x
            ORDER BY seq LIMIT {MAX_EXHAUSTED}),"""
        if counting
        else ''
    )
    picked, is_exhausted = 'SELECT seq FROM taken', 'false'
    if counting:
        picked += ' UNION ALL SELECT seq FROM exhausted'
        is_exhausted = 'm.seq = ANY (ARRAY(SELECT seq FROM exhausted))'
    return f"""
    WITH q AS (
        SELECT id FROM message_queue q WHERE qid = :qid
        AND dropped_at IS NULL AND least_version <= :version
        AND (SELECT 1 FROM claim c
            WHERE c.queue_id = q.id AND c.id = :claim_id) IS NULL),
    a AS ({free(FREE, below, limit)}),
    b AS ({free(WOKEN, below, limit)}),
    taken AS (SELECT seq FROM (SELECT * FROM a UNION ALL SELECT * FROM b) x
        ORDER BY seq LIMIT {limit}),{exhausted}
    picked AS ({picked}),
    u AS (
        UPDATE message m SET state = 1, wake_at = :end,
            claim_id = :claim_id, claim_count = CASE WHEN {is_exhausted}
                THEN {COUNT_EXHAUSTED} ELSE {COUNT} + 1 END,
            {PROLONG}
        WHERE m.queue_id = {queue}
        AND m.seq = ANY (ARRAY(SELECT seq FROM picked))
        AND m.seq BETWEEN (SELECT min(seq) FROM picked)
            AND (SELECT max(seq) FROM picked)
        RETURNING {COLUMNS}, {is_exhausted}),
    c AS (
        INSERT INTO claim (queue_id, id, ttl, expires_at)
        SELECT id, :claim_id, :ttl, :end FROM q
        WHERE EXISTS (SELECT 1 FROM picked))
    SELECT * FROM u ORDER BY seq
    """


_STATEMENTS: dict[tuple[int, bool], str] = {}


def claim(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Claim messages; see :func:`zaqar.storage.sqlalchemy.claiming.claim`."""
    key = (request.limit, bool(request.max_claims))
    sql = _STATEMENTS.get(key) or _STATEMENTS.setdefault(key, _statement(*key))
    values = request.values
    if request.version is None:
        values['version'] = 2**63 - 1
    rows = session.all(sql, values)
    if not rows:
        return repeated_claim(session, request)
    return Claim(
        request.claim_id,
        values['ttl'],
        values['end'],
        [message(row, values['now']) for row in rows if not rest_of(row)[0]],
        [message(row, values['now']) for row in rows if rest_of(row)[0]],
    )
