# SPDX-License-Identifier: Apache-2.0
"""The body column of a row: the body itself, or a reference to an object.

A reference begins with a byte that no JSON text and no encrypted body begins
with. A body that does so all the same is stored behind an escape byte. All
others are stored unchanged, so that rows of the SQL driver can be read, too.
"""

import hashlib
from dataclasses import dataclass

from zaqar.objects import NewMessage

#: The largest body that is stored in the row, in bytes.
INLINE = 4096

#: Seconds for which an object outlives its message: time for the clocks of
#: both servers to differ, and for claims to prolong the life of the message.
GRACE = 86_400

#: Of these, seconds that must be left.
SLACK = 3600

_REFERENCE = b'\x02'
_ESCAPE = b'\x03'


@dataclass(frozen=True, slots=True)
class Reference:
    """The object that holds a body.

    :ivar name: of the object, behind the id of the queue
    :ivar expires_at: when the object does, by the clock of the rows, unless
        its life has been prolonged since
    """

    name: str
    expires_at: int

    def pack(self) -> bytes:
        """Return the content of the row."""
        return _REFERENCE + f'{self.expires_at:x} {self.name}'.encode()

    def is_short(self, expires_at: int) -> bool:
        """Tell whether the object may expire before its message does."""
        return expires_at + SLACK * 1000 > self.expires_at


def reference(
    message: NewMessage, place: int, token: str, now: int
) -> Reference:
    """Return the reference for the body of a message.

    A repeated post writes the same objects. The name depends on everything
    that distinguishes messages, their bodies included, so that no object is
    ever written with two contents.

    :param place: of the message in its post
    """
    digest = hashlib.blake2b(message.body, digest_size=20)
    for part in (token, str(place), message.rnd, message.id or ''):
        digest.update(b'\0' + part.encode())
    return Reference(digest.hexdigest(), now + (message.ttl + GRACE) * 1000)


def inline(body: bytes) -> bytes:
    """Return the content of the row for a body that is stored there."""
    return _ESCAPE + body if body[:1] in (_REFERENCE, _ESCAPE) else body


def unpack(row: bytes) -> bytes | Reference:
    """Return the body in a row, or the reference to it."""
    row = bytes(row)
    if row[:1] == _ESCAPE:
        return row[1:]
    if row[:1] != _REFERENCE:
        return row
    expires_at, _, name = row[1:].decode().partition(' ')
    return Reference(name, int(expires_at, 16))
