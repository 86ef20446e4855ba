# SPDX-License-Identifier: Apache-2.0
"""The messages that can be taken with the first ones of their groups.

Consecutive ones, up to the first that is delayed; of all that can be taken
the oldest.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from zaqar.storage.abstract_stores import MAX_EXHAUSTED
from zaqar.storage.sqlalchemy.claimable_rows import FreeRows, select_free
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint, is_one_of
from zaqar.storage.sqlalchemy.expired_group_heads import reveal
from zaqar.storage.sqlalchemy.message_rows import (
    COLUMNS,
    EXHAUSTED,
    IN_GROUP,
    group_of,
    queue_id_of,
    rest_of,
    seq_of,
)
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import placeholder_values

#: Those behind the first message of a group. An expression, so that PostgreSQL
#: reads none of other groups.
_NEXT_ONES = (
    'SELECT m.seq, m.wake_at, m.claim_count FROM message m{hint} '
    'WHERE m.queue_id = :id AND m.group_key = :key AND m.seq > :seq '
    f'AND m.state + 0 = {IN_GROUP} AND m.expires_at > :now '
    'ORDER BY m.seq LIMIT {limit}'
)


class IncompleteSearchError(Exception):
    """There may be more than was found; nothing was changed."""


class Taken(NamedTuple):
    """Rows that are locked, in order; the others are exhausted."""

    rows: list[Row]
    exhausted: list[Row]

    def are_all(self, limit: int) -> bool:
        """Tell whether no others are to be taken, by what is known of groups.

        :param limit: how many are wanted
        """
        if any(group_of(row) is not None for row in self.exhausted):
            return False
        if len(self.rows) == limit:
            last = seq_of(self.rows[-1])
            return all((_next(row) or last) >= last for row in self.rows)
        return all(group_of(row) is None for row in self.rows)


def _next(row: Row) -> int | None:
    """Return the number of the next message of a group; see ``select``."""
    number: int | None = rest_of(row)[0]
    return number


def select_all(
    session: SqlSession,
    wanted: FreeRows,
    exhausted: Callable[[Sequence[Row]], list[Row]] = lambda _: [],
    max_claims: int = 0,
) -> Taken:
    """Return and lock what can be taken of a queue, within a transaction.

    :param exhausted: returns and locks those beside some rows
    """
    limit = wanted.limit
    taken, first = _select_first(session, wanted, exhausted)
    if not first:
        return taken
    if len(taken.rows) < limit and reveal(session, wanted.values):
        taken, first = _select_first(session, wanted, exhausted)
    if not taken.are_all(limit):
        taken = _with_next_ones(session, wanted, taken, first, max_claims)
    if len(taken.rows) == limit:
        last = seq_of(taken.rows[-1])
        before = [row for row in taken.exhausted if seq_of(row) < last]
        return Taken(taken.rows, before)
    return taken


def _select_first(
    session: SqlSession,
    wanted: FreeRows,
    exhausted: Callable[[Sequence[Row]], list[Row]],
) -> tuple[Taken, Sequence[Row]]:
    """Return what can be taken, and what of that is first in a group."""
    rows = select_free(session, wanted)
    taken = Taken(rows, exhausted(rows))
    every = (*taken.rows, *taken.exhausted)
    return taken, [row for row in every if group_of(row) is not None]


def _with_next_ones(
    session: SqlSession,
    wanted: FreeRows,
    taken: Taken,
    first: Iterable[Row],
    max_claims: int,
) -> Taken:
    """Add what comes next in the groups of some rows."""
    now, limit = wanted.values['now'], wanted.limit
    parts = [row for row in first if _next(row) is not None]
    if not parts:
        return taken
    queue_id = queue_id_of(parts[0])
    hint = index_hint(session.dialect, 'message_group_order')

    def read(depth: int) -> list[list[Row]]:
        sql = _NEXT_ONES.format(hint=hint, limit=depth)
        values = {'id': queue_id, 'now': now}
        queries = [
            (sql, {**values, 'key': group_of(row), 'seq': seq_of(row)})
            for row in parts
        ]
        return [[*rows] for rows in session.several(queries)]

    def is_exhausted(count: int) -> bool:
        return bool(max_claims) and count % EXHAUSTED >= max_claims

    runs = read(limit)
    if any(is_exhausted(count) for run in runs for _, _, count in run):
        runs = read(limit + MAX_EXHAUSTED)
    fresh: list[int] = []
    worn: list[int] = []
    for run in runs:
        for seq, wake_at, count in run:
            # What lies behind one that is delayed waits for it.
            if -wake_at > now:
                break
            (worn if is_exhausted(count) else fresh).append(seq)
    seqs = sorted([*map(seq_of, taken.rows), *fresh])[:limit]
    last = seqs[-1] if len(seqs) == limit else None
    old = [*map(seq_of, taken.exhausted), *worn]
    olds = sorted(seq for seq in old if last is None or seq < last)
    if len(olds) > MAX_EXHAUSTED:
        # Those behind them would leave a gap.
        olds = olds[:MAX_EXHAUSTED]
        seqs = [seq for seq in seqs if seq < olds[-1]]
    known = {seq_of(row): row for row in (*taken.rows, *taken.exhausted)}
    more = sorted({*seqs, *olds} - {*known})
    known |= {seq_of(row): row for row in _rows(session, queue_id, more)}
    return Taken(
        [known[seq] for seq in seqs if seq in known],
        [known[seq] for seq in olds if seq in known],
    )


def _rows(
    session: SqlSession, queue_id: int, seqs: Sequence[int]
) -> Sequence[Row]:
    """Return rows by their numbers. What changes them checks their states."""
    if not seqs:
        return ()
    hint = ''
    if session.dialect == 'mysql':
        hint = index_hint(session.dialect, 'PRIMARY')
    return session.all(
        f'SELECT {COLUMNS} FROM message m{hint} WHERE m.queue_id = :id '
        f'AND {is_one_of(session.dialect, "m.seq", "s", len(seqs))}',
        {'id': queue_id, **placeholder_values('s', seqs)},
    )
