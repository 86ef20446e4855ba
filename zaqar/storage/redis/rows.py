# SPDX-License-Identifier: Apache-2.0
"""Messages as Redis keeps them, their ids and markers.

A message is a head and the body behind it. What scripts read of the head
stands at fixed offsets (``lua/queue.lua``): the random half of the id (16
hexadecimal digits), the moments of its death and birth (15 digits each), a
letter (n: its id is place and random half; o: an id of its own), the length of
the client in bytes, the client. Behind that only we look: an id of its own,
the length of the checksum, the checksum.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from zaqar.models import Message, NewMessage

#: Bytes that every head and its client fit in.
HEAD = 49 + 255 + 32

#: Places are numbers that a double holds exactly.
MOST = 2**53

_NO_CHECKSUM = 255
_CLIENT = 48
_ID = re.compile(r'[0-9a-f]{32}')
_MARKER = re.compile(r'[0-9a-f]{16}')
_CLAIM = re.compile(r'[A-Za-z0-9_-]{1,64}')

#: In the place of a claim's id: no claim has it.
NO_CLAIM = ' '


def make_id(seq: int, rnd: str) -> str:
    """Return the id of a message."""
    return f'{seq:016x}{rnd}'


def triple(text: str) -> tuple[int, str, str] | None:
    """Return place, random half and the id itself, None if it is no id."""
    if not _ID.fullmatch(text):
        return None
    seq = int(text[:16], 16)
    # A dead letter brings its id from elsewhere.
    return min(seq, MOST), text[16:], text


def parse_marker(text: str) -> tuple[int, str] | None:
    """Return place and, where it may be that of a dead letter, its id."""
    if _MARKER.fullmatch(text):
        return min(int(text, 16), MOST), ''
    if _ID.fullmatch(text):
        return min(int(text[:16], 16), MOST), text
    return None


def make_marker(seq: int) -> str:
    """Return the marker behind a place."""
    return f'{seq:016x}'


def claim_id(text: str) -> str:
    """Return the id of a claim; one that cannot be is none's."""
    return text if _CLAIM.fullmatch(text) else NO_CLAIM


def death(message: NewMessage, now: int) -> int:
    """Return when a message that is stored now dies."""
    return now + message.ttl * 1000


def encode(message: NewMessage, now: int) -> bytes:
    """Return what is kept of a message."""
    client = message.client.encode()
    own_id = message.id or ''
    kind = 'o' if own_id else 'n'
    head = f'{message.rnd}{death(message, now):015d}{now:015d}{kind}'
    checksum = message.checksum
    size = _NO_CHECKSUM if checksum is None else len(checksum)
    return b''.join(
        (
            head.encode(),
            bytes((len(client),)),
            client,
            own_id.encode(),
            bytes((size,)),
            (checksum or '').encode(),
            message.body,
        )
    )


def decode(seq: bytes, blob: bytes, record: bytes | None, now: int) -> Message:
    """Build a message from what a script shows of it."""
    marker = make_marker(int(seq))
    # One copy of the head, since texts are cut and read faster than bytes.
    front = blob[:_CLIENT].decode('latin-1')
    expires_at, created_at = int(front[16:31]), int(front[31:46])
    ttl = (expires_at - created_at) // 1000
    at = _CLIENT + blob[47]
    client = blob[_CLIENT:at].decode()
    name = marker + front[:16]
    if front[46] == 'o':
        name = blob[at : at + 32].decode()
        at += 32
    size = blob[at]
    checksum = None
    if size != _NO_CHECKSUM:
        checksum = blob[at + 1 : at + 1 + size].decode()
    else:
        size = 0
    count, claim = 0, None
    if record:
        times, raised, shown, _, ends, holder = record.split(b' ')
        count = int(times)
        if int(raised):
            expires_at, ttl = int(raised), int(shown)
        claim = holder.decode() if int(ends) > now else None
    return Message(
        id=name,
        body=blob[at + 1 + size :],
        ttl=ttl,
        created_at=created_at,
        client=client,
        claim_id=claim,
        claim_count=count,
        checksum=checksum,
        expires_at=expires_at,
        marker=marker,
    )


def head(seq: bytes, blob: bytes) -> tuple[str, int]:
    """Return id and birth from the first :data:`HEAD` bytes of a message."""
    at = 48 + blob[47]
    own = blob[46:47] == b'o'
    name = blob[at : at + 32] if own else b'%016x' % int(seq) + blob[:16]
    return name.decode(), int(blob[31:46])


def decode_all(flat: Sequence[Any], now: int) -> list[Message]:
    """Build messages from places, heads and records in turn."""
    return [
        decode(flat[at], flat[at + 1], flat[at + 2], now)
        for at in range(0, len(flat), 3)
    ]


def is_spent(record: bytes) -> bool:
    """Tell whether the last claim of a message met it exhausted."""
    return record.split(b' ', 4)[3] == b'1'
