# SPDX-License-Identifier: Apache-2.0
"""Notices in the outbox.

They get numbers from the clock instead of a counter: posts need not lock the
row of the outbox, which all queues of a store share.
"""

import secrets
import threading

from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import OUTBOX
from zaqar.storage.sqlalchemy import (
    dialect_clauses,
    postgresql_post_announcements,
    queue_row,
)
from zaqar.storage.sqlalchemy.message_rows import (
    NEW_COLUMNS,
    NEW_VALUES,
    new_row,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: Random bits of a number, below the millisecond: they keep processes apart.
RANDOM_BITS = 20

_INSERT = (
    f'INSERT INTO message ({NEW_COLUMNS}) SELECT id, {NEW_VALUES} '
    'FROM message_queue WHERE qid = :outbox'
)

_ANNOUNCE = (
    f'SELECT {postgresql_post_announcements.ANNOUNCE.format(row="o")} '
    'FROM message_queue o WHERE o.qid = :outbox'
)


class NoticeNumbers:
    """Numbers of notices, which rise within a process."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def take(self, now: int, count: int) -> int:
        """Return the first of ``count`` consecutive numbers."""
        start = (now << RANDOM_BITS) + secrets.randbits(RANDOM_BITS - 1)
        with self._lock:
            # Only so far: the clock may have been set back.
            if start <= self._last < start + (1 << (RANDOM_BITS + 10)):
                start = self._last + 1 + secrets.randbits(8)
            self._last = start + count - 1
        return start


NUMBERS = NoticeNumbers()


def add_notice(session: SqlSession, notice: NewMessage, now: int) -> None:
    """Add a notice to the outbox, within a transaction."""
    insert = dialect_clauses.insert_ignoring(session.dialect, _INSERT)
    while not session.run(
        insert,
        {**new_row(NUMBERS.take(now, 1), notice, now), 'outbox': OUTBOX},
    ):
        # There is no outbox yet, or the number is taken.
        queue_row.lock(session, OUTBOX, now)
    if session.dialect == 'postgresql':
        announcement = postgresql_post_announcements.announcement(
            OUTBOX, [notice]
        )
        values = {'outbox': OUTBOX, 'announcement': announcement}
        session.later(_ANNOUNCE, values)
