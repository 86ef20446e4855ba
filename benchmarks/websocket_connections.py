# SPDX-License-Identifier: Apache-2.0
"""WebSocket connections for the load generator: frames built beforehand."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from benchmarks import floor, load, target
from benchmarks.load import Step, WrongAnswerError

_HANDSHAKE = (
    b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n'
    b'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
    b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
)

_CHUNK = 1 << 18

#: What stands before a number of one byte in MessagePack.
_UINT8 = 0xCC

#: The first of the opcodes of control frames.
_CLOSE = 8


class Encoding(NamedTuple):
    """How frames are written.

    :ivar opcode: of a frame
    :ivar status: returns that of an answer, which ends with it
    """

    opcode: int
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    status: Callable[[bytes], int]


#: In JSON an answer ends with ``{"status":200}}``, in MessagePack with a byte
#: or two of the number.
JSON = Encoding(
    0x81,
    msgspec.json.encode,
    msgspec.json.decode,
    lambda answer: int(answer[-5:-2]),
)
MESSAGE_PACK = Encoding(
    0x82,
    msgspec.msgpack.encode,
    msgspec.msgpack.decode,
    lambda answer: (
        answer[-1]
        if answer[-2] == _UINT8
        else int.from_bytes(answer[-2:], 'big')
    ),
)


def frame(data: bytes, opcode: int = JSON.opcode) -> bytes:
    """Return a frame as clients send it, masked with zeroes."""
    size = len(data)
    if size < 126:
        head = bytes((opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((opcode, 0xFE)) + size.to_bytes(2, 'big')
    else:
        head = bytes((opcode, 0xFF)) + size.to_bytes(8, 'big')
    return head + bytes(4) + data


def request(
    project: str,
    action: str,
    body: Mapping[str, Any],
    encoding: Encoding = JSON,
) -> bytes:
    """Return the frame of a request."""
    poster = action == 'message_post'
    headers = {
        'Client-ID': target.POSTER if poster else target.READER,
        'X-Project-ID': project,
    }
    document = {'action': action, 'headers': headers, 'body': body}
    return frame(encoding.encode(document), encoding.opcode)


class Socket(load.Connection):
    """One connection, its handshake done.

    :cvar encoding: of the frames that are answers
    """

    encoding = JSON

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.socket.sendall(_HANDSHAKE)
        while b'\r\n\r\n' not in self._buffer:
            self._buffer += self.socket.recv(_CHUNK)
        if not self._buffer.startswith(b'HTTP/1.1 101'):
            raise WrongAnswerError(self._buffer.decode(errors='replace'))
        self._buffer = self._buffer.partition(b'\r\n\r\n')[2]

    def receive(self) -> bytes | None:
        """Take what has come; return the answer once it is complete."""
        data = self.socket.recv(_CHUNK)
        if not data:
            raise WrongAnswerError('the server closed a connection')
        self._buffer += data
        for frame in self.frames():
            self.check(self.encoding.status(frame), frame)
            return frame
        return None

    def frames(self) -> Iterator[bytes]:
        """Yield whole frames of what has come, but for pings and pongs."""
        while len(self._buffer) >= 2:
            size, at = self._buffer[1], 2
            if size == 126:
                size, at = int.from_bytes(self._buffer[2:4], 'big'), 4
            elif size == 127:
                size, at = int.from_bytes(self._buffer[2:10], 'big'), 10
            if len(self._buffer) < at + size:
                return
            kind, payload = (
                self._buffer[0] & 0x0F,
                self._buffer[at : at + size],
            )
            self._buffer = self._buffer[at + size :]
            if kind == _CLOSE:
                raise WrongAnswerError('the server closed a connection')
            if kind < _CLOSE:
                yield payload

    def pushes(self) -> int:
        """Take what has come without a wait; return how many frames."""
        try:
            self._buffer += self.socket.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        return sum(1 for _ in self.frames())


class PackedSocket(Socket):
    """One that is answered in MessagePack."""

    encoding = MESSAGE_PACK


class Frames:
    """What one queue is sent in frames; see :class:`client_scripts.Sender`.

    :ivar poor: status of a claim that gets nothing, if that is let pass
    """

    poor = 0

    def __init__(
        self, project: str, queue: str, encoding: Encoding = JSON
    ) -> None:
        self._project = project
        self._queue = queue
        self._encoding = encoding

    def post(self, count: int) -> Step:
        """Return a post of some messages."""
        message = {'ttl': target.TTL, 'body': msgspec.json.decode(target.BODY)}
        return self._step('message_post', 201, messages=[message] * count)

    def show(self) -> Step:
        """Return a reading of the metadata."""
        return self._step('queue_get', 200)

    def list(self) -> Step:
        """Return a reading of a page."""
        return self._step('message_list', 200, limit=floor.PAGE)

    def claim(self) -> Step:
        """Return a claim."""
        terms = {'ttl': floor.CLAIM_TTL, 'grace': floor.GRACE}
        step = self._step('claim_create', 201, limit=floor.CLAIM, **terms)
        return step._replace(poor=self.poor)

    def messages(self, answer: bytes) -> Sequence[Mapping[str, str]]:
        """Return those of an answer to a claim."""
        return self._encoding.decode(answer)['body'].get('messages', ())

    def delete_claimed(self, message: Mapping[str, str]) -> Step:
        """Return a deletion of one of them."""
        ids = {'message_id': message['id'], 'claim_id': message['claim_id']}
        return self._step('message_delete', 204, **ids)

    def _step(self, action: str, status: int, **body: Any) -> Step:
        body['queue_name'] = self._queue
        data = request(self._project, action, body, self._encoding)
        return Step(data, status)


def counted(
    opened: Sequence[Socket], wanted: int, began: float
) -> tuple[float, int]:
    """Count frames until all have come, or nothing comes any more.

    :param began: when it began, by :func:`time.perf_counter`
    :returns: the seconds until the last one, and how many have come
    """
    by_number = {one.fileno(): one for one in opened}
    arrived, last = 0, began
    with select.epoll() as poll:
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        while arrived < wanted:
            ready = poll.poll(load.PATIENCE)
            if not ready:
                break
            arrived += sum(by_number[number].pushes() for number, _ in ready)
            last = time.perf_counter()
    return last - began, arrived
