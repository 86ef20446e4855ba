# SPDX-License-Identifier: Apache-2.0
"""Hand-overs to a WebSocket server, and whatever may come back.

The other end is one that sends what a real one does not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import pytest

from zaqar.socket_pushes import push_client, push_frames, signed_push_channel
from zaqar.socket_pushes.push_client import (
    PushClient,
    TooLong,
)
from zaqar.socket_pushes.signed_push_channel import (
    LENGTH,
    SIGNATURE,
    Channel,
    Key,
)

MOST = 1000

KEY = Key('a secret of enough length')

#: What the other end does with a frame; None ends the connection.
Answer = Callable[[Channel, bytes], bytes | None]


def _right(channel: Channel, data: bytes) -> bytes:
    count = len(push_frames.decode(data).connections)
    return channel.sealed(bytes(count))


class End:
    """A server, for each connection a list of what it does with frames."""

    def __init__(self, *connections: Sequence[Answer]) -> None:
        self.taken: list[list[bytes]] = []
        self._answers = list(connections)

    async def __aenter__(self) -> PushClient:
        self._server = await asyncio.start_server(self._serve, '127.0.0.1', 0)
        port = self._server.sockets[0].getsockname()[1]
        self.client = PushClient(f'tcp://127.0.0.1:{port}', KEY)
        return self.client

    async def __aexit__(self, *error: object) -> None:
        self.client.close()
        self._server.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        taken: list[bytes] = []
        self.taken.append(taken)
        challenge = signed_push_channel.challenge(MOST)
        writer.write(challenge)
        reply = await reader.readexactly(signed_push_channel.REPLY)
        channel = KEY.accept(challenge, reply)
        for answer in self._answers.pop(0):
            size = int.from_bytes(await reader.readexactly(LENGTH), 'big')
            data = channel.opened(await reader.readexactly(size + SIGNATURE))
            taken.append(data)
            sent = answer(channel, data)
            if sent is None:
                break
            writer.write(sent)
        writer.close()


def _run(test: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(bounded())


def test_a_connection_is_kept_and_keeps_the_order() -> None:
    async def test() -> None:
        end = End([_right] * 3)
        async with end as client:
            calls = [
                client.hand_over(['c'] * count, [b'"a"'])
                for count in (1, 2, 3)
            ]
            answers = await asyncio.gather(*calls)
        assert answers == [bytes(1), bytes(2), bytes(3)]
        (taken,) = end.taken
        decoded = [push_frames.decode(data) for data in taken]
        assert [len(one.connections) for one in decoded] == [1, 2, 3]

    _run(test())


def test_another_is_made_where_the_end_has_left() -> None:
    async def test() -> None:
        end = End([_right], [_right])
        async with end as client:
            assert await client.hand_over(['c'], [b'"a"']) == bytes(1)
            answer = b''
            while not answer:
                # Perhaps it does not know yet.
                with contextlib.suppress(OSError):
                    answer = await client.hand_over(['c'], [b'"a"'])
        assert len(end.taken) == 2

    _run(test())


@pytest.mark.parametrize(
    'answer',
    [
        lambda channel, data: None,
        lambda channel, data: b'HTTP/1.1 204 No Content\r\n\r\n',
        lambda channel, data: channel.sealed(bytes(2)),
        lambda channel, data: channel.sealed(bytes(1))[:-1] + b'x',
        lambda channel, data: bytes(LENGTH),
    ],
)
def test_what_is_no_answer_is_an_error(answer: Answer) -> None:
    async def test() -> None:
        async with End([answer], [_right]) as client:
            with pytest.raises(OSError):
                await client.hand_over(['c'], [b'"a"'])
            assert await client.hand_over(['c'], [b'"a"']) == bytes(1)

    _run(test())


def test_no_answer_in_time_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(push_client, 'ANSWER_TIMEOUT', 0.05)

    async def test() -> None:
        async with End([lambda channel, data: b''], [_right]) as client:
            with pytest.raises(OSError):
                await client.hand_over(['c'], [b'"a"'])
            assert await client.hand_over(['c'], [b'"a"']) == bytes(1)

    _run(test())


def test_what_is_too_long_is_not_sent() -> None:
    async def test() -> None:
        async with End([_right]) as client:
            with pytest.raises(TooLong):
                await client.hand_over(['c'], [bytes(MOST)])
            assert await client.hand_over(['c'], [b'"a"']) == bytes(1)

    _run(test())


def test_nobody_there_is_an_error() -> None:
    async def test() -> None:
        end = End()
        async with end as client:
            pass
        with pytest.raises(OSError):
            await client.hand_over(['c'], [b'"a"'])

    _run(test())


def test_many_that_wait_for_a_silent_end_give_up_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(push_client, 'CONNECT_TIMEOUT', 0.1)
    accepted = []

    async def say_nothing(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        accepted.append(writer)
        await reader.read()
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(say_nothing, '127.0.0.1', 0)
        port = server.sockets[0].getsockname()[1]
        client = PushClient(f'tcp://127.0.0.1:{port}', KEY)
        calls = [client.hand_over(['c'], [b'"a"']) for _ in range(5)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(one, TimeoutError) for one in results)
        assert len(accepted) == 1
        server.close()

    _run(test())
