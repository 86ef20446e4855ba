# SPDX-License-Identifier: Apache-2.0
"""Claims: made and read."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zaqar.objects import Claim
from zaqar.storage.base import MAX_EXHAUSTED
from zaqar.storage.sqlalchemy import (
    claimable_rows_of_groups,
    group_repairs,
    message_queries,
    queue_state,
)
from zaqar.storage.sqlalchemy.claimable_rows import FreeRows, select_free
from zaqar.storage.sqlalchemy.claimable_rows_of_groups import Taken
from zaqar.storage.sqlalchemy.message_rows import (
    COLUMNS,
    EXHAUSTED,
    claimed,
    count_of,
    expiry_of,
    hold_of,
    is_free,
    message,
    queue_id_of,
    rest_of,
    seq_of,
)
from zaqar.storage.sqlalchemy.message_sql_fragments import QUEUE, index_hint
from zaqar.storage.sqlalchemy.statement_execution import (
    Row,
    SqlSession,
    placeholder_values,
    placeholders,
)

_HELD = (
    f'SELECT {COLUMNS}, c.ttl FROM claim c JOIN message m%s '
    f'ON m.queue_id = c.queue_id AND m.claim_id = c.id '
    f'WHERE c.queue_id = {QUEUE} AND c.id = :claim_id '
    'AND c.expires_at > :now AND m.state = 1 AND m.wake_at > :now '
    'AND m.expires_at > :now ORDER BY m.seq'
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
INSERT_CLAIM = (
    'INSERT INTO claim (queue_id, id, ttl, expires_at) '
    'VALUES (:queue_id, :claim_id, :ttl, :end)'
)
#: Makes a dead claim live again.
_REVIVE = (
    'UPDATE claim SET ttl = :ttl, expires_at = :end '
    'WHERE queue_id = :queue_id AND id = :claim_id '
    'AND expires_at + 0 <= :now'
)
#: The condition that rows are as they were locked, or read behind one of their
#: group that is: a Galera node ends locks of its own when another one gets
#: ahead. An expression, so that the rows are found by their key.
STILL_FREE = 'wake_at + 0 <= :selected_at'

#: The id of a live queue, if the metadata of a claim are not too old.
_CURRENT_QUEUE = f'{QUEUE[:-1]} AND least_version <= :version)'


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
    :ivar passes_woken: see :class:`.claimable_rows.FreeRows`
    """

    qid: str
    claim_id: str
    lifetime: Mapping[str, Any]
    limit: int
    max_claims: int = 0
    version: int | None = None
    passes_woken: bool = False

    def at(self, now: int) -> ClaimRequest:
        """Return it as of another time."""
        ttl, raised = self.lifetime['ttl'], self.lifetime['raised']
        lifetime = lifetime_values(now, ttl, raised - ttl)
        return msgspec.structs.replace(self, lifetime=lifetime)

    @property
    def terms(self) -> tuple[int, int | None, bool]:
        """What determines the messages to which it is entitled."""
        return self.max_claims, self.version, self.passes_woken

    def free_rows(self, limit: int) -> FreeRows:
        """Return what may be handed out."""
        fresh = f'AND {IS_FRESH}' if self.max_claims else ''
        return self._rows(self.values, limit, fresh)

    def exhausted_rows(self, taken: Sequence[Row], limit: int) -> FreeRows:
        """Return the exhausted ones before the last one taken."""
        values, condition = self.values, f'AND {IS_EXHAUSTED}'
        if len(taken) == limit:
            values['last'] = seq_of(taken[-1])
            condition += ' AND m.seq < :last'
        return self._rows(values, MAX_EXHAUSTED, condition)

    def _rows(
        self, values: Mapping[str, Any], limit: int, condition: str
    ) -> FreeRows:
        queue = QUEUE if self.version is None else _CURRENT_QUEUE
        return FreeRows(values, limit, condition, queue, self.passes_woken)

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


class Share(msgspec.Struct, frozen=True):
    """What a claim gets: rows of its queue, in order."""

    request: ClaimRequest
    taken: Sequence[Row]
    exhausted: Sequence[Row]

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of its row, and of changes of its messages."""
        queue_id = queue_id_of((self.taken or self.exhausted)[0])
        return {**self.request.values, 'queue_id': queue_id}

    def claim(self) -> Claim:
        """Return the claim."""
        values, claim_id = self.request.lifetime, self.request.claim_id
        return Claim(
            claim_id,
            values['ttl'],
            values['end'],
            [claimed(row, claim_id, values, 1) for row in self.taken],
            [claimed(row, claim_id, values, 0) for row in self.exhausted],
        )


def claim(
    session: SqlSession,
    request: ClaimRequest,
    only: Sequence[str] | None = None,
) -> Claim | None:
    """Claim messages within a transaction.

    :raises RepeatedClaimError: there is such a claim; roll back
    :raises WokenGroupsError: some groups must go on before
    """
    if only is not None:
        taken = Taken(_select_named(session, request, only), [])
    else:
        taken = _select(session, request)
    if not any(taken):
        try:
            return repeated_claim(session, request)
        except claimable_rows_of_groups.IncompleteSearchError:
            if only is None and group_repairs.reveal(session, request.values):
                taken = _select(session, request)
        if not any(taken):
            return None
    share = Share(request, *taken)
    insert = queue_state.insert_ignoring(session.dialect, INSERT_CLAIM)
    if not session.run(insert, share.values) and not session.run(
        _REVIVE, share.values
    ):
        raise RepeatedClaimError
    hold(session, [share])
    return share.claim()


def _select_named(
    session: SqlSession, request: ClaimRequest, ids: Sequence[str]
) -> list[Row]:
    """Return and lock the free rows among those of some messages."""
    now = request.lifetime['now']
    rows = [
        row
        for row in message_queries.find(
            session, request.qid, ids, now, lock=True
        )
        if is_free(row, now)
    ]
    if rows and request.version is not None:
        queue = queue_state.check_gone(session, request.qid)
        queue_state.check_version(request.version, queue.least_version)
    return rows[: request.limit]


def hold(session: SqlSession, shares: Sequence[Share]) -> None:
    """Put rows into new claims, at once where these have the same terms."""
    alike: dict[tuple[Any, ...], list[tuple[dict[str, Any], Share]]] = {}
    for share in shares:
        values = share.values
        key = values['ttl'], values['raised'], values['max']
        alike.setdefault(key, []).append((values, share))
    for group in alike.values():
        fresh = [(values, one.taken) for values, one in group]
        _update(session, fresh, f'{COUNT} + 1')
        exhausted = [(values, one.exhausted) for values, one in group]
        _update(session, exhausted, COUNT_EXHAUSTED)


def _select(session: SqlSession, request: ClaimRequest) -> Taken:
    """Return and lock what a claim gets."""
    limit = request.limit
    return claimable_rows_of_groups.select_all(
        session,
        request.free_rows(limit),
        lambda rows: select_exhausted(session, request, rows, limit),
        request.max_claims,
    )


def select_exhausted(
    session: SqlSession,
    request: ClaimRequest,
    taken: Sequence[Row],
    limit: int,
) -> list[Row]:
    """Return and lock exhausted rows before the last one taken."""
    if not request.max_claims:
        return []
    return select_free(session, request.exhausted_rows(taken, limit))


def _update(
    session: SqlSession,
    parts: Sequence[tuple[Mapping[str, Any], Sequence[Row]]],
    count: str,
) -> None:
    """Put rows into claims of the same lifetime.

    :param parts: parameters of each claim, and its rows
    """
    values: dict[str, Any] = {}
    prolongs = False
    for place, (own, rows) in enumerate(parts):
        if not rows:
            continue
        prolongs |= min(map(expiry_of, rows)) < own['end']
        seqs = [*map(seq_of, rows)]
        values |= {
            **own,
            f'queue{place}': own['queue_id'],
            f'last{place}': seqs[-1],
            f'claim{place}': own['claim_id'],
            **placeholder_values(f'seq{place}_', seqs),
        }
    if not values:
        return
    counts = tuple(len(rows) for _, rows in parts)
    # Shared ones differ too much to be made once.
    text = (_usual_update if len(counts) == 1 else _update_of)(
        session.dialect, counts, count, prolongs
    )
    session.later(
        text,
        {**values, 'selected_at': values['now']},
        rows=sum(counts),
    )


def _update_of(
    dialect: str, counts: tuple[int, ...], count: str, prolongs: bool
) -> str:
    """Return SQL that puts so many rows into each of several claims.

    :param prolongs: whether one of them may expire before its claim. To set a
        column to what it is takes SQLite as long as to change it.
    """
    conditions: list[str] = []
    claims: list[str] = []
    for place, rows in enumerate(counts):
        if rows:
            queue = f'queue_id = :queue{place} AND seq'
            keys = placeholders(f'seq{place}_', rows)
            conditions.append(f'{queue} IN ({keys})')
            claims.append(f'WHEN {queue} <= :last{place} THEN :claim{place}')
    hint = ''
    if dialect == 'mysql':
        # By another index it would wait for rows that others have locked.
        hint = index_hint(dialect, 'PRIMARY')
    life = f', {PROLONG}' if prolongs else ''
    return (
        f'UPDATE message{hint} SET state = 1, wake_at = :end, '
        f'claim_id = CASE {" ".join(claims)} END, claim_count = {count}'
        f'{life} WHERE (({") OR (".join(conditions)})) AND {STILL_FREE}'
    )


_usual_update = functools.lru_cache(maxsize=512)(_update_of)


def repeated_claim(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Return the claim that a call without free messages repeats, if any.

    :raises IncompleteSearchError: there is none, but some groups may go on
    """
    queue = queue_state.check_gone(session, request.qid)
    claim = repeated(session, request)
    if claim is None:
        queue_state.check_version(request.version, queue.least_version)
        if queue.grouped and group_repairs.has_hidden(session, request.values):
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
