# SPDX-License-Identifier: Apache-2.0
"""WebSocket connections for the load generator: frames built beforehand."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from benchmarks import load, target
from benchmarks.load import Step, WrongAnswerError

_HANDSHAKE = (
    b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n'
    b'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
    b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
)

_CHUNK = 1 << 18

#: The first of the opcodes of control frames.
_CLOSE = 8


def frame(data: bytes) -> bytes:
    """Return a text frame as clients send it, masked with zeroes."""
    size = len(data)
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 65536:
        head = bytes((0x81, 0xFE)) + size.to_bytes(2, 'big')
    else:
        head = bytes((0x81, 0xFF)) + size.to_bytes(8, 'big')
    return head + bytes(4) + data


def request(project: str, action: str, body: Mapping[str, Any]) -> bytes:
    """Return the frame of a request."""
    poster = action == 'message_post'
    headers = {
        'Client-ID': target.POSTER if poster else target.READER,
        'X-Project-ID': project,
    }
    document = {'action': action, 'headers': headers, 'body': body}
    return frame(msgspec.json.encode(document))


class Socket(load.Connection):
    """One connection, its handshake done."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.socket.sendall(_HANDSHAKE)
        while b'\r\n\r\n' not in self._buffer:
            self._buffer += self.socket.recv(_CHUNK)
        if not self._buffer.startswith(b'HTTP/1.1 101'):
            raise WrongAnswerError(self._buffer.decode(errors='replace'))
        self._buffer = self._buffer.partition(b'\r\n\r\n')[2]

    def send(self, step: Step) -> None:
        """Send a request."""
        self._expected = step.status
        self.sent_at = time.perf_counter()
        self.socket.sendall(step.request)

    def receive(self) -> bytes | None:
        """Take what has come; return the answer once it is complete."""
        data = self.socket.recv(_CHUNK)
        if not data:
            raise WrongAnswerError('the server closed a connection')
        self._buffer += data
        for frame in self.frames():
            # An answer ends with {"status":200}}.
            if int(frame[-5:-2]) != self._expected:
                raise WrongAnswerError(
                    f'{self._expected} was expected:\n{frame.decode()}'
                )
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
