# SPDX-License-Identifier: Apache-2.0
"""An estimate of how many messages a database holds."""

from zaqar.objects import Stats
from zaqar.storage.abstract_stores import OUTBOX
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: Messages counted, at most.
MAX_COUNT = 50_000

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
