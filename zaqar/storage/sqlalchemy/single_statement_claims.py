# SPDX-License-Identifier: Apache-2.0
"""Claims in one statement, hence in one round trip (PostgreSQL)."""

from __future__ import annotations

import functools

from zaqar.models import Claim
from zaqar.storage.base import MAX_EXHAUSTED
from zaqar.storage.sqlalchemy import paged_group_claims
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
from zaqar.storage.sqlalchemy.grouped_claims import HAS_HEAD
from zaqar.storage.sqlalchemy.groups import (
    FREE_GROUP,
    GROUP_ORDER,
    WOKEN_GROUP,
)
from zaqar.storage.sqlalchemy.message_rows import (
    COLUMNS,
    message,
    order,
    rest_of,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession, compact


@functools.cache
def _statement(limit: int, counting: bool, takes_groups: bool) -> str:
    queue = '(SELECT id FROM q)'
    # Below not NOT EXISTS: a plan that was made while there were few claims,
    # and is kept, would read all of them. The bounds of the UPDATE are for the
    # same reason; see :func:`is_one_of`.

    # With groups some of those that have woken are not free.
    ungrouped = ' AND m.group_key IS NULL' if takes_groups else ''

    def free(where: str, count: str, most: int) -> str:
        return (
            f'SELECT m.seq FROM message m WHERE m.queue_id = {queue} '
            f'AND {where}{ungrouped} {count} '
            f'ORDER BY {order(where)} LIMIT {most} FOR UPDATE SKIP LOCKED'
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
            (SELECT * FROM e UNION ALL SELECT * FROM f{
            _first_of_groups(
                queue,
                takes_groups,
                f'{above} AND m.seq <= g.reached',
                MAX_EXHAUSTED,
            )
        }) x
            ORDER BY seq LIMIT {MAX_EXHAUSTED}),"""
        if counting
        else ''
    )
    picked, is_exhausted = 'SELECT seq FROM taken', 'false'
    if counting:
        picked += ' UNION ALL SELECT seq FROM exhausted'
        is_exhausted = 'm.seq = ANY (ARRAY(SELECT seq FROM exhausted))'
    still_free = ''
    if takes_groups:
        # Those of groups are not locked before.
        still_free = ' AND m.wake_at + 0 <= :now'
        if counting:
            still_free += f' AND ({is_exhausted} OR {IS_FRESH})'
    return compact(f"""
    WITH q AS (
        SELECT id FROM message_queue q WHERE qid = :qid
        AND dropped_at IS NULL AND least_version <= :version
        {'' if takes_groups else 'AND grouped = 0'}
        AND (SELECT 1 FROM claim c
            WHERE c.queue_id = q.id AND c.id = :claim_id) IS NULL),
    a AS ({free(FREE, below, limit)}),
    b AS ({free(WOKEN, below, limit)}),{
        _free_groups(queue, limit, takes_groups)
    }
    taken AS (SELECT seq FROM (SELECT * FROM a UNION ALL
            SELECT * FROM b{
        _first_of_groups(queue, takes_groups, below, limit)
    }) x
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
            AND (SELECT max(seq) FROM picked){still_free}
        RETURNING {COLUMNS}, {is_exhausted}),{_occupy(takes_groups)}
    c AS (
        INSERT INTO claim (queue_id, id, ttl, expires_at)
        SELECT id, :claim_id, :ttl, :end FROM q
        WHERE EXISTS (SELECT 1 FROM {'u' if takes_groups else 'picked'}))
    SELECT * FROM u ORDER BY seq
    """)


def _free_groups(queue: str, limit: int, takes_groups: bool) -> str:
    """Return SQL that locks free groups.

    One that has changed since the statement began is only taken if it is free
    by then, and read from its present head.
    """
    if not takes_groups:
        return ''

    def free(where: str, order: str) -> str:
        return (
            'SELECT g.group_key, g.head_seq, g.reached FROM message_group g '
            f'WHERE g.queue_id = {queue} AND {where} '
            f'AND {HAS_HEAD.format(hint="")} ORDER BY {order} '
            f'LIMIT {limit} FOR UPDATE SKIP LOCKED'
        )

    return f"""
    i AS ({free(FREE_GROUP, GROUP_ORDER[FREE_GROUP])}),
    j AS ({free(WOKEN_GROUP, GROUP_ORDER[WOKEN_GROUP])}),
    g AS (SELECT * FROM (SELECT * FROM i UNION ALL SELECT * FROM j) x
        ORDER BY head_seq LIMIT {limit}),"""


def _first_of_groups(
    queue: str, takes_groups: bool, condition: str, most: int
) -> str:
    """Return SQL for the first messages of each of these groups.

    Without gaps, up to the first message that is delayed.
    """
    if not takes_groups:
        return ''
    return f"""
            UNION ALL SELECT r.seq FROM g CROSS JOIN LATERAL (
                SELECT c.seq, bool_and(abs(c.wake_at) <= :now)
                    OVER (ORDER BY c.seq) AS is_visible
                FROM (SELECT m.seq, m.wake_at FROM message m
                    WHERE m.queue_id = {queue} AND m.group_key = g.group_key
                    AND m.seq >= g.head_seq AND m.expires_at > :now
                    {condition} ORDER BY m.seq LIMIT {most}) c) r
            WHERE r.is_visible"""


def _occupy(takes_groups: bool) -> str:
    """Return SQL that makes groups busy.

    If the id of the queue came from elsewhere, a plan that was made while
    there were few groups would read all those of the queue.
    """
    if not takes_groups:
        return ''
    return """
    o AS (UPDATE message_group g SET state = 1, wake_at = :end,
            reached = greatest(g.reached, (SELECT max(seq) FROM u)),
            keep_until = greatest(g.keep_until, :raised_end)
        FROM (SELECT DISTINCT queue_id, group_key FROM u) y
        WHERE g.queue_id = y.queue_id AND g.group_key = y.group_key),"""


def claim(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Claim messages; see :func:`zaqar.storage.sqlalchemy.claiming.claim`."""
    if request.takes_groups and paged_group_claims.is_likely(request.qid):
        try:
            return paged_group_claims.claim(session, request)
        except paged_group_claims.ScatteredError:
            pass
    sql = _statement(
        request.limit, bool(request.max_claims), request.takes_groups
    )
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
