# SPDX-License-Identifier: Apache-2.0
"""Claims from queues with groups, whose messages lie close together.

In one statement, on PostgreSQL. It reads a page of what is not held, from the
first message of a free group on, and takes those whose groups are free: that
is less work than to look for the first messages of each group. Where it finds
too few, in between those of busy groups, it changes nothing.
"""

from __future__ import annotations

import functools

from zaqar.bounded_cache import BoundedCache
from zaqar.models import Claim
from zaqar.storage.sqlalchemy.claimable_rows import FREE, WOKEN
from zaqar.storage.sqlalchemy.claiming import (
    COUNT,
    IS_EXHAUSTED,
    IS_FRESH,
    PROLONG,
    ClaimRequest,
    repeated_claim,
)
from zaqar.storage.sqlalchemy.groups import FREE_GROUP, WOKEN_GROUP
from zaqar.storage.sqlalchemy.message_rows import (
    COLUMNS,
    IN_GROUP,
    message,
    order,
    rest_of,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession, compact

#: How many messages a page has for each that is wanted.
PAGE = 4

#: Claims that are made in the other way after one that found too few.
PAUSE = 20

#: Of the rows: a, free ones without a group, and b, woken ones; p, the page,
#: of which no more is read than r needs; r, the first of it, in its order,
#: whose groups are free, locked with these. A group that has changed since is
#: only taken if it is free by then, and from its present head on; an
#: expression lets it be found by its key. s is whether these are the oldest: a
#: group may be free though the claim of its first message has just ended, and
#: that is in no page.
_STATEMENT = """
WITH q AS (
    SELECT id FROM message_queue q WHERE qid = :qid
    AND dropped_at IS NULL AND least_version <= :version
    AND (SELECT 1 FROM claim c
        WHERE c.queue_id = q.id AND c.id = :claim_id) IS NULL),
a AS ({free}),
b AS ({woken}),
p AS (
    SELECT m.seq, m.group_key, m.wake_at, m.claim_count FROM message m
    WHERE m.queue_id = (SELECT id FROM q) AND m.state = {in_group}
    AND m.seq >= (SELECT g.head_seq FROM message_group g
        WHERE g.queue_id = (SELECT id FROM q) AND {free_group}
        ORDER BY g.head_seq LIMIT 1)
    AND m.expires_at > :now ORDER BY m.seq LIMIT {page}),
r AS (
    SELECT p.seq, p.group_key, p.wake_at, p.claim_count
    FROM p CROSS JOIN LATERAL (
        SELECT g.head_seq FROM message_group g
        WHERE g.queue_id = (SELECT id FROM q)
        AND g.group_key = p.group_key AND g.state + 0 = 0
        LIMIT 1 FOR UPDATE SKIP LOCKED) l
    WHERE p.seq >= l.head_seq LIMIT {limit}),
s AS (
    SELECT ((SELECT count(*) FROM r) = {limit}
            OR (SELECT count(*) FROM p) < {page}
            AND ((SELECT count(*) FROM r) > 0
                OR (SELECT count(*) FROM p) = 0))
        AND NOT EXISTS (SELECT 1 FROM r WHERE -r.wake_at > :now)
        AND NOT EXISTS (SELECT 1 FROM b WHERE group_key IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM message_group g
            WHERE g.queue_id = (SELECT id FROM q) AND {woken_group})
        {exhausted} AS is_sure),
taken AS (
    SELECT seq FROM (SELECT seq FROM a UNION ALL SELECT seq FROM b
        UNION ALL SELECT seq FROM r) x
    WHERE (SELECT is_sure FROM s) ORDER BY seq LIMIT {limit}),
u AS (
    UPDATE message m SET state = 1, wake_at = :end,
        claim_id = :claim_id, claim_count = {count} + 1, {prolong}
    WHERE m.queue_id = (SELECT id FROM q)
    AND m.seq = ANY (ARRAY(SELECT seq FROM taken))
    AND m.seq BETWEEN (SELECT min(seq) FROM taken)
        AND (SELECT max(seq) FROM taken)
    AND m.wake_at + 0 <= :now{fresh}
    RETURNING {columns}),
o AS (
    UPDATE message_group g SET state = 1, wake_at = :end,
        reached = greatest(g.reached, (SELECT max(seq) FROM u)),
        keep_until = greatest(g.keep_until, :raised_end)
    FROM (SELECT DISTINCT queue_id, group_key FROM u) y
    WHERE g.queue_id = y.queue_id AND g.group_key = y.group_key),
c AS (
    INSERT INTO claim (queue_id, id, ttl, expires_at)
    SELECT id, :claim_id, :ttl, :end FROM q
    WHERE EXISTS (SELECT 1 FROM u))
SELECT u.*, s.is_sure FROM s LEFT JOIN u ON true ORDER BY u.seq
"""
#: Exhausted messages are looked for in the other way.
_EXHAUSTED = f"""
    AND NOT EXISTS (SELECT 1 FROM r WHERE {IS_EXHAUSTED})
    AND NOT EXISTS (SELECT 1 FROM a WHERE {IS_EXHAUSTED})
    AND NOT EXISTS (SELECT 1 FROM b WHERE {IS_EXHAUSTED})
"""

#: How many claims are to be made in the other way, by queue.
_PAUSES: BoundedCache[str, int] = BoundedCache(20_000)


class ScatteredError(Exception):
    """What can be claimed may be elsewhere; nothing was changed."""


@functools.cache
def _statement(limit: int, counting: bool) -> str:
    def free(where: str) -> str:
        return (
            'SELECT m.seq, m.group_key, m.claim_count FROM message m '
            f'WHERE m.queue_id = (SELECT id FROM q) AND {where} '
            f'ORDER BY {order(where)} LIMIT {limit} FOR UPDATE SKIP LOCKED'
        )

    sql = _STATEMENT.format(
        free=free(FREE),
        woken=free(WOKEN),
        count=COUNT,
        in_group=IN_GROUP,
        free_group=FREE_GROUP,
        woken_group=WOKEN_GROUP,
        exhausted=_EXHAUSTED if counting else '',
        fresh=f' AND {IS_FRESH}' if counting else '',
        prolong=PROLONG,
        columns=COLUMNS,
        limit=limit,
        page=limit * PAGE,
    )
    return compact(sql)


def is_likely(qid: str) -> bool:
    """Tell whether a claim may find what it wants close together."""
    left = _PAUSES.get(qid, 0)
    if left:
        _PAUSES[qid] = left - 1
    return not left


def claim(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Claim messages; see :func:`zaqar.storage.sqlalchemy.claiming.claim`.

    :raises ScatteredError: it must be done in another way
    """
    sql = _statement(request.limit, bool(request.max_claims))
    values = request.values
    if request.version is None:
        values['version'] = 2**63 - 1
    rows = session.all(sql, values)
    if not rest_of(rows[0])[0]:
        _PAUSES[request.qid] = PAUSE
        raise ScatteredError
    if rows[0][0] is None:
        return repeated_claim(session, request)
    return Claim(
        request.claim_id,
        values['ttl'],
        values['end'],
        [message(row, values['now']) for row in rows],
    )
