# SPDX-License-Identifier: Apache-2.0
"""Settlement in one statement, hence in one round trip (PostgreSQL).

Mostly all that a claim holds is deleted: there is one that does nothing else,
and takes a third less time. Deletions of some of it take both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zaqar.objects import Act, Settlement
from zaqar.storage import rejection_reason_encoding
from zaqar.storage.message_ids import is_id
from zaqar.storage.sqlalchemy import queue_count_subtraction, queue_row
from zaqar.storage.sqlalchemy.postgresql_array_literals import array
from zaqar.storage.sqlalchemy.settlement_in_several_statements import UNCOUNTED
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import compact

_QUEUE = """
WITH q AS (
    SELECT id FROM message_queue
    WHERE qid = :qid AND dropped_at IS NULL AND grouped = 0),
"""
_NAME = "coalesce(m.public_id, lpad(to_hex(m.seq), 16, '0') || m.rnd)"
_IS_HELD = """
    m.queue_id = (SELECT id FROM q)
    AND m.claim_id = :claim_id AND m.state = 1 AND m.wake_at > :now
    AND m.expires_at > :now
"""
#: What the claim holds, as h; and what of that is settled, as s. The bounds
#: are for plans that were made while there were few messages; see
#: :func:`zaqar.storage.sqlalchemy.dialect_clauses.is_one_of`.
_HELD = f"""{_QUEUE}
h AS (
    SELECT m.seq, m.wake_at, {_NAME} AS name
    FROM message m WHERE {_IS_HELD} ORDER BY m.seq FOR UPDATE),
"""
#: Subtracts those that were deleted, d.
_SUBTRACT = f"""
l AS (
    UPDATE message_queue q SET
        {queue_count_subtraction.subtract('(SELECT count(*) FROM d)', 'q.')}
    WHERE q.qid = :qid AND q.live IS NOT NULL AND EXISTS (SELECT 1 FROM d))
"""
#: The result is one row, which takes less time than to join h and s.
_STATEMENT = compact(f"""{_HELD}
s AS (
    SELECT h.seq, c.* FROM h JOIN unnest(
        :names::text[], :acts::int[], :ends::bigint[], :ttls::int[],
        :uncounted::int[], :reasons::bytea[])
    AS c (name, act, until, shown, uncounted, given)
    ON c.name = h.name),
d AS (
    DELETE FROM message m WHERE m.queue_id = (SELECT id FROM q)
    AND m.seq = ANY (ARRAY(
        SELECT seq FROM s WHERE act = {Act.DELETE.value}))
    AND m.seq BETWEEN (SELECT min(seq) FROM s) AND (SELECT max(seq) FROM s)
    RETURNING m.seq),
u AS (
    UPDATE message m SET
        state = CASE WHEN act = {Act.EXTEND.value} THEN 1
            WHEN until > :now THEN 2 ELSE 0 END,
        wake_at = CASE WHEN until > :now THEN until ELSE 0 END,
        claim_id = CASE WHEN act = {Act.EXTEND.value} THEN m.claim_id END,
        claim_count = CASE WHEN uncounted = 1 THEN {UNCOUNTED}
            ELSE claim_count END,
        reason = coalesce(given, m.reason),
        ttl = CASE WHEN act = {Act.EXTEND.value} AND expires_at < until
            THEN shown ELSE ttl END,
        expires_at = CASE WHEN act = {Act.EXTEND.value} AND expires_at < until
            THEN until ELSE expires_at END
    FROM s WHERE act <> {Act.DELETE.value}
    AND m.queue_id = (SELECT id FROM q) AND m.seq = s.seq
    AND m.seq = ANY (ARRAY(SELECT seq FROM s))
    AND m.seq BETWEEN (SELECT min(seq) FROM s) AND (SELECT max(seq) FROM s)),
c AS (
    UPDATE claim SET expires_at = coalesce(
        (SELECT max(coalesce(
            CASE WHEN act = {Act.EXTEND.value} THEN until END,
            CASE WHEN act IS NULL THEN h.wake_at END))
        FROM h LEFT JOIN s ON s.seq = h.seq), 0)
    WHERE queue_id = (SELECT id FROM q) AND id = :claim_id),
{_SUBTRACT}
SELECT (SELECT count(*) FROM h), (SELECT string_agg(name, ',') FROM s)
""")
#: For the usual case: deletes what the claim holds if that is as many as, and
#: no other than, what is to be deleted; else nothing.
_DELETE = compact(f"""{_QUEUE}
d AS (
    DELETE FROM message m WHERE {_IS_HELD} AND (
        SELECT count(*) = :count AND bool_and({_NAME} = ANY (:names::text[]))
        FROM message m WHERE {_IS_HELD})
    RETURNING {_NAME} AS name),
c AS (
    DELETE FROM claim WHERE queue_id = (SELECT id FROM q) AND id = :claim_id
    AND EXISTS (SELECT 1 FROM d)),
{_SUBTRACT}
SELECT string_agg(name, ',') FROM d
""")


def settle(
    session: SqlSession,
    qid: str,
    claim_id: str,
    settlements: Sequence[Settlement],
    now: int,
) -> Sequence[bool] | None:
    """Settle messages; see the contract.

    :raises GroupedQueueError: the queue has groups
    """
    # What is no id may be no text either, for PostgreSQL.
    names = [
        item.message_id if is_id(item.message_id) else ''
        for item in settlements
    ]
    values: dict[str, Any] = {
        'qid': qid,
        'claim_id': claim_id,
        'now': now,
        'names': array(names),
        'count': len(names),
    }
    acts = [item.act.value for item in settlements]
    if acts.count(Act.DELETE.value) == len(acts):
        ((settled,),) = session.all(_DELETE, values)
        if settled:
            return _are_in(settled, names)
    values |= {
        'acts': array(acts),
        'ends': array([item.end(now) for item in settlements]),
        'ttls': array([item.seconds for item in settlements]),
        'uncounted': array([int(not item.failed) for item in settlements]),
        'reasons': array([_bytea(item.reason) for item in settlements]),
    }
    ((count, settled),) = session.all(_STATEMENT, values)
    if not count:
        queue_row.check_gone(session, qid, takes_groups=False)
        return None
    return _are_in(settled, names)


def _are_in(settled: str | None, names: Sequence[str]) -> Sequence[bool]:
    """Tell which names are among those that a statement returns."""
    held = frozenset(settled.split(',') if settled else ())
    return [name in held for name in names]


def _bytea(reason: str | None) -> str | None:
    if reason is None:
        return None
    return f'\\x{rejection_reason_encoding.encode(reason).hex()}'
