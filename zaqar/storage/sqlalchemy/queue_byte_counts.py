# SPDX-License-Identifier: Apache-2.0
"""Bytes of the bodies that queues hold: read them, and begin to count them."""

from collections.abc import Sequence

from zaqar.storage.sqlalchemy import (
    expired_group_heads,
    queue_message_limit,
    queue_row,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import (
    placeholder_values,
    placeholders,
)

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


def read(
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
    row = queue_row.lock(session, qid, now)
    if row.live is None:
        queue_message_limit.recount(session, row, now)
        expired_group_heads.mend(session, row, now)
    means = session.one(_MEAN, {'id': row.id})
    mean = float(means[0] or 0) if means else 0.0
    size = int(mean * (row.live or 0))
    session.run(_SET_BYTES, {'id': row.id, 'bytes': size})
    return size
