# SPDX-License-Identifier: Apache-2.0
"""A load generator: connections that send the next request once answered.

Plain sockets, requests built beforehand and one thread sustain tens of
thousands of requests a second, more than any server here can serve.
"""

from __future__ import annotations

import gc
import itertools
import select
import socket
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: Seconds after which a silent server is given up.
PATIENCE = 30.0

_CHUNK = 1 << 18
_LENGTH = b'\r\ncontent-length: '


class Step(NamedTuple):
    """A request and the status that its answer must have.

    :ivar poor: another status, which is counted; its answer is no sample
    """

    request: bytes
    status: int
    poor: int = 0


#: What a connection does: yields steps, is sent the bodies of the answers, and
#: ends when it has nothing more to do.
Script = Generator[Step, bytes, None]


def repeat(*steps: Step) -> Script:
    """Send some requests over and over, in turns."""
    turns = itertools.cycle(steps)
    while True:
        # Not "yield from": the generator is sent the answers.
        yield next(turns)


class WrongAnswerError(Exception):
    """The server did not answer as it should."""


@dataclass
class Samples:
    """What was measured.

    :ivar elapsed: seconds from the first request to the last answer counted
    :ivar latencies: seconds of each request
    :ivar poor: answers beside them that were let pass
    """

    elapsed: float = 0.0
    poor: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.elapsed if self.elapsed else 0.0


class Connection:
    """One kept-alive connection.

    :ivar socket: for what is no request with an answer
    :ivar head: of the last answer
    :ivar is_poor: whether that has the status that is let pass
    """

    is_poor = False

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(('127.0.0.1', port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b''
        self._step = Step(b'', 0)
        self.sent_at = 0.0
        self.head = b''

    def fileno(self) -> int:
        """Return the descriptor, for polling."""
        return self.socket.fileno()

    def send(self, step: Step) -> None:
        """Send a request."""
        self._step = step
        self.sent_at = time.perf_counter()
        self.socket.sendall(step.request)

    def receive(self) -> bytes | None:
        """Take what has come; return the body once the answer is complete.

        :raises WrongAnswerError: another status, or the connection ended
        """
        data = self.socket.recv(_CHUNK)
        if not data:
            raise WrongAnswerError('the server closed a connection')
        self._buffer += data
        head, blank_line, body = self._buffer.partition(b'\r\n\r\n')
        if not blank_line or len(body) < _length(head):
            return None
        self._buffer = b''
        self.head = head
        self.check(int(head[9:12]), head + b'\n' + body)
        return body

    def check(self, status: int, answer: bytes) -> None:
        """Look at the status of an answer.

        :raises WrongAnswerError: it is none of those that may come
        """
        expected = self._step.status
        self.is_poor = status == self._step.poor
        if status != expected and not self.is_poor:
            text = answer.decode(errors='replace')
            raise WrongAnswerError(f'{expected} was expected:\n{text}')

    def exchange(self, step: Step) -> bytes:
        """Send a request and wait for the body of its answer."""
        self.send(step)
        while (body := self.receive()) is None:
            pass
        return body

    def close(self) -> None:
        """End the connection."""
        self.socket.close()


def _length(head: bytes) -> int:
    _, header, rest = head.lower().partition(_LENGTH)
    return int(rest.partition(b'\r\n')[0]) if header else 0


def run(
    port: int,
    scripts: Sequence[Script],
    seconds: float,
    connect: Callable[[int], Connection] = Connection,
) -> Samples:
    """Let each script run on a connection of its own.

    Ends after ``seconds``, or when the first script has nothing more to do,
    so that all the time that counts, all connections were busy.

    :param connect: makes a connection to a port
    :raises WrongAnswerError: the server did not answer as it should
    """
    busy = {connect(port): script for script in scripts}
    opened = [*busy]
    gc.collect()
    gc.disable()
    try:
        return _Run(busy, seconds).samples
    finally:
        gc.enable()
        for connection in opened:
            connection.close()


class _Run:
    """Scripts at work, each on its connection, until all have ended."""

    def __init__(self, busy: dict[Connection, Script], seconds: float) -> None:
        self.samples = Samples()
        self._busy = busy
        self._by_number = {item.fileno(): item for item in busy}
        self._begin = time.perf_counter()
        self._end = self._begin + seconds
        with select.epoll() as poll:
            for connection, script in busy.items():
                poll.register(connection, select.EPOLLIN)
                connection.send(next(script))
            self._go_on(poll)

    def _go_on(self, poll: select.epoll) -> None:
        while self._busy:
            ready = poll.poll(PATIENCE)
            if not ready:
                raise WrongAnswerError(f'no answer in {PATIENCE:.0f} seconds')
            for number, _ in ready:
                connection = self._by_number[number]
                body = connection.receive()
                if body is not None:
                    self._answered(connection, body)

    def _answered(self, connection: Connection, body: bytes) -> None:
        now = time.perf_counter()
        if now < self._end:
            if connection.is_poor:
                self.samples.poor += 1
            else:
                self.samples.latencies.append(now - connection.sent_at)
            self.samples.elapsed = now - self._begin
        try:
            step = self._busy[connection].send(body)
        except StopIteration:
            self._end = min(self._end, now)
        if now < self._end:
            connection.send(step)
        else:
            # It asks no more; what is under way elsewhere is waited for.
            del self._busy[connection]
