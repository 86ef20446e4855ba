# SPDX-License-Identifier: Apache-2.0
"""Data of the frames in which notifiers hand messages to WebSocket servers.

:source: reference/websocket, "Pushes"
"""

from collections.abc import Sequence

import msgspec

from zaqar.socket_pushes.signed_push_channel import Refused

#: Maximum number of connections of a hand-over, and bytes for them.
MAX_CONNECTIONS = 1000
ROOM = 64 * 1024


class HandOver(msgspec.Struct, array_like=True):
    """Messages, as JSON texts, that each of some connections is to get."""

    connections: list[str]
    texts: list[bytes]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(HandOver)


def encode(connections: Sequence[str], texts: Sequence[bytes]) -> bytes:
    """Return a hand-over as the data of a frame."""
    return _ENCODER.encode(HandOver(list(connections), list(texts)))


def decode(data: bytes) -> HandOver:
    """Return the hand-over that a frame holds.

    :raises Refused: it is malformed
    """
    try:
        hand_over = _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise Refused(str(error)) from None
    if len(hand_over.connections) > MAX_CONNECTIONS:
        raise Refused('too many connections')
    return hand_over
