# SPDX-License-Identifier: Apache-2.0
"""Claims in one statement, hence in one round trip (PostgreSQL).

There is one for queues without groups, which looks for none.
"""

import functools
from collections.abc import Sequence

from zaqar.objects import Claim
from zaqar.storage.abstract_stores import MAX_EXHAUSTED
from zaqar.storage.sqlalchemy.claim_request import ClaimRequest
from zaqar.storage.sqlalchemy.claimable_rows import FREE, WOKEN
from zaqar.storage.sqlalchemy.claimable_rows_of_groups import (
    IncompleteSearchError,
)
from zaqar.storage.sqlalchemy.groups_with_ended_claims_or_delays import (
    WokenGroupsError,
)
from zaqar.storage.sqlalchemy.message_rows import (
    COLUMNS,
    IN_GROUP,
    message,
    rest_of,
)
from zaqar.storage.sqlalchemy.message_sql_fragments import (
    COUNT,
    COUNT_EXHAUSTED,
    IS_EXHAUSTED,
    IS_FRESH,
    PROLONG,
    order,
)
from zaqar.storage.sqlalchemy.queue_row import GroupedQueueError
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import compact
from zaqar.storage.sqlalchemy.stored_claims import repeated_claim

_QUEUE = '(SELECT id FROM q)'

#: Takes what is picked.
_TAKE = """
picked AS ({picked}),
u AS (
    UPDATE message m SET state = 1, wake_at = :end,
        claim_id = :claim_id, claim_count = CASE WHEN {is_exhausted}
            THEN {count_exhausted} ELSE {count} + 1 END,
        {prolong}
    WHERE m.queue_id = {queue}
    AND m.seq = ANY (ARRAY(SELECT seq FROM picked))
    AND m.seq BETWEEN (SELECT min(seq) FROM picked)
        AND (SELECT max(seq) FROM picked)
    AND m.wake_at + 0 <= :now{fresh}
    RETURNING {columns}, {is_exhausted} AS is_exhausted),
c AS (
    INSERT INTO claim (queue_id, id, ttl, expires_at)
    SELECT id, :claim_id, :ttl, :end FROM q WHERE EXISTS (SELECT 1 FROM u))
"""
#: The queue is q, or k, if there has been such a claim. Of the rows: a, free
#: ones, and b, woken ones; n, those that come next in the groups of a, up to
#: the first that is delayed; s is whether these are all, and the id of no dead
#: claim is to be used again: else it is done in the other way. While there are
#: woken ones of groups nothing is locked. The expression of their group keeps
#: them from being sought by the index on groups.
#:
#: Not NOT EXISTS in k: a plan that was made while there were few claims, and
#: is kept, would read all of them. The bounds of the UPDATE are for the same
#: reason; see :func:`.dialect_clauses.is_one_of`. It checks what comes
#: next in a group, which was not locked before.
_STATEMENT = """
WITH k AS (
    SELECT id, grouped, (SELECT c.expires_at FROM claim c
        WHERE c.queue_id = q.id AND c.id = :claim_id) AS ends_at,
        (SELECT m.wake_at FROM message m WHERE m.queue_id = q.id
        AND {is_woken} AND coalesce(m.group_key, '') <> ''
        ORDER BY m.wake_at LIMIT 1) AS woken_at
    FROM message_queue q WHERE qid = :qid
    AND dropped_at IS NULL AND least_version <= :version),
q AS (SELECT id, grouped FROM k WHERE ends_at IS NULL AND woken_at IS NULL),
a AS ({free}),
b AS ({woken}),
n AS (
    SELECT x.seq, x.claim_count FROM a CROSS JOIN LATERAL (
        SELECT y.seq, y.claim_count, bool_and(-y.wake_at <= :now)
            OVER (ORDER BY y.seq) AS is_visible
        FROM (SELECT m.seq, m.wake_at, m.claim_count FROM message m
            WHERE m.queue_id = {queue} AND m.group_key = a.group_key
            AND m.seq > a.seq AND m.seq < coalesce(
                (SELECT max(seq) FROM a HAVING count(*) = {limit}),
                9223372036854775807)
            AND m.state + 0 = {in_group} AND m.expires_at > :now
            ORDER BY m.seq LIMIT {limit}) y) x
    WHERE x.is_visible),{exhausted}
s AS (
    SELECT NOT EXISTS (SELECT 1 FROM k WHERE ends_at <= :now)
        {sure}
        AND CASE WHEN (SELECT grouped FROM q) = 1 AND
            (SELECT count(*) FROM (SELECT 1 FROM a UNION ALL SELECT 1 FROM b
                UNION ALL SELECT 1 FROM n) x) < {limit}
        THEN NOT EXISTS (SELECT 1 FROM message m
            WHERE m.queue_id = {queue} AND m.state = 0
            AND m.expires_at <= :now AND m.group_key IS NOT NULL)
        ELSE true END AS is_sure),
taken AS (
    SELECT seq FROM (SELECT seq FROM a UNION ALL SELECT seq FROM b
        UNION ALL SELECT seq FROM n) x
    WHERE (SELECT is_sure FROM s) ORDER BY seq LIMIT {limit}),
"""
_RESULT = """
SELECT u.*, s.is_sure, (SELECT woken_at FROM k) FROM s LEFT JOIN u ON true
ORDER BY u.seq
"""
#: Without groups these are all.
_UNGROUPED = """
WITH k AS (
    SELECT id, grouped, (SELECT c.expires_at FROM claim c
        WHERE c.queue_id = q.id AND c.id = :claim_id) AS ends_at
    FROM message_queue q WHERE qid = :qid
    AND dropped_at IS NULL AND least_version <= :version),
q AS (SELECT id FROM k WHERE ends_at IS NULL AND grouped = 0),
a AS ({free}),
b AS ({woken}),
taken AS (SELECT seq FROM (SELECT seq FROM a UNION ALL SELECT seq FROM b) x
    ORDER BY seq LIMIT {limit}),{exhausted}
"""
_UNGROUPED_RESULT = """
SELECT u.*, k.grouped, k.ends_at FROM k LEFT JOIN u ON true ORDER BY u.seq
"""
_EXHAUSTED = """
e AS ({free}),
f AS ({woken}),
"""
_SURE_OF_EXHAUSTED = f"""
        AND NOT EXISTS (SELECT 1 FROM n WHERE {IS_EXHAUSTED})
        AND NOT EXISTS (SELECT 1 FROM e WHERE group_key IS NOT NULL)
"""
#: Before the last one taken, if as many as are wanted are.
_ABOVE = (
    f'AND {IS_EXHAUSTED} AND m.seq < coalesce((SELECT max(seq) FROM ('
    'SELECT seq FROM (SELECT seq FROM a UNION ALL SELECT seq FROM b '
    'UNION ALL SELECT seq FROM n) x ORDER BY seq LIMIT {limit}) y '
    'HAVING count(*) = {limit}), 9223372036854775807)'
)


#: The same without groups.
_ABOVE_UNGROUPED = (
    f'AND {IS_EXHAUSTED} AND m.seq < coalesce((SELECT max(seq) FROM taken '
    'HAVING count(*) = {limit}), 9223372036854775807)'
)
_EVERY_EXHAUSTED = 'SELECT seq FROM e UNION ALL SELECT seq FROM f'


@functools.cache
def _statement(limit: int, counting: bool) -> str:
    sure = _SURE_OF_EXHAUSTED if counting else ''
    head = _STATEMENT.replace('{sure}', sure)
    head = head.replace('{in_group}', f'{IN_GROUP}')
    head = head.replace('{is_woken}', WOKEN)
    above = _ABOVE.format(limit=limit)
    only = 'WHERE (SELECT is_sure FROM s)'
    return _completed(head, _RESULT, limit, above if counting else '', only)


@functools.cache
def _ungrouped_statement(limit: int, counting: bool) -> str:
    above = _ABOVE_UNGROUPED.format(limit=limit) if counting else ''
    return _completed(_UNGROUPED, _UNGROUPED_RESULT, limit, above, '')


def _completed(
    head: str, result: str, limit: int, above: str, only: str
) -> str:
    """Return the SQL of a claim.

    :param above: the condition of exhausted messages, where they count
    :param only: when they are taken
    """

    def rows(where: str, count: str, most: int) -> str:
        return (
            'SELECT m.seq, m.group_key FROM message m '
            f'WHERE m.queue_id = {_QUEUE} AND {where} {count} '
            f'ORDER BY {order(where)} LIMIT {most} FOR UPDATE SKIP LOCKED'
        )

    below = f'AND {IS_FRESH}' if above else ''
    picked, is_exhausted = 'SELECT seq FROM taken', 'false'
    if above:
        picked = (
            'SELECT seq FROM taken UNION ALL '
            f'(SELECT seq FROM ({_EVERY_EXHAUSTED}) x {only} '
            f'ORDER BY seq LIMIT {MAX_EXHAUSTED})'
        )
        is_exhausted = f'm.seq = ANY (ARRAY({_EVERY_EXHAUSTED}))'
    sql = (head + _TAKE + result).format(
        free=rows(FREE, below, limit),
        woken=rows(WOKEN, below, limit),
        exhausted=_EXHAUSTED.format(
            free=rows(FREE, above, MAX_EXHAUSTED),
            woken=rows(WOKEN, above, MAX_EXHAUSTED),
        )
        if above
        else '',
        fresh=f' AND ({is_exhausted} OR {IS_FRESH})' if above else '',
        picked=picked,
        is_exhausted=is_exhausted,
        count=COUNT,
        count_exhausted=COUNT_EXHAUSTED,
        prolong=PROLONG,
        columns=COLUMNS,
        limit=limit,
        queue=_QUEUE,
    )
    return compact(sql)


def claim_ungrouped(
    session: SqlSession, request: ClaimRequest
) -> Claim | None:
    """Claim messages of a queue without groups.

    :raises GroupedQueueError: it has some
    :raises IncompleteSearchError: it must be done in the other way
    """
    sql = _ungrouped_statement(request.limit, bool(request.max_claims))
    rows = _run(session, sql, request)
    if rows and rows[0][0] is not None:
        return _claim(request, rows)
    if rows:
        _, grouped, ends_at = rest_of(rows[0])
        if grouped:
            raise GroupedQueueError
        if ends_at is not None and ends_at <= request.lifetime['now']:
            raise IncompleteSearchError
    return repeated_claim(session, request)


def claim(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Claim messages; see :func:`.claiming_in_several_statements.claim`.

    :raises WokenGroupsError: some groups must go on before
    :raises IncompleteSearchError: it must be done in the other way
    """
    sql = _statement(request.limit, bool(request.max_claims))
    rows = _run(session, sql, request)
    _, is_sure, woken_at = rest_of(rows[0])
    if woken_at is not None:
        raise WokenGroupsError
    if not is_sure:
        raise IncompleteSearchError
    if rows[0][0] is None:
        return repeated_claim(session, request)
    return _claim(request, rows)


def _run(
    session: SqlSession, sql: str, request: ClaimRequest
) -> Sequence[Row]:
    values = request.values
    if request.version is None:
        values['version'] = 2**63 - 1
    return session.all(sql, values)


def _claim(request: ClaimRequest, rows: Sequence[Row]) -> Claim:
    values = request.lifetime
    return Claim(
        request.claim_id,
        values['ttl'],
        values['end'],
        [message(row, values['now']) for row in rows if not rest_of(row)[0]],
        [message(row, values['now']) for row in rows if rest_of(row)[0]],
    )
