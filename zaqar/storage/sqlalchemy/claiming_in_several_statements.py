# SPDX-License-Identifier: Apache-2.0
"""Claiming of messages in one transaction, by several statements."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zaqar.objects import Claim
from zaqar.storage.sqlalchemy import (
    claimable_rows_of_groups,
    dialect_clauses,
    expired_group_heads,
    message_reading,
    queue_row,
)
from zaqar.storage.sqlalchemy.claim_request import ClaimRequest
from zaqar.storage.sqlalchemy.claimable_rows import select_free
from zaqar.storage.sqlalchemy.claimable_rows_of_groups import Taken
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint
from zaqar.storage.sqlalchemy.message_rows import (
    claimed,
    expiry_of,
    is_free,
    queue_id_of,
    seq_of,
)
from zaqar.storage.sqlalchemy.message_sql_fragments import (
    COUNT,
    COUNT_EXHAUSTED,
    PROLONG,
    STILL_FREE,
)
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import (
    placeholder_values,
    placeholders,
)
from zaqar.storage.sqlalchemy.stored_claims import repeated_claim

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


class RepeatedClaimError(Exception):
    """The claim exists; nothing more is claimed."""


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
            if only is None and expired_group_heads.reveal(
                session, request.values
            ):
                taken = _select(session, request)
        if not any(taken):
            return None
    share = Share(request, *taken)
    insert = dialect_clauses.insert_ignoring(session.dialect, INSERT_CLAIM)
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
        for row in message_reading.find(
            session, request.qid, ids, now, lock=True
        )
        if is_free(row, now)
    ]
    if rows and request.version is not None:
        queue = queue_row.check_gone(session, request.qid)
        queue_row.check_version(request.version, queue.least_version)
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
