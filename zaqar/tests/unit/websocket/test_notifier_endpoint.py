# SPDX-License-Identifier: Apache-2.0
"""Where notifiers hand messages over: what strangers may hold there."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence

import pytest

from zaqar.socket_pushes import push_frames, signed_push_channel
from zaqar.socket_pushes.signed_push_channel import (
    LENGTH,
    SIGNATURE,
    Channel,
    Key,
)
from zaqar.tests.unit.websocket.bare import Loop, turn
from zaqar.transport.websocket import notifier_endpoint
from zaqar.transport.websocket.connection_state_machine import Pushed
from zaqar.transport.websocket.notifier_endpoint import (
    IDLE,
    SLOW,
    NotifierEndpoint,
)

#: Bytes of a body.
MOST = 100_000

#: Turns of the loop after which nothing changes any more, and the maximum
#: seconds until something comes.
ENOUGH = 5000
PATIENCE = 60

SENT = bytes([0])


class Pushes:
    """Takes whatever is handed over."""

    def __init__(self) -> None:
        self.taken: list[tuple[Sequence[str], Sequence[bytes]]] = []

    async def push(
        self, connections: Sequence[str], texts: Sequence[bytes]
    ) -> Sequence[Pushed]:
        self.taken.append((connections, texts))
        return [Pushed.SENT] * len(connections)


class Peer:
    """A connection to the endpoint."""

    def __init__(self, loop: Loop, address: tuple[str, int]) -> None:
        self._loop = loop
        self.socket = socket.create_connection(address, 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._received = b''

    def reply(self, secret: str = 'secret') -> Channel:
        """Answer the challenge."""
        challenge = self.read(signed_push_channel.CHALLENGE)
        assert challenge is not None
        reply, channel = Key(secret).reply(challenge)
        self.say(reply)
        return channel

    def say(self, data: bytes) -> None:
        """Send, and let the other end receive it."""
        self.socket.sendall(data)
        for _ in range(20):
            turn(self._loop)

    def read(self, size: int) -> bytes | None:
        """Return bytes; b'' for the end, None for neither."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if len(self._received) >= size:
                data = self._received[:size]
                self._received = self._received[size:]
                return data
            turn(self._loop)
            try:
                data = self.socket.recv(4096)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return b''
            if not data:
                return b''
            self._received += data
        return None

    def answer(self, channel: Channel) -> bytes | None:
        """Return the next answer, b'' for the end."""
        head = self.read(LENGTH)
        if not head:
            return head
        frame = self.read(int.from_bytes(head, 'big') + SIGNATURE)
        assert frame
        return channel.opened(frame)


class Inner:
    """A server, and connections to it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        listener = socket.create_server(('127.0.0.1', 0))
        # Of accepted connections, too. Without this, and the same at the other
        # end, what is sent waits for an acknowledgement of what was sent
        # before, for 40 ms or more; asyncio only sees to it where the socket
        # names its protocol.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self._listener = listener
        self.made: list[Peer] = []
        self.pushes = Pushes()
        self.server = NotifierEndpoint(
            self.pushes,  # type: ignore[arg-type]
            Key('secret'),
            MOST,
        )
        loop.run_until_complete(self.server.start(listener))

    def connect(self) -> Peer:
        """Connect, and return when that was noticed."""
        peer = Peer(self.loop, self._listener.getsockname())
        self.made.append(peer)
        count = len(self.server.tasks)
        for _ in range(ENOUGH):
            turn(self.loop)
            if len(self.server.tasks) != count:
                break
        return peer

    def notifier(self) -> tuple[Peer, Channel]:
        """Connect as a notifier."""
        peer = self.connect()
        return peer, peer.reply()

    def stop(self) -> None:
        """End."""
        for one in self.made:
            one.socket.close()
        self.loop.run_until_complete(self.server.stop())
        self._listener.close()


def _signed(channel: Channel, text: bytes = b'{}') -> bytes:
    return channel.sealed(push_frames.encode(['here'], [text]))


@pytest.fixture
def inner() -> Iterator[Inner]:
    loop = Loop()
    server = Inner(loop)
    yield server
    server.stop()
    loop.close()


def test_a_hand_over_is_answered_for_each_connection(inner: Inner) -> None:
    peer, channel = inner.notifier()
    data = push_frames.encode(['here', 'there'], [b'"a"', b'"b"'])
    # Two at once: answers come in their order.
    peer.say(channel.sealed(data) + _signed(channel))
    assert peer.answer(channel) == 2 * SENT
    assert peer.answer(channel) == SENT
    assert inner.pushes.taken == [
        (['here', 'there'], [b'"a"', b'"b"']),
        (['here'], [b'{}']),
    ]


def test_a_notifier_may_wait_between_hand_overs(inner: Inner) -> None:
    peer, channel = inner.notifier()
    for _ in range(2):
        inner.loop.wait(IDLE - 1)
        peer.say(_signed(channel))
        assert peer.answer(channel) == SENT
    inner.loop.wait(IDLE + 1)
    assert peer.read(1) == b''


@pytest.mark.parametrize('sent', [b'', b'POST /here', b'zaqar'])
def test_who_proves_nothing_may_not(inner: Inner, sent: bytes) -> None:
    stranger = inner.connect()
    stranger.say(sent)
    inner.loop.wait(SLOW - 1)
    assert len(inner.server.tasks) == 1
    inner.loop.wait(2)
    stranger.read(signed_push_channel.CHALLENGE)
    assert stranger.read(1) == b''


def test_nothing_is_taken_from_strangers(inner: Inner) -> None:
    stranger = inner.connect()
    channel = stranger.reply('another secret')
    stranger.say(_signed(channel))
    assert stranger.read(1) == b''
    # Neither is a frame that was changed on its way, nor a long one.
    peer, channel = inner.notifier()
    peer.say(_signed(channel)[:-1] + b'x')
    assert peer.read(1) == b''
    peer, channel = inner.notifier()
    peer.say((channel.most + 1).to_bytes(LENGTH, 'big'))
    assert peer.read(1) == b''
    assert inner.pushes.taken == []


def test_a_frame_has_its_time(inner: Inner) -> None:
    peer, channel = inner.notifier()
    peer.say(_signed(channel)[:10])
    inner.loop.wait(SLOW + 1)
    assert peer.read(1) == b''


def test_strangers_keep_no_notifier_out(
    inner: Inner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_endpoint, 'MAX_PEERS', 3)

    def serves(peer: Peer, channel: Channel) -> bool:
        peer.say(_signed(channel))
        return peer.answer(channel) == SENT

    notifiers = [inner.notifier()]
    first, second = inner.connect(), inner.connect()
    for stranger in (first, second):
        notifiers.append(inner.notifier())
        assert stranger.read(signed_push_channel.CHALLENGE + 1) == b''
        assert serves(*notifiers[-1])
    # All have shown who they are by now.
    assert inner.connect().read(1) == b''
    assert all(serves(*one) for one in notifiers)


def test_what_is_read_is_bounded_and_others_wait(
    inner: Inner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_endpoint, 'MAX_READING', MOST)
    (first, one), (second, other) = inner.notifier(), inner.notifier()
    long = _signed(one, bytes(MOST - 1000))
    first.say(long[:-1])
    second.say(_signed(other, bytes(MOST - 1000)))
    assert len(inner.pushes.taken) == 0
    first.say(long[-1:])
    assert first.answer(one) == SENT
    assert second.answer(other) == SENT


def test_who_reads_no_answers_is_left(inner: Inner) -> None:
    deaf, channel = inner.notifier()
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    left = 0
    rest = b''
    while left < ENOUGH:
        rest = rest or b''.join(_signed(channel) for _ in range(50))
        try:
            rest = rest[deaf.socket.send(rest) :]
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
