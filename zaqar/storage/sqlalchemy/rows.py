# SPDX-License-Identifier: Apache-2.0
"""Ids, markers and rows of messages."""

from __future__ import annotations

from zaqar.models import Message
from zaqar.storage.message_ids import make_id, make_marker
from zaqar.storage.sqlalchemy.session import Row

FREE, CLAIMED, DELAYED = 0, 1, 2

#: In ``claim_count`` of a held message: it was exhausted when it was taken.
SPENT = 1 << 30

#: What a message is made of, in the order of :func:`message`.
COLUMNS = (
    'm.queue_id, m.seq, m.rnd, m.public_id, m.body, m.ttl, m.created_at, '
    'm.client, m.state, m.wake_at, m.claim_id, m.claim_count, m.checksum, '
    'm.expires_at'
)

#: The id of a live queue, for use within a statement.
QUEUE = (
    '(SELECT id FROM message_queue WHERE qid = :qid AND dropped_at IS NULL)'
)


def order(condition: str) -> str:
    """Return what rows that fulfil a condition are put in order by.

    Few have woken up at a time. An expression keeps PostgreSQL, which plans
    without looking at the values, from walking the queue in search of them.
    """
    return 'm.seq + 0' if 'm.state > 0' in condition else 'm.seq'


def using(dialect: str, index: str) -> str:
    """Return the hint that a table be read by an index, with its blank.

    Without statistics SQLite walks the whole queue in order where a few rows
    of an index would do, and MySQL does so in spite of them. PostgreSQL takes
    no hints and needs none.
    """
    if dialect == 'sqlite':
        return f' INDEXED BY {index}'
    if dialect == 'mysql':
        return f' FORCE INDEX ({index})'
    return ''


def message(row: Row, now: int) -> Message:
    """Build a message from a row of :data:`COLUMNS`."""
    (
        _,
        seq,
        rnd,
        public_id,
        body,
        ttl,
        created_at,
        client,
        state,
        wake_at,
        claim_id,
        claim_count,
        checksum,
        expires_at,
    ) = row[:14]
    return Message(
        id=public_id or make_id(seq, rnd),
        body=body,
        ttl=ttl,
        created_at=created_at,
        client=client.decode() if isinstance(client, bytes) else client,
        claim_id=claim_id if state == CLAIMED and wake_at > now else None,
        claim_count=claim_count & (SPENT - 1),
        checksum=checksum,
        expires_at=expires_at,
        marker=make_marker(seq),
    )
