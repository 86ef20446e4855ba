# SPDX-License-Identifier: Apache-2.0
"""Claims, and pops, which are claims that end with a deletion.

A row is free when its state says so, and also when its claim has expired or
its delay has passed and it was not updated since: those are found by a second
query, which is usually empty. Rows that a rival has locked are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zaqar.models import Claim, Message
from zaqar.storage.base import MAX_EXHAUSTED
from zaqar.storage.sqlalchemy import queue_state
from zaqar.storage.sqlalchemy.message_rows import (
    COLUMNS,
    EXHAUSTED,
    QUEUE,
    index_hint,
    message,
)
from zaqar.storage.sqlalchemy.statement_execution import (
    Row,
    SqlSession,
    placeholder_values,
    placeholders,
)

#: The two conditions for free rows. ``wake_at > 0`` is for engines whose index
#: holds all rows.
FREE = 'm.state = 0 AND m.expires_at > :now'
WOKEN = (
    'm.state > 0 AND m.wake_at > 0 AND m.wake_at <= :now '
    'AND m.expires_at > :now'
)
_INDEXES = {FREE: 'message_free', WOKEN: 'message_waking'}
_HELD = (
    f'SELECT {COLUMNS}, c.ttl, c.expires_at FROM claim c JOIN message m%s '
    f'ON m.queue_id = c.queue_id AND m.claim_id = c.id '
    f'WHERE c.queue_id = {QUEUE} AND c.id = :claim_id '
    'AND c.expires_at > :now AND m.state = 1 AND m.expires_at > :now '
    'ORDER BY m.seq'
)
#: Prolongs lifetimes; ``ttl`` comes first, since MySQL uses the new values of
#: columns that were set before.
PROLONG = (
    'ttl = CASE WHEN expires_at < :end THEN :raised ELSE ttl END, '
    'expires_at = CASE WHEN expires_at < :end THEN :raised_end '
    'ELSE expires_at END'
)
#: Counts without the bit :data:`EXHAUSTED`, and with it.
COUNT = f'(claim_count & {EXHAUSTED - 1})'
COUNT_EXHAUSTED = f'(claim_count | {EXHAUSTED})'
IS_FRESH = f'{COUNT} < :max'
IS_EXHAUSTED = f'{COUNT} >= :max'
_CLAIM = (
    'INSERT INTO claim (queue_id, id, ttl, expires_at) '
    'VALUES (:queue_id, :claim_id, :ttl, :end)'
)


#: The condition that the metadata of a claim is not too old.
_IS_CURRENT = (
    '(SELECT least_version FROM message_queue WHERE qid = :qid) <= :version'
)


class RepeatedClaimError(Exception):
    """The claim exists; nothing more is claimed."""


def candidates(dialect: str, where: str, count: str, limit: int) -> str:
    """Return a SELECT of the first rows that meet a condition."""
    hint = index_hint(dialect, _INDEXES[where])
    return (
        f'SELECT {COLUMNS} FROM message m{hint} WHERE m.queue_id = {QUEUE} '
        f'AND {where} {count} ORDER BY m.seq LIMIT {limit}'
    )


def select_free(
    session: SqlSession, values: dict[str, Any], limit: int, count: str = ''
) -> list[Row]:
    """Return and lock the first free rows of a queue."""
    rows: list[Row] = []
    for where in (FREE, WOKEN):
        sql = candidates(session.dialect, where, count, limit)
        rows += session.all(
            queue_state.for_update(session, sql, skip=True), values
        )
    return sorted(rows, key=lambda row: row[1])[:limit]


def lifetime_values(now: int, ttl: int, grace: int) -> dict[str, Any]:
    """Return the parameters that determine lifetimes."""
    end = now + ttl * 1000
    return {
        'now': now,
        'ttl': ttl,
        'end': end,
        'raised': ttl + grace,
        'raised_end': end + grace * 1000,
    }


def claim(
    session: SqlSession,
    qid: str,
    claim_id: str,
    values: dict[str, Any],
    limit: int,
    max_claims: int,
    version: int | None,
) -> Claim | None:
    """Claim messages within a transaction.

    :raises RepeatedClaimError: there is such a claim; roll back
    """
    values = {**values, 'qid': qid, 'claim_id': claim_id, 'max': max_claims}
    below = f'AND {IS_FRESH}' if max_claims else ''
    if version is not None:
        values['version'] = version
        below += f' AND {_IS_CURRENT}'
    taken = select_free(session, values, limit, below)
    exhausted: list[Row] = []
    if max_claims:
        exhausted = _exhausted(session, values, taken, limit, version)
    if not taken and not exhausted:
        return repeated_claim(session, qid, claim_id, values['now'], version)
    values['queue_id'] = (taken or exhausted)[0][0]
    insert = queue_state.insert_ignoring(session.dialect, _CLAIM)
    if not session.run(insert, values):
        raise RepeatedClaimError
    _update(session, values, taken, f'{COUNT} + {int(bool(max_claims))}')
    _update(session, values, exhausted, COUNT_EXHAUSTED)
    return _new_claim(claim_id, values, taken, exhausted, bool(max_claims))


def _exhausted(
    session: SqlSession,
    values: dict[str, Any],
    taken: Sequence[Row],
    limit: int,
    version: int | None,
) -> list[Row]:
    """Return rows before the last one taken that are exhausted."""
    count = f'AND {IS_EXHAUSTED}'
    if version is not None:
        count += f' AND {_IS_CURRENT}'
    if len(taken) == limit:
        count += ' AND m.seq < :last'
        values = {**values, 'last': taken[-1][1]}
    return select_free(session, values, MAX_EXHAUSTED, count)


def _update(
    session: SqlSession,
    values: dict[str, Any],
    rows: Sequence[Row],
    count: str,
) -> None:
    if rows:
        seqs = [row[1] for row in rows]
        session.run(
            'UPDATE message SET state = 1, wake_at = :end, '
            f'claim_id = :claim_id, claim_count = {count}, '
            f'{PROLONG} WHERE queue_id = :queue_id '
            f'AND seq IN ({placeholders("s", len(seqs))})',
            {**values, **placeholder_values('s', seqs)},
        )


def _new_claim(
    claim_id: str,
    values: dict[str, Any],
    taken: Sequence[Row],
    exhausted: Sequence[Row],
    counted: bool,
) -> Claim:
    return Claim(
        claim_id,
        values['ttl'],
        values['end'],
        [_message(row, claim_id, values, int(counted)) for row in taken],
        [_message(row, claim_id, values, 0) for row in exhausted],
    )


def _message(
    row: Row, claim_id: str, values: dict[str, Any], more: int
) -> Message:
    """Build a message as the claim has updated it."""
    before = message(row, values['now'])
    expires = before.expires_at < values['end']
    return replace(
        before,
        claim_id=claim_id,
        claim_count=before.claim_count + more,
        ttl=values['raised'] if expires else before.ttl,
        expires_at=values['raised_end'] if expires else before.expires_at,
    )


def repeated_claim(
    session: SqlSession, qid: str, claim_id: str, now: int, version: int | None
) -> Claim | None:
    """Return the claim that a call without free messages repeats, if any."""
    least = queue_state.check_gone(session, qid)
    claim = repeated(session, qid, claim_id, now)
    if claim is None:
        queue_state.check_version(version, least)
    return claim


def repeated(
    session: SqlSession, qid: str, claim_id: str, now: int
) -> Claim | None:
    """Return a claim whose first answer was lost, as it was then."""
    rows = _held_rows(session, qid, claim_id, now)
    exhausted = [row for row in rows if row[11] & EXHAUSTED]
    fresh = [row for row in rows if not row[11] & EXHAUSTED]
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
    return session.all(_HELD % _by_claim(session), values)


def _stored_claim(
    claim_id: str, now: int, fresh: Sequence[Row], exhausted: Sequence[Row]
) -> Claim:
    ttl, expires_at = (*fresh, *exhausted)[0][14:]
    return Claim(
        claim_id,
        ttl,
        expires_at,
        [message(row, now) for row in fresh],
        [message(row, now) for row in exhausted],
    )


def renew(
    session: SqlSession, qid: str, claim_id: str, values: dict[str, Any]
) -> bool:
    """Prolong a claim and its messages, within a transaction."""
    values = {**values, 'qid': qid, 'claim_id': claim_id}
    queue, values = queue_state.queue_for_change(session, values)
    renewed = session.run(
        'UPDATE claim SET ttl = :ttl, expires_at = :end '
        f'WHERE queue_id = {queue} AND id = :claim_id '
        'AND expires_at > :now',
        values,
    )
    if not renewed and not _is_unchanged(session, values):
        queue_state.check_gone(session, qid)
        return False
    session.run(
        f'UPDATE message{_by_claim(session)} SET wake_at = :end, {PROLONG} '
        f'WHERE queue_id = {queue} AND claim_id = :claim_id '
        'AND state = 1 AND expires_at > :now',
        values,
    )
    return True


def _by_claim(session: SqlSession) -> str:
    return index_hint(session.dialect, 'message_claim')


def _is_unchanged(session: SqlSession, values: dict[str, Any]) -> bool:
    # MySQL does not count a row that an UPDATE leaves as it was.
    return session.dialect == 'mysql' and bool(
        session.one(
            f'SELECT 1 FROM claim WHERE queue_id = {QUEUE} '
            'AND id = :claim_id AND expires_at > :now',
            values,
        )
    )


def release(session: SqlSession, qid: str, claim_id: str) -> None:
    """Free the messages of a claim, within a transaction."""
    queue, values = queue_state.queue_for_change(
        session, {'qid': qid, 'claim_id': claim_id}
    )
    freed = session.run(
        f'UPDATE message{_by_claim(session)} '
        'SET state = 0, wake_at = 0, claim_id = NULL '
        f'WHERE queue_id = {queue} AND claim_id = :claim_id AND state = 1',
        values,
    )
    deleted = session.run(
        f'DELETE FROM claim WHERE queue_id = {queue} AND id = :claim_id',
        values,
    )
    if not freed and not deleted:
        queue_state.check_gone(session, qid)


def pop(
    session: SqlSession, qid: str, now: int, limit: int
) -> Sequence[Message]:
    """Take and delete free messages within a transaction."""
    values = {'qid': qid, 'now': now}
    rows = select_free(session, values, limit)
    if not rows:
        queue_state.check_gone(session, qid)
        return []
    seqs = [row[1] for row in rows]
    session.run(
        'DELETE FROM message WHERE queue_id = :id '
        f'AND seq IN ({placeholders("s", len(seqs))})',
        {'id': rows[0][0], **placeholder_values('s', seqs)},
    )
    queue_state.subtract_live(session, rows[0][0], len(rows))
    return [message(row, now) for row in rows]
