# SPDX-License-Identifier: Apache-2.0
"""The frames in which streams of WebSockets send messages.

A message is *rendered* once for all streams of a kind; what differs from one
stream to the other is added when it is sent.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from zaqar.microversion_constants import V2_1
from zaqar.objects import Message, Scope
from zaqar.transport.websocket import frame_codecs, rfc6455_fast_path
from zaqar.transport.websocket import response_views as frame_views
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.recent_stream_events import Rendering


def _rendered(message: Message, now: int, is_binary: bool) -> bytes:
    """Return the members of a frame that are the same for all streams.

    The first byte would begin an object of these alone.
    """
    codec = frame_codecs.codec(is_binary)
    members = {
        'marker': message.marker,
        'message': frame_views.message(message, now, V2_1, codec.body),
    }
    return codec.encode(members)[1:]


def _as_text(message: Message, now: int, scope: Scope) -> bytes:
    return _rendered(message, now, False)


def _as_binary(message: Message, now: int, scope: Scope) -> bytes:
    return _rendered(message, now, True)


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """The frames of a stream, one for each message."""

    stream_id: str
    is_binary: bool

    @property
    def rendering(self) -> Rendering:
        return _as_binary if self.is_binary else _as_text

    def joined(self, parts: Iterable[bytes]) -> bytes:
        """Return frames, ready to be written."""
        head = self._head()
        return b''.join(
            piece
            for part in parts
            for piece in rfc6455_fast_path.framed(
                Frame(head + part, self.is_binary)
            )
        )

    def end(self, marker: str, error: str) -> Frame:
        """Return the last frame of a stream that the server ends."""
        document = {
            'stream_id': self.stream_id,
            'marker': marker,
            'error': error,
        }
        codec = frame_codecs.codec(self.is_binary)
        return Frame(codec.encode(document), self.is_binary)

    def _head(self) -> bytes:
        """Return the beginning of an object with two more members."""
        codec = frame_codecs.codec(self.is_binary)
        alone = codec.encode({'stream_id': self.stream_id})
        # An object of MessagePack begins with the number of its members.
        return b'\x83' + alone[1:] if self.is_binary else alone[:-1] + b','
