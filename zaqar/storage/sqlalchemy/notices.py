# SPDX-License-Identifier: Apache-2.0
"""Marks of queues that may have subscribers, and the notices they cause.

A mark is the epoch in the column ``subscribed``; a silent queue has the
negative of its last one there, so that epochs never come again.

Notices take numbers from the clock instead of a counter: the row of the
outbox, which all queues of a store share, need not be locked by posts.
"""

from __future__ import annotations

import secrets
import threading
from typing import Any

from zaqar.errors import QueueGone
from zaqar.models import NewMessage
from zaqar.storage.base import OUTBOX
from zaqar.storage.sqlalchemy import queue_rows
from zaqar.storage.sqlalchemy.rows import DELAYED, FREE
from zaqar.storage.sqlalchemy.session import Session

#: Bits of a number below the millisecond: chance keeps processes apart.
CHANCE = 20

_INSERT = (
    'INSERT INTO message (queue_id, seq, rnd, state, wake_at, expires_at, '
    'created_at, ttl, client, claim_count, checksum, public_id, body) '
    'SELECT id, :seq, :rnd, :state, :wake_at, :expires_at, :created_at, '
    ':ttl, :client, 0, :checksum, NULL, :body '
    'FROM message_queue WHERE qid = :outbox'
)
_FIND = 'SELECT subscribed, dropped_at FROM message_queue WHERE qid = :qid'
_SET = 'UPDATE message_queue SET subscribed = :new WHERE id = :id'


class Numbers:
    """Numbers of notices: those of one process rise."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def take(self, now: int, count: int) -> int:
        """Return the first of ``count`` numbers in a row."""
        start = (now << CHANCE) + secrets.randbits(CHANCE - 1)
        with self._lock:
            # Not for ever: a clock that went back is not to be outrun.
            if start <= self._last < start + (1 << (CHANCE + 10)):
                start = self._last + 1 + secrets.randbits(8)
            self._last = start + count - 1
        return start


NUMBERS = Numbers()


def leave(session: Session, notice: NewMessage, now: int) -> None:
    """Put a notice into the outbox, within a transaction."""
    insert = queue_rows.ignoring(session.dialect, _INSERT)
    while not session.run(insert, _values(notice, now)):
        # There is no outbox yet, or somebody has taken the number.
        queue_rows.lock(session, OUTBOX, now)


def mark(session: Session, qid: str, now: int) -> None:
    """Begin the next epoch, within a transaction."""
    row = queue_rows.lock(session, qid, now)
    session.run(_SET, {'id': row.id, 'new': abs(row.subscribed) + 1})


def unmark(session: Session, qid: str, epoch: int, now: int) -> bool:
    """End a epoch, if it still lasts, within a transaction."""
    row = queue_rows.lock(session, qid, now)
    if epoch <= 0 or row.subscribed != epoch:
        return False
    session.run(_SET, {'id': row.id, 'new': -epoch})
    return True


def epoch(session: Session, qid: str) -> int:
    """Return that of the mark, 0 for a silent queue."""
    row = session.one(_FIND, {'qid': qid})
    if row is None:
        return 1
    if row[1] is not None:
        raise QueueGone
    return max(int(row[0]), 0)


def _values(notice: NewMessage, now: int) -> dict[str, Any]:
    delay = notice.delay * 1000
    return {
        'outbox': OUTBOX,
        'seq': NUMBERS.take(now, 1),
        'rnd': notice.rnd,
        'state': DELAYED if delay else FREE,
        'wake_at': now + delay if delay else 0,
        'expires_at': now + notice.ttl * 1000,
        'created_at': now,
        'ttl': notice.ttl,
        'client': notice.client,
        'checksum': notice.checksum,
        'body': notice.body,
    }
