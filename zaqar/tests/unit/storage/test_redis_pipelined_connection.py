# SPDX-License-Identifier: Apache-2.0
"""The connection to Redis that greenlets share, to a server of our own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import math
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import hiredis
import pytest
from redis import connection as client_library
from redis import exceptions

from zaqar import greenlets_stalled_on_stores
from zaqar.current_request import OF_THREAD
from zaqar.errors import StoreUnavailable
from zaqar.storage.redis.pipelined_connection import (
    MOST_TOGETHER,
    PipelinedConnection,
)
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets

_ROLE = hiredis.pack_command(('INFO', 'replication'))


class Server:
    """Answers each command with its last word, but for a few.

    :ivar role: what it answers about itself
    :ivar received: what has come, by packets
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.role = b'role:master'
        self.received: list[Sequence[Any]] = []
        serving = asyncio.start_server(self._talk, '127.0.0.1', 0)
        self._listening = loop.run_until_complete(serving)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(65536):
            commands.feed(data)
            packet: list[Any] = []
            while (command := commands.gets()) is not False:
                packet.append(command[-1])
                writer.write(self._answer(command[-1]))
                if command[-1] == b'close':
                    writer.close()
            self.received.append(packet)

    def _answer(self, word: bytes) -> bytes:
        if word == b'replication':
            return b'$%d\r\n%s\r\n' % (len(self.role), self.role)
        if word == b'loading':
            return b'-LOADING it loads\r\n'
        if word == b'error':
            return b'-ERR so it is\r\n'
        return b'' if word in (b'silence', b'close') else b'+%s\r\n' % word


class Side:
    """A connection to such a server."""

    def __init__(
        self, greenlets: Greenlets, role: bytes = b'', timeout: float = 60.0
    ) -> None:
        self.greenlets = greenlets
        self.server = Server(greenlets.loop)
        connected = client_library.Connection(
            host='127.0.0.1',
            port=self.server.port,
            protocol=2,
            driver_info=None,
        )
        connected.connect()
        self.pipelined = PipelinedConnection(
            greenlets.hub, connected, timeout, role, 5.0
        )
        greenlets.loop.call_soon(self.pipelined.open)
        while not self.pipelined.is_open:
            greenlets.loop.run_until_complete(asyncio.sleep(0))

    def exchange(self, *words: str) -> list[Any]:
        """Send commands, in a greenlet."""
        one = OF_THREAD.request.greenlet
        assert one is not None
        commands = (hiredis.pack_command(('ECHO', word)) for word in words)
        return self.pipelined.exchange(one, b''.join(commands), len(words))

    def run(self, *exchanges: Sequence[str]) -> Sequence[Any]:
        """Send commands, each some in a greenlet; return what they get."""
        return self.greenlets.run(
            *(functools.partial(self.exchange, *each) for each in exchanges)
        )


@pytest.fixture
def side(greenlets: Greenlets) -> Iterator[Side]:
    yield Side(greenlets)


def test_each_gets_the_answers_to_its_own_commands(side: Side) -> None:
    results = side.run(*([f'a{n}', f'b{n}'] for n in range(20)))
    assert results == [[b'a%d' % n, b'b%d' % n] for n in range(20)]


def test_what_waits_together_is_sent_together(side: Side) -> None:
    side.run('a', 'b', 'c')
    assert side.server.received == [[b'a', b'b', b'c']]


def test_what_gathers_is_sent_when_it_is_much(greenlets: Greenlets) -> None:
    pipelined, other, _ = _scripted(greenlets)
    greenlets.loop.call_soon(pipelined.open)
    _spin(greenlets)
    received = []

    def look() -> None:
        with contextlib.suppress(BlockingIOError):
            received.append(other.recv(100, socket.MSG_DONTWAIT))

    begin = greenlets.hub.begin
    for count in (MOST_TOGETHER - 1, 1, 1):
        for _ in range(count):
            begin(functools.partial(_exchange, pipelined))
        look()
    assert received == [b'x' * MOST_TOGETHER]
    _spin(greenlets)
    look()
    assert received[1:] == [b'x']
    other.close()


def test_an_error_is_an_answer(side: Side) -> None:
    (first, second), other = side.run(['error', 'a'], ['b'])
    assert isinstance(first, exceptions.ResponseError)
    assert [second, *other] == [b'a', b'b']


def test_who_waits_when_it_breaks_is_told_so(side: Side) -> None:
    answered, *others = side.run(['a'], ['close'], ['b', 'c'])
    assert answered == [b'a']
    assert all(isinstance(e, exceptions.ConnectionError) for e in others)
    assert side.pipelined.is_over


def test_a_server_that_serves_nobody_ends_it(side: Side) -> None:
    results = side.run(['loading'], ['a'])
    assert all(isinstance(e, exceptions.ConnectionError) for e in results)
    assert not side.pipelined.is_open


def test_silence_ends_it(greenlets: Greenlets) -> None:
    side = Side(greenlets, timeout=0.02)
    answered, *others = side.run(['a'], ['silence'], ['silence'])
    assert answered == [b'a']
    assert all(isinstance(e, exceptions.TimeoutError) for e in others)
    assert side.pipelined.is_over


def test_one_that_is_retired_waits_for_its_answers(side: Side) -> None:
    results = side.greenlets.run(
        lambda: side.exchange('a'), side.pipelined.close_soon
    )
    assert results == [[b'a'], None]
    assert side.pipelined.is_over


def test_the_role_is_asked_for_now_and_then(greenlets: Greenlets) -> None:
    side = Side(greenlets, _ROLE)
    assert side.run('a', 'b') == [[b'a'], [b'b']]
    assert side.run('c') == [[b'c']]
    assert side.server.received == [[b'replication', b'a', b'b'], [b'c']]


def test_nothing_is_believed_of_a_replica(greenlets: Greenlets) -> None:
    side = Side(greenlets, _ROLE)
    side.server.role = b'role:slave'
    for result in side.run('a', 'b'):
        # It may be promoted before it executes them.
        assert isinstance(result, exceptions.ConnectionError)
    assert side.pipelined.is_over


def _scripted(
    greenlets: Greenlets, timeout: float = 60.0
) -> tuple[PipelinedConnection, socket.socket, list[float]]:
    """Return a connection, its other end, and the time that it goes by."""
    own, other = socket.socketpair()
    now = [0.0]
    pipelined = PipelinedConnection(
        *(greenlets.hub, Connected(own), timeout, b'', 5.0, lambda: now[0])
    )
    return pipelined, other, now


def _spin(greenlets: Greenlets) -> None:
    for _ in range(3):
        greenlets.loop.run_until_complete(asyncio.sleep(0))


def test_what_takes_long_is_not_cut_off_while_it_flows(
    greenlets: Greenlets,
) -> None:
    pipelined, other, now = _scripted(greenlets, timeout=1.0)
    greenlets.loop.call_soon(pipelined.open)
    _spin(greenlets)
    other.sendall(b'$3\r\na')

    def flow() -> None:
        now[0] = 0.9
        pipelined.data_received(b'b')
        now[0] = 1.8
        pipelined.check(is_last=True)
        pipelined.data_received(b'c\r\n')

    greenlets.loop.call_later(0.05, flow)
    assert greenlets.run(lambda: _exchange(pipelined)) == [[b'abc']]
    other.close()


def test_a_request_whose_time_is_over_goes_on_alone(
    greenlets: Greenlets,
) -> None:
    pipelined, other, now = _scripted(greenlets)
    greenlets.loop.call_soon(pipelined.open)
    _spin(greenlets)

    def hurry() -> Any:
        OF_THREAD.request.end = 2.0
        try:
            return _exchange(pipelined)
        finally:
            OF_THREAD.request.end = math.inf

    def pass_time() -> None:
        if len(other.recv(2, socket.MSG_PEEK)) < 2:
            # Not both have been sent.
            return
        greenlets.loop.remove_reader(other)
        now[0] = 3.0
        pipelined.check()
        pipelined.data_received(b'+late\r\n+own\r\n')

    greenlets.loop.add_reader(other, pass_time)
    late, own = greenlets.run(hurry, lambda: _exchange(pipelined))
    assert isinstance(late, TimeoutError)
    assert own == [b'own']
    other.close()


def test_who_waits_for_a_silent_server_is_known_to(
    greenlets: Greenlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greenlets_stalled_on_stores, 'MOST', 4)
    pipelined, other, now = _scripted(greenlets)
    greenlets.loop.call_soon(pipelined.open)
    _spin(greenlets)
    stalled: list[int] = []

    def wait(number: int) -> list[Any]:
        one = OF_THREAD.request.greenlet
        assert one is not None
        one.on_stall = functools.partial(stalled.append, number)
        return _exchange(pipelined)

    def pass_time() -> None:
        now[0] = 0.1
        pipelined.check()
        # The loop may not have looked for answers meanwhile.
        assert stalled == []
        pipelined.check()
        assert stalled == [0, 1]
        now[0] = 0.9
        pipelined.check()
        # The third is refused, of more than may wait.
        now[0] = 1.0
        pipelined.check()
        assert stalled == [0, 1]
        greenlets.loop.call_soon(pipelined.data_received, b'+a\r\n+b\r\n')

    greenlets.loop.call_soon(greenlets.loop.call_soon, pass_time)
    works = [functools.partial(wait, number) for number in range(3)]
    first, second, third = greenlets.run(*works)
    assert [first, second] == [[b'a'], [b'b']]
    assert isinstance(third, StoreUnavailable)
    pipelined.data_received(b'+c\r\n')
    other.close()


class Connected:
    """An open connection of the client library, as far as it is used.

    :ivar _sock: its socket
    """

    def __init__(self, own: socket.socket) -> None:
        self._sock: socket.socket | None = own

    def disconnect(self) -> None:
        own, self._sock = self._sock, None
        if own is not None:
            own.close()


def _exchange(pipelined: PipelinedConnection) -> list[Any]:
    one = OF_THREAD.request.greenlet
    assert one is not None
    return pipelined.exchange(one, b'x', 1)


def test_a_descriptor_is_closed_once(greenlets: Greenlets) -> None:
    """Another thread may have got its number as soon as it is closed."""
    pipelined, other, _ = _scripted(greenlets)
    numbers: list[int] = []

    def take_number() -> None:
        for _ in range(20):
            numbers.append(os.open(os.devnull, os.O_RDONLY))

    def close() -> None:
        pipelined.close_soon()
        greenlets.loop.call_soon(take_number)

    # In the round between the two in which the loop takes the socket.
    greenlets.loop.call_soon(greenlets.loop.call_soon, close)
    greenlets.loop.call_soon(pipelined.open)
    greenlets.loop.call_later(0.05, greenlets.loop.stop)
    greenlets.loop.run_forever()
    gc.collect()
    assert len(numbers) == 20
    for number in numbers:
        os.close(number)
    other.close()


def test_a_socket_that_the_loop_refuses_is_closed(
    greenlets: Greenlets, caplog: pytest.LogCaptureFixture
) -> None:
    own = socket.socket(type=socket.SOCK_DGRAM)
    pipelined = PipelinedConnection(
        *(greenlets.hub, Connected(own), 60.0, b'', 5.0)
    )
    greenlets.loop.call_soon(pipelined.open)
    _spin(greenlets)
    assert pipelined.is_over
    assert own.fileno() == -1
    assert 'cannot be used' in caplog.text


def test_what_cannot_be_sent_is_not_waited_for(
    side: Side, caplog: pytest.LogCaptureFixture
) -> None:
    """Else an answer would wake its sender, which does something else then."""
    side.pipelined.close_soon()
    _spin(side.greenlets)
    (failed,) = side.run(['a'])
    assert isinstance(failed, exceptions.ConnectionError)
    side.pipelined.data_received(b'+a\r\n')
    assert not caplog.records
