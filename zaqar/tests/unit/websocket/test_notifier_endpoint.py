# SPDX-License-Identifier: Apache-2.0
"""Where notifiers hand messages over: what strangers may hold there."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from zaqar.notification.notifier_request_signatures import (
    MAC,
    NONCE,
    TIME,
    NonceSource,
    RequestAuthenticator,
)
from zaqar.tests.unit.websocket.bare import Loop, turn
from zaqar.transport.websocket import notifier_endpoint
from zaqar.transport.websocket.connection_state_machine import Pushed
from zaqar.transport.websocket.notifier_endpoint import (
    IDLE,
    SLOW,
    InternalServer,
)

#: Bytes of a body.
MOST = 100_000

#: Turns of the loop that anything takes that is not waiting.
ENOUGH = 5000


class Hub:
    """Takes whatever is handed over."""

    async def push(self, connection: str, body: bytes) -> Pushed:
        return Pushed.SENT


class Inner:
    """A server, and connections to it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._mac = RequestAuthenticator.from_secret('secret')
        self._nonces = NonceSource()
        listener = socket.create_server(('127.0.0.1', 0))
        # Of accepted connections, too.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self._address = listener.getsockname()
        self._listener = listener
        self.made: list[socket.socket] = []
        self.server = InternalServer(Hub(), self._mac, MOST)  # type: ignore
        loop.run_until_complete(self.server.start(listener))

    def connect(self, sent: bytes = b'') -> socket.socket:
        """Connect, say something and return when that was heard."""
        connection = socket.create_connection(self._address, 5)
        self.made.append(connection)
        connection.setblocking(False)
        count = len(self.server.tasks)
        for _ in range(ENOUGH):
            turn(self.loop)
            if len(self.server.tasks) != count:
                break
        self.say(connection, sent)
        return connection

    def say(self, to: socket.socket, data: bytes) -> None:
        """Send, and let the other end hear it."""
        to.sendall(data)
        for _ in range(20):
            turn(self.loop)

    def head(self, size: int) -> bytes:
        """Return the head of a request whose signature nobody has seen."""
        return b'POST /here HTTP/1.1\r\nContent-Length: %d\r\n\r\n' % size

    def signed(self, body: bytes = b'{}') -> bytes:
        """Return a request as a notifier sends it."""
        moment, nonce = str(int(time.time())), self._nonces.fresh()
        lines = (
            'POST /here HTTP/1.1',
            f'{TIME}: {moment}',
            f'{NONCE}: {nonce}',
            f'{MAC}: {self._mac.sign("here", moment, nonce, body)}',
            f'Content-Length: {len(body)}',
            *('', ''),
        )
        return '\r\n'.join(lines).encode() + body

    def status(self, of: socket.socket) -> int | None:
        """Return the status of an answer; 0 for the end, None for neither."""
        for _ in range(ENOUGH):
            turn(self.loop)
            try:
                data = of.recv(4096)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return 0
            return int(data.split(b' ')[1]) if data else 0
        return None

    def stop(self) -> None:
        """End."""
        for one in self.made:
            one.close()
        self.loop.run_until_complete(self.server.stop())
        self._listener.close()


@pytest.fixture
def inner() -> Iterator[Inner]:
    loop = Loop()
    server = Inner(loop)
    yield server
    server.stop()
    loop.close()


def test_who_has_signed_may_wait_between_requests(inner: Inner) -> None:
    peer = inner.connect(inner.signed())
    assert inner.status(peer) == 204
    for _ in range(2):
        inner.loop.wait(IDLE - 1)
        inner.say(peer, inner.signed())
        assert inner.status(peer) == 204
    inner.loop.wait(IDLE + 1)
    assert inner.status(peer) == 0


@pytest.mark.parametrize(
    'sent', [b'', b'POST /here', b'POST /here HTTP/1.1\r\nContent-Length: 9']
)
def test_who_has_signed_nothing_may_not(inner: Inner, sent: bytes) -> None:
    stranger = inner.connect(sent)
    inner.loop.wait(SLOW - 1)
    assert len(inner.server.tasks) == 1
    inner.loop.wait(2)
    assert inner.status(stranger) == 0


def test_a_body_has_its_time_whoever_sends_it(inner: Inner) -> None:
    peer = inner.connect(inner.signed())
    assert inner.status(peer) == 204
    inner.say(peer, inner.head(10))
    inner.loop.wait(SLOW + 1)
    assert inner.status(peer) == 0


def test_strangers_keep_no_notifier_out(
    inner: Inner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_endpoint, 'MAX_PEERS', 3)
    peer = inner.connect(inner.signed())
    assert inner.status(peer) == 204
    first, second = inner.connect(), inner.connect()
    other = inner.connect(inner.signed())
    assert inner.status(first) == 0
    assert inner.status(other) == 204
    third = inner.connect(inner.signed())
    assert inner.status(second) == 0
    assert inner.status(third) == 204
    # All have signed by now.
    assert inner.status(inner.connect()) == 503
    for one in (peer, other, third):
        inner.say(one, inner.signed())
        assert inner.status(one) == 204


def test_bodies_that_nobody_has_signed_are_bounded_together(
    inner: Inner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_endpoint, 'MAX_UNSIGNED', 2 * MOST)
    monkeypatch.setattr(notifier_endpoint, 'MAX_READING', 4 * MOST)
    peers = [inner.connect(inner.signed()) for _ in range(4)]
    for one in peers:
        assert inner.status(one) == 204
    strangers = [inner.connect(inner.head(MOST)) for _ in range(2)]
    assert inner.status(inner.connect(inner.head(1))) == 503
    for one in peers[:2]:
        inner.say(one, inner.head(MOST))
    inner.say(peers[2], inner.head(1))
    assert inner.status(peers[2]) == 503
    # What is read makes room.
    for one in strangers:
        inner.say(one, bytes(MOST))
        assert inner.status(one) == 403
    inner.say(peers[3], inner.signed(bytes(MOST)))
    assert inner.status(peers[3]) == 204


def test_who_reads_no_answers_is_left(inner: Inner) -> None:
    deaf = inner.connect()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    left = 0
    while left < ENOUGH:
        try:
            deaf.send(inner.signed())
            left = 0
        except BlockingIOError:
            left += 1
            turn(inner.loop)
    # Answered is what the system takes, and no more.
    assert len(inner.server.tasks) == 1
    inner.loop.wait(SLOW + 1)
    for _ in range(10):
        turn(inner.loop)
    assert not inner.server.tasks
