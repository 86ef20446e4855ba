# SPDX-License-Identifier: Apache-2.0
"""The connection to Redis that greenlets share, to a server of our own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import hiredis
import pytest
from redis import connection as client_library
from redis import exceptions

from zaqar.current_request import OF_THREAD
from zaqar.storage.redis.pipelined_connection import PipelinedConnection
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
        assert isinstance(result[0], exceptions.ReadOnlyError)
