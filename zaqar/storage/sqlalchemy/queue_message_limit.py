# SPDX-License-Identifier: Apache-2.0
"""The limit of messages of a queue: whether a post has room.

A full queue loses its expired messages, which the sweeper would remove later.
Where that does not help, the running count is taken anew now and then.
"""

from zaqar.errors import QueueFull
from zaqar.storage.sqlalchemy import queue_count_subtraction, queue_row
from zaqar.storage.sqlalchemy.dialect_clauses import (
    delete_from,
    for_update,
)
from zaqar.storage.sqlalchemy.message_rows import IN_GROUP
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: Milliseconds between two exact counts of a queue that is full.
RECOUNT = 1000

_SET_COUNT = (
    'UPDATE message_queue SET live = :live, counted_at = :now WHERE id = :id'
)
#: By the index on expiry: few rows are expired, since they are swept, while
#: the queue may hold millions.
_EXPIRED = (
    'SELECT seq, group_key, state, claim_id FROM message '
    'WHERE queue_id + 0 = :id AND expires_at <= :now'
)


def check_room(
    session: SqlSession,
    row: queue_row.QueueRow,
    count: int,
    limit: int,
    now: int,
) -> None:
    """Check that ``count`` more messages fit in.

    :raises QueueFull: they do not
    """
    if row.live is None:
        recount(session, row, now)
    if _full(row, count, limit):
        _remove_expired(session, row, now)
    if _full(row, count, limit) and (
        row.counted_at is None or now - row.counted_at >= RECOUNT
    ):
        recount(session, row, now)
    if _full(row, count, limit):
        raise QueueFull(row.live or 0, limit)


def _full(row: queue_row.QueueRow, count: int, limit: int) -> bool:
    return (row.live or 0) + count > limit


def recount(session: SqlSession, row: queue_row.QueueRow, now: int) -> None:
    """Remove expired messages and count the rest."""
    _remove_expired(session, row, now)
    values = {'id': row.id, 'now': now}
    counts = session.one(
        'SELECT count(*) FROM message WHERE queue_id = :id', values
    )
    row.live = counts[0] if counts else 0
    row.counted_at = now
    session.run(_SET_COUNT, {**values, 'live': row.live})


def _remove_expired(
    session: SqlSession, row: queue_row.QueueRow, now: int
) -> None:
    values = {'id': row.id, 'now': now}
    # Rows that are being deleted are skipped: their transaction waits for our
    # lock on the queue's row.
    expired = session.all(for_update(session, _EXPIRED, skip=True), values)
    if expired:
        session.many(
            f'{delete_from(session.dialect)} '
            'WHERE queue_id = :id AND seq = :seq',
            [{'id': row.id, 'seq': seq} for seq, *_ in expired],
        )
        for _, group, state, claim_id in expired:
            if group is not None and state != IN_GROUP:
                claims = row.bereft.setdefault(group, set())
                claims |= {claim_id} - {None}
        queue_count_subtraction.subtract_live(session, row.id, len(expired))
        row.live = None if row.live is None else row.live - len(expired)
