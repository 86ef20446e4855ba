# SPDX-License-Identifier: Apache-2.0
"""Ids and markers of messages, which the drivers here form alike.

And what can be the id of a claim.

An id is the message's sequence number and a random half, 16 hexadecimal digits
each; a marker is the number alone. A dead letter keeps the id it had in the
queue that it comes from.
"""

import re

from zaqar.objects import NewMessage

#: The last sequence number.
MAX_SEQ = 2**63 - 1

_ID = re.compile(r'[0-9a-f]{32}')
_MARKER = re.compile(r'[0-9a-f]{16}')
_CLAIM = re.compile(r'[A-Za-z0-9_-]{1,64}')


def make_id(seq: int, rnd: str) -> str:
    return f'{seq:016x}{rnd}'


def id_of(message: NewMessage, seq: int) -> str:
    """Return the id of a message that gets this sequence number."""
    return message.id or make_id(seq, message.rnd)


def is_id(text: str) -> bool:
    return bool(_ID.fullmatch(text))


def parse_id(text: str) -> tuple[int, str] | None:
    """Return sequence number and random half, None if it is no id."""
    if not _ID.fullmatch(text):
        return None
    seq = int(text[:16], 16)
    return (seq, text[16:]) if seq <= MAX_SEQ else None


def make_marker(seq: int) -> str:
    return f'{seq:016x}'


def parse_marker(text: str) -> int | None:
    """Return the sequence number of a marker, None if it is no marker."""
    if not _MARKER.fullmatch(text):
        return None
    seq = int(text, 16)
    return seq if seq <= MAX_SEQ else None


def is_claim_id(text: str) -> bool:
    return bool(_CLAIM.fullmatch(text))
