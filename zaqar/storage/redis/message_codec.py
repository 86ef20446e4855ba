# SPDX-License-Identifier: Apache-2.0
"""Encoding of messages, their ids and markers.

A message is stored as a head with the body behind it. What scripts read of
the head is at fixed offsets (``lua/queue.lua``): the random half of the id (16
hexadecimal digits), the times of its expiry and creation (15 digits each), a
letter (n: its id is place and random half; o: an id of its own), the length of
the client in bytes, the client. Scripts ignore the rest: an id of its own, the
length of the checksum, the checksum.

What else belongs to a message is stored beside it, each by a letter
(``lua/queue.lua``), so that a program of an earlier release reads the rest.
"""

from collections.abc import Sequence
from typing import Any

from zaqar.objects import Message, NewMessage
from zaqar.storage import rejection_reason_encoding
from zaqar.storage.message_ids import (
    is_claim_id,
    parse_id,
    parse_marker,
)

#: Bytes that hold every head with its client.
HEAD_SIZE = 49 + 255 + 32

#: The largest place: a double holds all numbers up to it exactly.
MAX_PLACE = 2**53

#: Letters of what is stored beside messages.
GROUP, EXTRAS = 'g', 'e'

_NO_CHECKSUM = 255
_CLIENT = 48
#: An id that no claim has.
NO_CLAIM = ' '


def parse_position(text: str) -> tuple[int, str] | None:
    """Return place and, where it may be that of a dead letter, its id."""
    seq = parse_marker(text)
    if seq is not None:
        return min(seq, MAX_PLACE), ''
    halves = parse_id(text)
    return halves and (min(halves[0], MAX_PLACE), text)


def claim_id(text: str) -> str:
    """Return the id of a claim, :data:`NO_CLAIM` if it cannot be one."""
    return text if is_claim_id(text) else NO_CLAIM


def encode(message: NewMessage, now: int) -> bytes:
    client = message.client.encode()
    own_id = b'' if message.id is None else message.id.encode()
    checksum = message.checksum
    size, digest = _NO_CHECKSUM, b''
    if checksum is not None:
        size, digest = len(checksum), checksum.encode()
    return b'%b%015d%015d%b%c%b%b%c%b%b' % (
        message.rnd.encode(),
        now + message.ttl * 1000,
        now,
        b'o' if own_id else b'n',
        len(client),
        client,
        own_id,
        size,
        digest,
        message.body,
    )


def decode(seq: bytes, blob: bytes, record: bytes | None, now: int) -> Message:
    """Build a message from what a script returns of it."""
    # As make_marker() makes it, which would be called for each message.
    marker = f'{int(seq):016x}'
    # One copy of the head: slicing text is faster than slicing bytes.
    head = blob[:_CLIENT].decode('latin-1')
    expires_at, created_at = int(head[16:31]), int(head[31:46])
    ttl = (expires_at - created_at) // 1000
    at = _CLIENT + blob[47]
    client = blob[_CLIENT:at].decode()
    name = marker + head[:16]
    if head[46] == 'o':
        name = blob[at : at + 32].decode()
        at += 32
    size = blob[at]
    checksum = None
    if size != _NO_CHECKSUM:
        checksum = blob[at + 1 : at + 1 + size].decode()
    else:
        size = 0
    count, claim, wakes_at, claim_ends_at = 0, None, None, None
    group: bytes | None = None
    extras: bytes | None = None
    reason: bytes | None = None
    if record and b'\n' in record:
        record, sizes, beside = record.split(b'\n', 2)
        group, extras, reason = _parts(sizes, beside)
    if record:
        times, raised, shown, _, ends, holder = record.split(b' ')
        count = int(times)
        if int(raised):
            expires_at, ttl = int(raised), int(shown)
        if int(ends) > now:
            claim = holder.decode() or None
            wakes_at = None if holder else int(ends)
            claim_ends_at = int(ends) if holder else None
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
        visible_at=wakes_at,
        group=group.decode() if group is not None else None,
        extras=extras,
        reason=rejection_reason_encoding.decode(reason)
        if reason is not None
        else None,
        claim_ends_at=claim_ends_at,
    )


def _parts(
    sizes: bytes, data: bytes
) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Split bytes into parts of three lengths; None for one of -1."""
    one, two, three = map(int, sizes.split(b' '))
    begin = one if one > 0 else 0
    middle = begin + two if two > 0 else begin
    return (
        data[:begin] if one >= 0 else None,
        data[begin:middle] if two >= 0 else None,
        data[middle:] if three >= 0 else None,
    )


def decode_head(seq: bytes, blob: bytes) -> tuple[str, int]:
    """Return id and creation time from :data:`HEAD_SIZE` bytes."""
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


def is_exhausted(record: bytes) -> bool:
    """Tell whether the last claim of a message found it exhausted."""
    return record.split(b' ', 4)[3] == b'1'
