# SPDX-License-Identifier: Apache-2.0
"""Pops, which take free messages as claims do, and delete them."""

from collections.abc import Sequence

from zaqar.objects import Message
from zaqar.storage.sqlalchemy import (
    claimable_rows_of_groups,
    expired_group_heads,
    group_locks,
    next_free_messages_of_groups,
    queue_count_subtraction,
    queue_row,
)
from zaqar.storage.sqlalchemy.claimable_rows import FreeRows
from zaqar.storage.sqlalchemy.dialect_clauses import delete_from, is_one_of
from zaqar.storage.sqlalchemy.message_rows import (
    group_of,
    message,
    queue_id_of,
    seq_of,
)
from zaqar.storage.sqlalchemy.message_sql_fragments import STILL_FREE
from zaqar.storage.sqlalchemy.queue_row import GroupedQueueError
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import placeholder_values


def pop(
    session: SqlSession,
    qid: str,
    now: int,
    limit: int,
    *,
    takes_groups: bool = False,
    passes_woken: bool = False,
) -> Sequence[Message]:
    """Take and delete free messages within a transaction.

    :param passes_woken: see :class:`.claimable_rows.FreeRows`
    :raises GroupedQueueError: one has a group
    :raises WokenGroupsError: some groups must go on before
    """
    values = {'qid': qid, 'now': now}
    if takes_groups:
        queue_row.lock_if_counted(session, qid)
    wanted = FreeRows(values, limit, passes_woken=passes_woken)
    rows = claimable_rows_of_groups.select_all(session, wanted).rows
    if (
        takes_groups
        and not rows
        and expired_group_heads.reveal(session, values)
    ):
        rows = claimable_rows_of_groups.select_all(session, wanted).rows
    left = next_free_messages_of_groups.holders(rows)
    if rows and left:
        if not takes_groups:
            raise GroupedQueueError
        # One whose first row is locked may be about to get further messages.
        locked = group_locks.lock(
            session, queue_id_of(rows[0]), left, skip=True
        )
        rows = [row for row in rows if group_of(row) in {None, *locked}]
        left = {key: left[key] for key in locked}
    if not rows:
        queue_row.check_gone(session, qid, takes_groups=takes_groups)
        return []
    queue_id = queue_id_of(rows[0])
    _delete_free(session, queue_id, rows, now)
    next_free_messages_of_groups.go_on(session, queue_id, left, now)
    queue_count_subtraction.subtract_live(session, queue_id, len(rows))
    return [message(row, now) for row in rows]


def _delete_free(
    session: SqlSession, queue_id: int, rows: Sequence[Row], now: int
) -> None:
    """Delete rows that are locked, or conflict with who has changed them."""
    seqs = [*map(seq_of, rows)]
    session.later(
        f'{delete_from(session.dialect)} WHERE queue_id = :id '
        f'AND {is_one_of(session.dialect, "seq", "s", len(seqs))} '
        f'AND {STILL_FREE}',
        {
            'id': queue_id,
            'selected_at': now,
            **placeholder_values('s', seqs),
        },
        rows=len(seqs),
    )
