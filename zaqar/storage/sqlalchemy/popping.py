# SPDX-License-Identifier: Apache-2.0
"""Pops, which take free messages as claims do, and delete them."""

from __future__ import annotations

from collections.abc import Sequence

from zaqar.models import Message
from zaqar.storage.sqlalchemy import queue_state
from zaqar.storage.sqlalchemy.claimable_rows import FreeRows, select_free
from zaqar.storage.sqlalchemy.claiming import STILL_FREE
from zaqar.storage.sqlalchemy.message_rows import (
    is_one_of,
    message,
    queue_id_of,
    seq_of,
)
from zaqar.storage.sqlalchemy.statement_execution import (
    Row,
    SqlSession,
    placeholder_values,
)


def pop(
    session: SqlSession, qid: str, now: int, limit: int
) -> Sequence[Message]:
    """Take and delete free messages within a transaction.

    :raises GroupedQueueError: the queue has groups
    """
    values = {'qid': qid, 'now': now}
    rows = select_free(session, FreeRows(values, limit))
    if not rows:
        queue_state.check_gone(session, qid, takes_groups=False)
        return []
    queue_id = queue_id_of(rows[0])
    delete_free(session, queue_id, rows, now)
    queue_state.subtract_live(session, queue_id, len(rows))
    return [message(row, now) for row in rows]


def delete_free(
    session: SqlSession, queue_id: int, rows: Sequence[Row], now: int
) -> None:
    """Delete rows that are locked, or conflict with who has changed them."""
    seqs = [*map(seq_of, rows)]
    session.later(
        'DELETE FROM message WHERE queue_id = :id '
        f'AND {is_one_of(session.dialect, "seq", "s", len(seqs))} '
        f'AND {STILL_FREE}',
        {
            'id': queue_id,
            'selected_at': now,
            **placeholder_values('s', seqs),
        },
        rows=len(seqs),
    )
