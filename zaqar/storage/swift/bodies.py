# SPDX-License-Identifier: Apache-2.0
"""What stands in the row of a message: its body, or where that is.

A reference begins with a byte that no JSON text and no sealed body begins
with. Should a body begin so all the same, it is kept behind an escape. All
others stand in the row as they are, so that rows which the SQL driver wrote
are read, too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from zaqar.models import NewMessage

#: Bytes of a body that goes into the row.
INLINE = 4096

#: Seconds for which an object outlives its message: time for the clocks of
#: both servers to differ, and for claims to prolong the life of the message.
GRACE = 86_400

#: Of these, seconds that have to be left.
SLACK = 3600

_REFERENCE = b'\x02'
_ESCAPE = b'\x03'


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a body is.

    :ivar name: of the object, behind the id of the queue
    :ivar expires_at: when the object does, by the clock of the rows, unless
        its life has been prolonged since
    """

    name: str
    expires_at: int

    def pack(self) -> bytes:
        """Return what stands in the row."""
        return _REFERENCE + f'{self.expires_at:x} {self.name}'.encode()

    def is_short(self, expires_at: int) -> bool:
        """Tell whether the object may die before a message that does then."""
        return expires_at + SLACK * 1000 > self.expires_at


def reference(
    message: NewMessage, place: int, token: str, now: int
) -> Reference:
    """Return where the body of a message goes.

    A post that is repeated writes the same objects. The name depends on all
    that tells messages apart, their bodies among it, so that no object is
    ever written with two contents.

    :param place: of the message in its post
    """
    sum_ = hashlib.blake2b(message.body, digest_size=20)
    for part in (token, str(place), message.rnd, message.id or ''):
        sum_.update(b'\0' + part.encode())
    return Reference(sum_.hexdigest(), now + (message.ttl + GRACE) * 1000)


def inline(body: bytes) -> bytes:
    """Return what stands in the row for a body that stays there."""
    return _ESCAPE + body if body[:1] in (_REFERENCE, _ESCAPE) else body


def unpack(row: bytes) -> bytes | Reference:
    """Return the body in a row, or where it is."""
    row = bytes(row)
    if row[:1] == _ESCAPE:
        return row[1:]
    if row[:1] != _REFERENCE:
        return row
    expires_at, _, name = row[1:].decode().partition(' ')
    return Reference(name, int(expires_at, 16))
