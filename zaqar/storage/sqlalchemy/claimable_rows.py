# SPDX-License-Identifier: Apache-2.0
"""Rows of messages that can be claimed.

A row is free when its state says so, and also when its claim has expired or
its delay has passed and it was not updated since: those are found by a second
query, which is usually empty. Rows that a rival has locked are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from zaqar.storage.sqlalchemy import queue_state
from zaqar.storage.sqlalchemy.message_rows import COLUMNS, QUEUE, index_hint
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


class FreeRows(NamedTuple):
    """Free rows of a queue to be taken: how many, under which condition."""

    values: Mapping[str, Any]
    limit: int
    condition: str = ''

    def select(self, session: SqlSession, where: str, columns: str) -> str:
        """Return SQL that locks the first rows."""
        hint = index_hint(session.dialect, _INDEXES[where])
        return queue_state.for_update(
            session,
            f'SELECT {columns} FROM message m{hint} '
            f'WHERE m.queue_id = {QUEUE} AND {where} {self.condition} '
            f'ORDER BY m.seq LIMIT {self.limit}',
            skip=True,
        )


def select_free(session: SqlSession, wanted: FreeRows) -> list[Row]:
    """Return and lock the first free rows of a queue."""
    free, woken = session.several(
        [
            (wanted.select(session, where, columns), wanted.values)
            # Of the latter there are none most of the time.
            for where, columns in ((FREE, COLUMNS), (WOKEN, 'm.seq'))
        ]
    )
    return _with_woken(session, wanted, free, [seq for (seq,) in woken])


def _with_woken(
    session: SqlSession,
    wanted: FreeRows,
    free: Sequence[Row],
    seqs: Sequence[int],
) -> list[Row]:
    if not seqs:
        return [*free]
    woken = session.all(
        f'SELECT {COLUMNS} FROM message m WHERE m.queue_id = {QUEUE} '
        f'AND m.seq IN ({placeholders("s", len(seqs))})',
        {**wanted.values, **placeholder_values('s', seqs)},
    )
    ordered = sorted([*free, *woken], key=lambda row: row[1])
    return ordered[: wanted.limit]
