# SPDX-License-Identifier: Apache-2.0
"""Estimated counts of the messages of a database, and of bytes of queues."""

from collections.abc import Sequence

from zaqar.objects import Stats
from zaqar.storage.base import OUTBOX
from zaqar.storage.sqlalchemy import group_repairs, queue_state
from zaqar.storage.sqlalchemy.statement_execution import (
    SqlSession,
    placeholder_values,
    placeholders,
)

#: Messages counted, at most.
MAX_COUNT = 50_000

#: Messages that stand for all when the bytes of a queue are first counted.
SAMPLE = 1000

#: Ids of one query, and queues that one call begins to count.
CHUNK = 200
MOST_BEGUN = 20

_BYTES = (
    # Programs of earlier releases do not subtract what they remove: of an
    # empty queue the count begins anew.
    'SELECT qid, CASE WHEN live = 0 AND bytes <> 0 THEN NULL ELSE bytes END '
    'FROM message_queue '
    'WHERE qid IN ({}) AND dropped_at IS NULL'
)
_MEAN = (
    'SELECT avg(size) FROM (SELECT length(body) AS size FROM message '
    f'WHERE queue_id = :id LIMIT {SAMPLE}) AS sample'
)
_SET_BYTES = 'UPDATE message_queue SET bytes = :bytes WHERE id = :id'

_COUNT = (
    'SELECT count(*), sum(is_claimed) FROM ('
    'SELECT CASE WHEN state = 1 AND wake_at > :now THEN 1 ELSE 0 END '
    'AS is_claimed FROM message WHERE expires_at > :now '
    'AND queue_id NOT IN (SELECT queue_id FROM garbage) '
    # Notices and deliveries are not messages of a project.
    'AND queue_id NOT IN (SELECT id FROM message_queue '
    'WHERE qid >= :internal AND qid < :beyond) LIMIT :most) AS seen'
)


def count_messages(session: SqlSession, now: int) -> Stats:
    """Count the live messages of all queues, :data:`MAX_COUNT` at most."""
    beyond = OUTBOX[:-1] + chr(ord(OUTBOX[-1]) + 1)
    values = {
        'now': now,
        'most': MAX_COUNT,
        'internal': OUTBOX,
        'beyond': beyond,
    }
    row = session.one(_COUNT, values)
    total, claimed = row or (0, 0)
    claimed = int(claimed or 0)
    return Stats(int(total) - claimed, claimed)


def held_bytes(
    session: SqlSession, qids: Sequence[str]
) -> tuple[int, Sequence[str]]:
    """Return the bytes that some queues hold.

    :returns: also the queues whose bytes are not counted yet
    """
    rows = session.all(
        _BYTES.format(placeholders('q', len(qids))),
        placeholder_values('q', qids),
    )
    uncounted = [qid for qid, size in rows if size is None]
    return sum(max(size or 0, 0) for _, size in rows), uncounted


def begin_counting(session: SqlSession, qid: str, now: int) -> int:
    """Count the bytes of a queue from now on, within a transaction.

    :returns: what it holds, estimated by some of its messages
    """
    row = queue_state.lock(session, qid, now)
    if row.live is None:
        queue_state.recount(session, row, now)
        group_repairs.mend(session, row, now)
    means = session.one(_MEAN, {'id': row.id})
    mean = float(means[0] or 0) if means else 0.0
    size = int(mean * (row.live or 0))
    session.run(_SET_BYTES, {'id': row.id, 'bytes': size})
    return size
