# SPDX-License-Identifier: Apache-2.0
"""Rows of messages that can be claimed.

A row is free when its state says so, and also when its claim has expired or
its delay has passed and it was not updated since: those are found by a second
query, which is usually empty. Rows that a rival has locked are skipped.

Where it is one of a group, the group must go on before: on SQLite at once, on
servers see :mod:`.groups_with_ended_claims_or_delays`.

Of a group there is only the first message among them; the next ones, which
may be taken with it, are in :mod:`.claimable_rows_of_groups`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from zaqar.storage.sqlalchemy import (
    dialect_clauses,
    groups_with_ended_claims_or_delays,
)
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint, is_one_of
from zaqar.storage.sqlalchemy.groups_with_ended_claims_or_delays import (
    WokenGroupsError,
)
from zaqar.storage.sqlalchemy.message_rows import COLUMNS, group_of, seq_of
from zaqar.storage.sqlalchemy.message_sql_fragments import QUEUE
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import placeholder_values

#: The two conditions for free rows. ``wake_at > 0`` is for engines whose index
#: holds all rows.
FREE = 'm.state = 0 AND m.expires_at > :now'
WOKEN = (
    'm.state > 0 AND m.wake_at > 0 AND m.wake_at <= :now '
    'AND m.expires_at > :now'
)
_INDEXES = {FREE: 'message_free', WOKEN: 'message_waking'}

#: The number of the next message of its group, if there is one.
_NEXT = (
    'CASE WHEN m.group_key IS NOT NULL THEN (SELECT n.seq '
    'FROM message n{hint} WHERE n.queue_id = m.queue_id '
    'AND n.group_key = m.group_key AND n.seq > m.seq '
    'ORDER BY n.seq LIMIT 1) END'
)


def _columns(dialect: str) -> str:
    hint = index_hint(dialect, 'message_group_order')
    return f'{COLUMNS}, {_NEXT.format(hint=hint)}'


#: Woken rows of several queues that are enough to find out of which there are.
_ENOUGH_WOKEN = 50


class FreeRows(NamedTuple):
    """Free rows of a queue to be taken: how many, under which condition.

    :ivar queue: SQL for the id of the queue
    :ivar passes_woken: whether groups whose claims or delays have ended are
        passed over; on SQLite they go on at once
    """

    values: Mapping[str, Any]
    limit: int
    condition: str = ''
    queue: str = QUEUE
    passes_woken: bool = False

    def select(self, session: SqlSession, where: str) -> str:
        """Return SQL that locks the first rows.

        Behind the columns is the number of the next message of the group.
        """
        return _select(session.dialect, where, *self._terms(where))

    def numbers(self, session: SqlSession, where: str) -> str:
        """Return SQL for the numbers of the first rows, without locks.

        And, but for SQLite, for their groups.
        """
        return _numbers(session.dialect, where, *self._terms(where))

    def select_numbered(
        self, session: SqlSession, where: str, count: int
    ) -> str:
        """Return SQL that locks rows by their numbers, and no others."""
        hint = ''
        if session.dialect == 'mysql':
            hint = index_hint(session.dialect, 'PRIMARY')
        _, condition, _ = self._terms(where)
        return dialect_clauses.for_update(
            session,
            f'SELECT {COLUMNS}, NULL FROM message m{hint} '
            f'WHERE m.queue_id = {self.queue} '
            f'AND {is_one_of(session.dialect, "m.seq", "s", count)} '
            f'AND {where} {condition}',
            skip=True,
        )

    def _terms(self, where: str) -> tuple[str, str, int]:
        condition = self.condition
        if self.passes_woken and where is WOKEN:
            condition += ' AND m.group_key IS NULL'
        return self.queue, condition, self.limit


# Texts that are made once are known to the caches of drivers at once.


@functools.lru_cache(maxsize=512)
def _select(
    dialect: str, where: str, queue: str, condition: str, limit: int
) -> str:
    columns = _columns(dialect)
    sql = _first(dialect, where, queue, condition, limit, columns)
    return dialect_clauses.locking(dialect, sql, skip=True)


@functools.lru_cache(maxsize=512)
def _numbers(
    dialect: str, where: str, queue: str, condition: str, limit: int
) -> str:
    if dialect != 'mysql':
        columns = 'm.seq' if dialect == 'sqlite' else 'm.seq, m.group_key'
        return _first(dialect, where, queue, condition, limit, columns)
    # All that have woken are sorted. The index that they are found by holds
    # their numbers, but not their groups: those are looked up for a few.
    columns = 'm.queue_id, m.seq'
    sql = _first(dialect, where, queue, condition, limit, columns)
    return (
        'SELECT p.seq, (SELECT g.group_key FROM message g '
        f'WHERE g.queue_id = p.queue_id AND g.seq = p.seq) FROM ({sql}) p'
    )


def _first(
    dialect: str,
    where: str,
    queue: str,
    condition: str,
    limit: int,
    columns: str,
) -> str:
    hint = index_hint(dialect, _INDEXES[where])
    return (
        f'SELECT {columns} FROM message m{hint} '
        f'WHERE m.queue_id = {queue} AND {where} {condition} '
        f'ORDER BY m.seq LIMIT {limit}'
    )


def select_free(session: SqlSession, wanted: FreeRows) -> list[Row]:
    """Return and lock the first free rows of a queue.

    :raises WokenGroupsError: there are such groups
    """
    (rows,) = select_free_of_each(session, [wanted])
    if rows is None:
        raise WokenGroupsError
    return rows


def select_free_of_each(
    session: SqlSession, wanted: Sequence[FreeRows]
) -> list[list[Row] | None]:
    """Return and lock the first free rows of each queue.

    :returns: None for one with groups that must go on before
    """
    if session.takes_compounds and len(wanted) > 1:
        return _select_at_once(session, wanted)
    # Of woken ones there are none most of the time. A range that is locked
    # ends in a lock of the next queue's first row on MySQL: who claims from
    # that one would wait. So their numbers are read first.
    results = session.several(
        [
            query
            for one in wanted
            for query in (
                (one.select(session, FREE), one.values),
                (one.numbers(session, WOKEN), one.values),
            )
        ]
    )
    return [
        _with_woken(session, one, free, numbers)
        for one, free, numbers in zip(
            wanted, results[::2], results[1::2], strict=True
        )
    ]


def _select_at_once(
    session: SqlSession, wanted: Sequence[FreeRows]
) -> list[list[Row] | None]:
    """Do so in a few statements for all queues (MariaDB).

    A statement takes longer to begin, and a result to describe, than a few
    rows to read, and a subquery as long as a statement.
    """
    names = [f'@queue{place}' for place in range(len(wanted))]
    every = ', '.join(names)
    ids = ', '.join(session.text(one.queue, one.values) for one in wanted)
    session.later(f'SELECT {ids} INTO {every}', {})
    wanted = [
        one._replace(queue=name)
        for one, name in zip(wanted, names, strict=True)
    ]
    queries = [
        session.text(one.select(session, FREE), one.values) for one in wanted
    ]
    union = ' UNION ALL '.join(
        # With a number before its columns.
        f'({query.replace("SELECT ", f"SELECT {place}, ", 1)})'
        for place, query in enumerate(queries)
    )
    hint = index_hint(session.dialect, _INDEXES[WOKEN])
    rows, (known,), woken = session.several(
        [
            (union, {}),
            (f'SELECT {every}', {}),
            (
                f'SELECT m.queue_id FROM message m{hint} WHERE m.queue_id '
                f'IN ({every}) AND {WOKEN} LIMIT {_ENOUGH_WOKEN}',
                wanted[0].values,
            ),
        ]
    )
    free: dict[int, list[Row]] = {place: [] for place in range(len(wanted))}
    for place, *row in rows:
        free[place].append(tuple(row))
    due = {queue_id for (queue_id,) in woken}
    suspects = [
        place
        for place, queue_id in enumerate(known)
        if queue_id in due or len(woken) == _ENOUGH_WOKEN
    ]
    numbers = session.several(
        [
            (wanted[place].numbers(session, WOKEN), wanted[place].values)
            for place in suspects
        ]
    )
    results: list[list[Row] | None] = [*free.values()]
    for place, some in zip(suspects, numbers, strict=True):
        results[place] = _with_woken(session, wanted[place], free[place], some)
    return results


def _with_woken(
    session: SqlSession,
    wanted: FreeRows,
    free: Sequence[Row],
    numbers: Sequence[Row],
) -> list[Row] | None:
    """Return the first rows, having locked the woken ones as well.

    :param free: rows that are locked, free by their state
    :param numbers: of woken ones, and their groups; see ``numbers``
    :returns: None if there are groups that must go on before
    """
    if not numbers:
        return [*free]
    is_server = session.dialect != 'sqlite'
    if is_server and any(key is not None for _, key in numbers):
        return None
    seqs = [row[0] for row in numbers]
    woken = session.all(
        wanted.select_numbered(session, WOKEN, len(seqs)),
        {**wanted.values, **placeholder_values('s', seqs)},
    )
    if len(woken) < len(seqs):
        # Rivals were faster: there may be others.
        woken = session.all(wanted.select(session, WOKEN), wanted.values)
    if any(group_of(row) is not None for row in woken):
        if is_server:
            return None
        # Which of their groups are free is not to be seen in them alone.
        groups_with_ended_claims_or_delays.wake(
            session, wanted.queue, wanted.values
        )
        free = session.all(wanted.select(session, FREE), wanted.values)
        # Those that it has hidden may have kept others from being found.
        woken = session.all(wanted.select(session, WOKEN), wanted.values)
        woken = [row for row in woken if group_of(row) is None]
    ordered = sorted([*free, *woken], key=seq_of)
    return ordered[: wanted.limit]
