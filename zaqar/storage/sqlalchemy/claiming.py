# SPDX-License-Identifier: Apache-2.0
"""Taking messages: claims, and pops, which are claims without a return.

A row is free when its state says so, and also when its claim has lapsed or
its delay has passed and nobody has touched it since: those are found by a
second, usually empty look. Rows that a rival is taking are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zaqar.models import Claim, Message
from zaqar.storage.base import MAX_EXHAUSTED
from zaqar.storage.sqlalchemy import queue_rows
from zaqar.storage.sqlalchemy.rows import (
    COLUMNS,
    QUEUE,
    SPENT,
    message,
    order,
    using,
)
from zaqar.storage.sqlalchemy.session import Row, Session, marks, named

#: The two ways of being free. ``wake_at > 0`` is for engines whose index
#: holds free rows too.
_FREE = 'm.state = 0 AND m.expires_at > :now'
_WOKEN = (
    'm.state > 0 AND m.wake_at > 0 AND m.wake_at <= :now '
    'AND m.expires_at > :now'
)
_INDEXES = {_FREE: 'message_free', _WOKEN: 'message_waking'}
_HELD = (
    f'SELECT {COLUMNS}, c.ttl, c.expires_at FROM claim c JOIN message m%s '
    f'ON m.queue_id = c.queue_id AND m.claim_id = c.id '
    f'WHERE c.queue_id = {QUEUE} AND c.id = :claim_id '
    'AND c.expires_at > :now AND m.state = 1 AND m.expires_at > :now '
    'ORDER BY m.seq'
)
#: Lifetimes; ``ttl`` comes first, since MySQL sees the new value of what
#: stands before.
_LIVE_ON = (
    'ttl = CASE WHEN expires_at < :end THEN :raised ELSE ttl END, '
    'expires_at = CASE WHEN expires_at < :end THEN :raised_end '
    'ELSE expires_at END'
)
#: Counts without the mark :data:`SPENT`, and with it.
_COUNT = f'(claim_count & {SPENT - 1})'
_MARKED = f'(claim_count | {SPENT})'
_IS_FRESH = f'{_COUNT} < :max'
_IS_SPENT = f'{_COUNT} >= :max'
_CLAIM = (
    'INSERT INTO claim (queue_id, id, ttl, expires_at) '
    'VALUES (:queue_id, :claim_id, :ttl, :end)'
)


#: The metadata that the claim is made with is not too old.
_IS_CURRENT = (
    '(SELECT least_version FROM message_queue WHERE qid = :qid) <= :version'
)


class RepeatedClaimError(Exception):
    """The claim has been made before; nothing more is to be taken."""


def candidates(dialect: str, where: str, count: str, limit: int) -> str:
    """Return a SELECT of the first rows that are free in one way."""
    hint = using(dialect, _INDEXES[where])
    return (
        f'SELECT {COLUMNS} FROM message m{hint} WHERE m.queue_id = {QUEUE} '
        f'AND {where} {count} ORDER BY m.seq LIMIT {limit}'
    )


def select_free(
    session: Session, values: dict[str, Any], limit: int, count: str = ''
) -> list[Row]:
    """Return and lock the first free rows of a queue."""
    rows: list[Row] = []
    for where in (_FREE, _WOKEN):
        sql = candidates(session.dialect, where, count, limit)
        rows += session.all(
            queue_rows.locking(session, sql, skip=True), values
        )
    return sorted(rows, key=lambda row: row[1])[:limit]


def terms(now: int, ttl: int, grace: int) -> dict[str, Any]:
    """Return the values that lifetimes are reckoned with."""
    end = now + ttl * 1000
    return {
        'now': now,
        'ttl': ttl,
        'end': end,
        'raised': ttl + grace,
        'raised_end': end + grace * 1000,
    }


def claim(
    session: Session,
    qid: str,
    claim_id: str,
    values: dict[str, Any],
    limit: int,
    max_claims: int,
    version: int | None,
) -> Claim | None:
    """Claim messages within a transaction.

    :raises RepeatedClaimError: there is such a claim; roll back
    :raises StaleMetadata: the version is too old
    """
    values = {**values, 'qid': qid, 'claim_id': claim_id, 'max': max_claims}
    below = f'AND {_IS_FRESH}' if max_claims else ''
    if version is not None:
        values['version'] = version
        below += f' AND {_IS_CURRENT}'
    taken = select_free(session, values, limit, below)
    spent: list[Row] = []
    if max_claims:
        spent = _exhausted(session, values, taken, limit, version)
    if not taken and not spent:
        return _nothing(session, qid, claim_id, values['now'], version)
    values['queue_id'] = (taken or spent)[0][0]
    insert = queue_rows.ignoring(session.dialect, _CLAIM)
    if not session.run(insert, values):
        raise RepeatedClaimError
    _hold(session, values, taken, f'{_COUNT} + {int(bool(max_claims))}')
    _hold(session, values, spent, _MARKED)
    return _made(claim_id, values, taken, spent, bool(max_claims))


def _exhausted(
    session: Session,
    values: dict[str, Any],
    taken: Sequence[Row],
    limit: int,
    version: int | None,
) -> list[Row]:
    """Return rows met on the way that were handed out too often."""
    count = f'AND {_IS_SPENT}'
    if version is not None:
        count += f' AND {_IS_CURRENT}'
    if len(taken) == limit:
        count += ' AND m.seq < :last'
        values = {**values, 'last': taken[-1][1]}
    return select_free(session, values, MAX_EXHAUSTED, count)


def _hold(
    session: Session, values: dict[str, Any], rows: Sequence[Row], count: str
) -> None:
    if rows:
        seqs = [row[1] for row in rows]
        session.run(
            'UPDATE message SET state = 1, wake_at = :end, '
            f'claim_id = :claim_id, claim_count = {count}, '
            f'{_LIVE_ON} WHERE queue_id = :queue_id '
            f'AND seq IN ({marks("s", len(seqs))})',
            {**values, **named('s', seqs)},
        )


def _made(
    claim_id: str,
    values: dict[str, Any],
    taken: Sequence[Row],
    spent: Sequence[Row],
    counted: bool,
) -> Claim:
    return Claim(
        claim_id,
        values['ttl'],
        values['end'],
        [_held(row, claim_id, values, int(counted)) for row in taken],
        [_held(row, claim_id, values, 0) for row in spent],
    )


def _held(
    row: Row, claim_id: str, values: dict[str, Any], more: int
) -> Message:
    """Build a message as the claim has left it."""
    found = message(row, values['now'])
    dies = found.expires_at < values['end']
    return replace(
        found,
        claim_id=claim_id,
        claim_count=found.claim_count + more,
        ttl=values['raised'] if dies else found.ttl,
        expires_at=values['raised_end'] if dies else found.expires_at,
    )


def _at_once(limit: int, counting: bool) -> str:
    """Return a claim as one statement (PostgreSQL)."""
    queue = '(SELECT id FROM q)'

    def free(where: str, count: str, most: int) -> str:
        return (
            f'SELECT m.seq FROM message m WHERE m.queue_id = {queue} '
            f'AND {where} {count} ORDER BY {order(where)} LIMIT {most} '
            'FOR UPDATE SKIP LOCKED'
        )

    below = f'AND {_IS_FRESH}' if counting else ''
    above = (
        f'AND {_IS_SPENT} AND m.seq < coalesce((SELECT max(seq) '
        f'FROM taken HAVING count(*) = {limit}), 9223372036854775807)'
    )
    spent = (
        f"""
        e AS ({free(_FREE, above, MAX_EXHAUSTED)}),
        f AS ({free(_WOKEN, above, MAX_EXHAUSTED)}),
        spent AS (SELECT seq FROM (SELECT * FROM e UNION ALL SELECT * FROM f)
            x ORDER BY seq LIMIT {MAX_EXHAUSTED}),"""
        if counting
        else ''
    )
    picked = 'SELECT seq, false AS spent FROM taken' + (
        ' UNION ALL SELECT seq, true FROM spent' if counting else ''
    )
    return f"""
    WITH q AS (
        SELECT id FROM message_queue q WHERE qid = :qid
        AND dropped_at IS NULL AND least_version <= :version
        AND NOT EXISTS (SELECT 1 FROM claim c
            WHERE c.queue_id = q.id AND c.id = :claim_id)),
    a AS ({free(_FREE, below, limit)}),
    b AS ({free(_WOKEN, below, limit)}),
    taken AS (SELECT seq FROM (SELECT * FROM a UNION ALL SELECT * FROM b) x
        ORDER BY seq LIMIT {limit}),{spent}
    picked AS ({picked}),
    u AS (
        UPDATE message m SET state = 1, wake_at = :end,
            claim_id = :claim_id, claim_count = CASE WHEN picked.spent
                THEN {_MARKED} ELSE {_COUNT} + {int(counting)} END,
            {_LIVE_ON}
        FROM picked WHERE m.queue_id = {queue} AND m.seq = picked.seq
        RETURNING {COLUMNS}, picked.spent),
    c AS (
        INSERT INTO claim (queue_id, id, ttl, expires_at)
        SELECT id, :claim_id, :ttl, :end FROM q
        WHERE EXISTS (SELECT 1 FROM picked))
    SELECT * FROM u ORDER BY seq
    """


_TEXTS: dict[tuple[int, bool], str] = {}


def claim_at_once(
    session: Session,
    qid: str,
    claim_id: str,
    values: dict[str, Any],
    limit: int,
    max_claims: int,
    version: int | None,
) -> Claim | None:
    """Claim messages in one statement (PostgreSQL)."""
    key = (limit, bool(max_claims))
    sql = _TEXTS.get(key) or _TEXTS.setdefault(key, _at_once(*key))
    rows = session.all(
        sql,
        {
            **values,
            'qid': qid,
            'claim_id': claim_id,
            'max': max_claims,
            'version': 2**63 - 1 if version is None else version,
        },
    )
    if not rows:
        return _nothing(session, qid, claim_id, values['now'], version)
    return Claim(
        claim_id,
        values['ttl'],
        values['end'],
        [message(row, values['now']) for row in rows if not row[14]],
        [message(row, values['now']) for row in rows if row[14]],
    )


def _nothing(
    session: Session, qid: str, claim_id: str, now: int, version: int | None
) -> Claim | None:
    """Return what a claim holds that took nothing, and so may be repeated.

    :raises QueueGone: the queue was dropped
    :raises StaleMetadata: the version is too old
    """
    least = queue_rows.check_gone(session, qid)
    claim = repeated(session, qid, claim_id, now)
    if claim is None:
        queue_rows.check_version(version, least)
    return claim


def repeated(
    session: Session, qid: str, claim_id: str, now: int
) -> Claim | None:
    """Return a claim whose first answer was lost, as it was made then."""
    rows = _held_rows(session, qid, claim_id, now)
    spent = [row for row in rows if row[11] & SPENT]
    fresh = [row for row in rows if not row[11] & SPENT]
    return _found(claim_id, now, fresh, spent) if rows else None


def held(session: Session, qid: str, claim_id: str, now: int) -> Claim | None:
    """Return a live claim that still holds messages, else None."""
    rows = _held_rows(session, qid, claim_id, now)
    return _found(claim_id, now, rows, ()) if rows else None


def _held_rows(
    session: Session, qid: str, claim_id: str, now: int
) -> Sequence[Row]:
    values = {'qid': qid, 'claim_id': claim_id, 'now': now}
    return session.all(_HELD % _by_claim(session), values)


def _found(
    claim_id: str, now: int, fresh: Sequence[Row], spent: Sequence[Row]
) -> Claim:
    ttl, expires_at = (*fresh, *spent)[0][14:]
    return Claim(
        claim_id,
        ttl,
        expires_at,
        [message(row, now) for row in fresh],
        [message(row, now) for row in spent],
    )


def renew(
    session: Session, qid: str, claim_id: str, values: dict[str, Any]
) -> bool:
    """Let a claim and its messages live on, within a transaction."""
    values = {**values, 'qid': qid, 'claim_id': claim_id}
    queue, values = queue_rows.for_change(session, values)
    found = session.run(
        'UPDATE claim SET ttl = :ttl, expires_at = :end '
        f'WHERE queue_id = {queue} AND id = :claim_id '
        'AND expires_at > :now',
        values,
    )
    if not found and not _unchanged(session, values):
        queue_rows.check_gone(session, qid)
        return False
    session.run(
        f'UPDATE message{_by_claim(session)} SET wake_at = :end, {_LIVE_ON} '
        f'WHERE queue_id = {queue} AND claim_id = :claim_id '
        'AND state = 1 AND expires_at > :now',
        values,
    )
    return True


def _by_claim(session: Session) -> str:
    return using(session.dialect, 'message_claim')


def _unchanged(session: Session, values: dict[str, Any]) -> bool:
    # MySQL does not count a row that an UPDATE leaves as it was.
    return session.dialect == 'mysql' and bool(
        session.one(
            f'SELECT 1 FROM claim WHERE queue_id = {QUEUE} '
            'AND id = :claim_id AND expires_at > :now',
            values,
        )
    )


def release(session: Session, qid: str, claim_id: str) -> None:
    """Free the messages of a claim, within a transaction."""
    queue, values = queue_rows.for_change(
        session, {'qid': qid, 'claim_id': claim_id}
    )
    freed = session.run(
        f'UPDATE message{_by_claim(session)} '
        'SET state = 0, wake_at = 0, claim_id = NULL '
        f'WHERE queue_id = {queue} AND claim_id = :claim_id AND state = 1',
        values,
    )
    gone = session.run(
        f'DELETE FROM claim WHERE queue_id = {queue} AND id = :claim_id',
        values,
    )
    if not freed and not gone:
        queue_rows.check_gone(session, qid)


def pop(session: Session, qid: str, now: int, limit: int) -> Sequence[Message]:
    """Take and delete free messages within a transaction."""
    values = {'qid': qid, 'now': now}
    rows = select_free(session, values, limit)
    if not rows:
        queue_rows.check_gone(session, qid)
        return []
    seqs = [row[1] for row in rows]
    session.run(
        'DELETE FROM message WHERE queue_id = :id '
        f'AND seq IN ({marks("s", len(seqs))})',
        {'id': rows[0][0], **named('s', seqs)},
    )
    queue_rows.take_away(session, rows[0][0], len(rows))
    return [message(row, now) for row in rows]
