# SPDX-License-Identifier: Apache-2.0
"""What statistics say of the groups of a queue."""

from collections.abc import Sequence

from zaqar.models import Message
from zaqar.storage.inspection import Inspected
from zaqar.storage.sqlalchemy.message_rows import QUEUE, index_hint
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: Messages that are neither claimed nor released with a delay, and groups
#: with theirs.
_IN_GROUP = (
    'FROM message m{all} WHERE m.queue_id = q.id AND m.state = 3 '
    'AND m.expires_at > :now'
)
_OF_GROUPS = (
    'FROM message_group g{join} message m{order} WHERE g.queue_id = q.id '
    'AND m.queue_id = g.queue_id AND m.group_key = g.group_key '
    'AND m.expires_at > :now AND m.wake_at BETWEEN -:now AND :now'
)
_BUSY = 'g.state = 1 AND g.wake_at > :now'
_PARTS = (
    f'SELECT count(*) {_IN_GROUP}',
    f'SELECT count(*) {_IN_GROUP} AND m.wake_at < -:now',
    f'SELECT count(*) {_OF_GROUPS} AND {_BUSY}',
    f'SELECT min(m.created_at) {_OF_GROUPS} AND NOT ({_BUSY})',
)
_BUSY_UNTIL = (
    f'SELECT g.wake_at FROM message_group g WHERE g.queue_id = {QUEUE} '
    f'AND g.group_key = :key AND {_BUSY}'
)


def counts(dialect: str) -> str:
    """Return SQL for four values of the queue ``q``, NULL without groups.

    How many messages of groups are not held, how many of them are delayed,
    how many wait for another one, and when the oldest of the others was
    posted.
    """
    is_mysql = dialect == 'mysql'
    free = 'message_free' if is_mysql else 'message_in_group'
    hints = {
        'all': index_hint(dialect, free),
        'order': index_hint(dialect, 'message_group_order'),
        'join': ' STRAIGHT_JOIN' if is_mysql else ' CROSS JOIN',
    }
    return ', '.join(
        f'CASE WHEN q.grouped = 1 THEN ({part.format(**hints)}) END'
        for part in _PARTS
    )


def inspect(
    session: SqlSession, qid: str, messages: Sequence[Message], now: int
) -> Inspected | None:
    """Return a message, if there is one, with what its group waits for."""
    for message in messages:
        busy_until = None
        if message.group is not None and message.claim_id is None:
            values = {'qid': qid, 'key': message.group, 'now': now}
            row = session.one(_BUSY_UNTIL, values)
            busy_until = row[0] if row else None
        return Inspected(message, busy_until)
    return None
