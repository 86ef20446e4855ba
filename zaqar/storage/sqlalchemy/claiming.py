# SPDX-License-Identifier: Apache-2.0
"""Claims, and pops, which are claims that end with a deletion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zaqar.models import Claim, Message
from zaqar.storage.base import MAX_EXHAUSTED
from zaqar.storage.group_commit import Sharing
from zaqar.storage.sqlalchemy import queue_state
from zaqar.storage.sqlalchemy.claimable_rows import FreeRows, select_free
from zaqar.storage.sqlalchemy.message_rows import (
    CLAIMED,
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
#: The condition that rows are as :func:`select_free` has locked them: a Galera
#: node ends locks of its own when another one gets ahead. An expression, so
#: that the rows are found by their key.
_STILL_FREE = 'wake_at + 0 <= :selected_at'

#: The condition that the metadata of a claim is not too old.
_IS_CURRENT = (
    '(SELECT least_version FROM message_queue WHERE qid = :qid) <= :version'
)


class RepeatedClaimError(Exception):
    """The claim exists; nothing more is claimed."""


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


class ClaimRequest(msgspec.Struct, frozen=True):
    """A call of :meth:`zaqar.storage.base.MessageStore.claim`.

    :ivar lifetime: see :func:`lifetime_values`
    """

    qid: str
    claim_id: str
    lifetime: Mapping[str, Any]
    limit: int
    max_claims: int = 0
    version: int | None = None

    @property
    def terms(self) -> tuple[int, int | None]:
        """What determines the messages to which it is entitled."""
        return self.max_claims, self.version

    def free_rows(self, limit: int) -> FreeRows:
        """Return what may be handed out."""
        fresh = f'AND {IS_FRESH}' if self.max_claims else ''
        return FreeRows(self.values, limit, fresh + self._current)

    def exhausted_rows(self, taken: Sequence[Row], limit: int) -> FreeRows:
        """Return the exhausted ones before the last one taken."""
        condition = f'AND {IS_EXHAUSTED}{self._current}'
        if len(taken) < limit:
            return FreeRows(self.values, MAX_EXHAUSTED, condition)
        values = {**self.values, 'last': taken[-1][1]}
        return FreeRows(
            values, MAX_EXHAUSTED, f'{condition} AND m.seq < :last'
        )

    @property
    def _current(self) -> str:
        return '' if self.version is None else f' AND {_IS_CURRENT}'

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of its statements."""
        return {
            **self.lifetime,
            'qid': self.qid,
            'claim_id': self.claim_id,
            'max': self.max_claims,
            'version': self.version,
        }


def claim(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Claim messages within a transaction.

    :raises RepeatedClaimError: there is such a claim; roll back
    """
    values = request.values
    taken = select_free(session, request.free_rows(request.limit))
    exhausted = _exhausted(session, request, taken, request.limit)
    if not taken and not exhausted:
        return repeated_claim(session, request)
    values['queue_id'] = (taken or exhausted)[0][0]
    values['selected_at'] = values['now']
    insert = queue_state.insert_ignoring(session.dialect, _CLAIM)
    if not session.run(insert, values):
        raise RepeatedClaimError
    return _hold(session, request, values, taken, exhausted)


def claim_together(
    session: SqlSession, requests: Sequence[ClaimRequest]
) -> list[Claim | Sharing | None]:
    """Claim messages of a queue for several callers in a transaction.

    They get consecutive shares of its first free rows. That a claim is new
    shows in its INSERT."""
    first = requests[0]
    # With other terms the same rows would be found again.
    places = [
        place
        for place, request in enumerate(requests)
        if request.terms == first.terms
    ]
    share = [requests[place] for place in places]
    limit = sum(one.limit for one in share)
    rows = select_free(session, first.free_rows(limit))
    exhausted = _exhausted(session, first, rows, limit)
    claims: list[Claim | Sharing | None] = [Sharing.DO_ALONE] * len(requests)
    parts = _share_out(session, share, rows, exhausted)
    for place, part in zip(places, parts, strict=True):
        claims[place] = part
    return claims


def _share_out(
    session: SqlSession,
    requests: Sequence[ClaimRequest],
    rows: Sequence[Row],
    exhausted: Sequence[Row],
) -> list[Claim | Sharing | None]:
    """Give rows of a queue to those who claim there, in order."""
    claims: list[Claim | Sharing | None] = []
    for request in requests:
        taken, rows = rows[: request.limit], rows[request.limit :]
        if not taken and not exhausted:
            # The others need not wait while it is found out why.
            alone = len(requests) == 1
            claims.append(
                repeated_claim(session, request) if alone else Sharing.DO_ALONE
            )
            continue
        values = request.values
        values['queue_id'] = (taken or exhausted)[0][0]
        values['selected_at'] = requests[0].lifetime['now']
        session.later(_CLAIM, values)
        claims.append(_hold(session, request, values, taken, exhausted))
        exhausted = []
    return claims


def _hold(
    session: SqlSession,
    request: ClaimRequest,
    values: dict[str, Any],
    taken: Sequence[Row],
    exhausted: Sequence[Row],
) -> Claim:
    """Put rows into a new claim."""
    counted = int(bool(request.max_claims))
    _update(session, values, taken, f'{COUNT} + {counted}')
    _update(session, values, exhausted, COUNT_EXHAUSTED)
    return Claim(
        request.claim_id,
        values['ttl'],
        values['end'],
        [_message(row, request.claim_id, values, counted) for row in taken],
        [_message(row, request.claim_id, values, 0) for row in exhausted],
    )


def _exhausted(
    session: SqlSession,
    request: ClaimRequest,
    taken: Sequence[Row],
    limit: int,
) -> list[Row]:
    if not request.max_claims:
        return []
    return select_free(session, request.exhausted_rows(taken, limit))


def _update(
    session: SqlSession,
    values: dict[str, Any],
    rows: Sequence[Row],
    count: str,
) -> None:
    if rows:
        seqs = [row[1] for row in rows]
        session.later(
            'UPDATE message SET state = 1, wake_at = :end, '
            f'claim_id = :claim_id, claim_count = {count}, '
            f'{PROLONG} WHERE queue_id = :queue_id '
            f'AND seq IN ({placeholders("s", len(seqs))}) AND {_STILL_FREE}',
            {**values, **placeholder_values('s', seqs)},
            rows=len(seqs),
        )


def _message(
    row: Row, claim_id: str, values: dict[str, Any], more: int
) -> Message:
    """Build a message as the claim has updated it."""
    *start, ttl, created_at, client, _, _, _, count, checksum, expires_at = row
    end = values['end']
    if expires_at < end:
        ttl, expires_at = values['raised'], values['raised_end']
    held = (CLAIMED, end, claim_id, count + more)
    updated = (*start, ttl, created_at, client, *held, checksum, expires_at)
    return message(updated, values['now'])


def repeated_claim(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Return the claim that a call without free messages repeats, if any."""
    least = queue_state.check_gone(session, request.qid)
    claim = repeated(session, request)
    if claim is None:
        queue_state.check_version(request.version, least)
    return claim


def repeated(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Return a claim whose first answer was lost, as it was then."""
    claim_id, now = request.claim_id, request.lifetime['now']
    rows = _held_rows(session, request.qid, claim_id, now)
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
    rows = select_free(session, FreeRows(values, limit))
    if not rows:
        queue_state.check_gone(session, qid)
        return []
    seqs = [row[1] for row in rows]
    session.later(
        'DELETE FROM message WHERE queue_id = :id '
        f'AND seq IN ({placeholders("s", len(seqs))}) AND {_STILL_FREE}',
        {
            'id': rows[0][0],
            'selected_at': now,
            **placeholder_values('s', seqs),
        },
        rows=len(seqs),
    )
    queue_state.subtract_live(session, rows[0][0], len(rows))
    return [message(row, now) for row in rows]
