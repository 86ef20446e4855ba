# SPDX-License-Identifier: Apache-2.0
"""SQL of the statistics that only queues with groups have."""

from zaqar.storage.sqlalchemy.dialect_clauses import index_hint

_OF_QUEUE = 'FROM message m{hint} WHERE m.queue_id = q.id AND '
_BEHIND = (
    f'{_OF_QUEUE.format(hint="{all}")}m.state = 3 AND m.expires_at > :now'
)
#: The first held message of each busy group of the queue, as h.
_FIRST_HELD = (
    'message h{waking}{join} message m{order} WHERE h.queue_id = q.id '
    'AND h.state > 0 AND h.state < 3 AND h.wake_at > :now '
    'AND h.group_key IS NOT NULL '
    'AND NOT EXISTS (SELECT 1 FROM message e{claim} '
    'WHERE e.queue_id = h.queue_id AND e.claim_id = h.claim_id '
    'AND e.group_key = h.group_key AND e.state IN (1, 2) '
    'AND e.wake_at > :now AND e.seq < h.seq)'
)
_IS_HELD = (
    'EXISTS (SELECT 1 FROM message h{claim} WHERE h.queue_id = m.queue_id '
    'AND h.claim_id = m.claim_id AND h.group_key = m.group_key '
    'AND h.state IN (1, 2) AND h.wake_at > :now)'
)
_PARTS = (
    f'SELECT count(*) {_BEHIND}',
    f'SELECT count(*) {_BEHIND} AND m.wake_at < -:now',
    f'SELECT count(*) FROM {_FIRST_HELD} AND m.queue_id = h.queue_id '
    'AND m.group_key = h.group_key AND m.state = 3 '
    'AND m.expires_at > :now AND m.wake_at >= -:now',
    # Of groups whose claims or delays have ended.
    f'SELECT min(m.created_at) {_OF_QUEUE.format(hint="{waking}")}'
    'm.state > 0 AND m.wake_at > 0 AND m.wake_at <= :now '
    f'AND m.expires_at > :now AND m.group_key IS NOT NULL AND NOT {_IS_HELD}',
    # Of groups whose first message has expired.
    'SELECT min((SELECT m.created_at FROM message m{order} '
    'WHERE m.queue_id = d.queue_id AND m.group_key = d.group_key '
    'AND m.expires_at > :now AND m.wake_at >= -:now '
    'ORDER BY m.seq LIMIT 1)) FROM message d{free} WHERE d.queue_id = q.id '
    'AND d.state = 0 AND d.expires_at <= :now AND d.group_key IS NOT NULL',
)


def counts(dialect: str) -> str:
    """Return SQL for five values of the queue ``q``, NULL without groups.

    How many messages are behind others of their groups, how many of these are
    delayed, how many wait for one that is held; and when the oldest were
    posted that are free though their states do not say so.
    """
    is_mysql = dialect == 'mysql'
    behind = 'message_free' if is_mysql else 'message_in_group'
    hints = {
        'all': index_hint(dialect, behind),
        'free': index_hint(dialect, 'message_free'),
        'order': index_hint(dialect, 'message_group_order'),
        'waking': index_hint(dialect, 'message_waking'),
        'claim': index_hint(dialect, 'message_claim'),
        'join': ' STRAIGHT_JOIN' if is_mysql else ' CROSS JOIN',
    }
    return ', '.join(
        f'CASE WHEN q.grouped = 1 THEN ({part.format(**hints)}) END'
        for part in _PARTS
    )
