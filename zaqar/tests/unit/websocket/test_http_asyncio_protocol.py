# SPDX-License-Identifier: Apache-2.0
"""Sockets of HTTP connections whose clients read too slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from zaqar.transport.websocket.http_asyncio_protocol import HttpSocket


class Connections:
    """Whatever they are told."""

    def blocked(self, connection: Any) -> None: ...

    def unblocked(self, connection: Any) -> None: ...


class Requests:
    longest = 1000

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop


class Connection:
    socket: HttpSocket


class Stream:
    """Notes whether its client reads."""

    def __init__(self) -> None:
        self.blocked: list[bool] = []

    def block(self, on: bool) -> None:
        self.blocked.append(on)


@pytest.fixture
def socket() -> Iterator[HttpSocket]:
    loop = asyncio.new_event_loop()
    given: tuple[Any, ...] = (
        None,
        Connection(),
        Connections(),
        Requests(loop),
    )
    yield HttpSocket(*given)
    loop.close()


def begun(socket: HttpSocket) -> list[bool]:
    stream: Any = Stream()
    socket.begin(200, [], stream)
    blocked: list[bool] = stream.blocked
    return blocked


def test_a_stream_begins_blocked_behind_an_unread_answer(
    socket: HttpSocket,
) -> None:
    socket.pause_writing()
    blocked = begun(socket)
    assert blocked == [True]
    socket.resume_writing()
    assert blocked == [True, False]


def test_a_stream_begins_unblocked_where_all_is_read(
    socket: HttpSocket,
) -> None:
    assert begun(socket) == []
    socket.pause_writing()
    socket.resume_writing()
    assert begun(socket) == []
