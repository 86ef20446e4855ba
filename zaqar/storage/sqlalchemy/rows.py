# SPDX-License-Identifier: Apache-2.0
"""Ids, markers and rows of messages."""

from __future__ import annotations

import re

from zaqar.models import Message
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

_ID = re.compile(r'[0-9a-f]{32}')
_MARKER = re.compile(r'[0-9a-f]{16}')
_CLAIM = re.compile(r'[A-Za-z0-9_-]{1,64}')
_MAX = 2**63 - 1


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


def make_id(seq: int, rnd: str) -> str:
    """Return the id of a message."""
    return f'{seq:016x}{rnd}'


def parse_id(text: str) -> tuple[int, str] | None:
    """Return sequence number and random half, None if it is no id."""
    if not _ID.fullmatch(text):
        return None
    seq = int(text[:16], 16)
    return (seq, text[16:]) if seq <= _MAX else None


def parse_marker(text: str) -> int | None:
    """Return the sequence number of a marker, None if it is no marker."""
    if not _MARKER.fullmatch(text):
        return None
    seq = int(text, 16)
    return seq if seq <= _MAX else None


def make_marker(seq: int) -> str:
    """Return the marker behind a sequence number."""
    return f'{seq:016x}'


def is_claim_id(text: str) -> bool:
    """Tell whether a text can be the id of a claim."""
    return bool(_CLAIM.fullmatch(text))


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
