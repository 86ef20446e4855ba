# SPDX-License-Identifier: Apache-2.0
"""Frames that cost much and say little: a connection gets its share."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest

from zaqar.tests.unit.websocket.bare import (
    Connections,
    Transport,
    closed_with,
    connected,
)
from zaqar.tests.unit.websocket.test_rfc6455_fast_path import encoded
from zaqar.transport.websocket.autobahn_adapter import (
    SUBSTANTIAL,
    TURN,
    AutobahnSocket,
)
from zaqar.transport.websocket.frame_and_answer_types import Frame

PING, PONG, CONTINUED = 0x89, 0x8A, 0x00

ANSWER = b'\x8a\x00'

#: The first fragment of a message, in both encodings.
FIRST = [0x01, 0x02]

MOST = 100


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    created = asyncio.new_event_loop()
    yield created
    created.close()


def _connected(
    loop: asyncio.AbstractEventLoop, most: int
) -> tuple[AutobahnSocket, Connections, Transport]:
    wire, connections, transport = connected(loop)
    connections.settings = dataclasses.replace(
        connections.settings, max_small_frames=most
    )
    return wire, connections, transport


def test_a_connection_has_so_many_frames_per_turn(
    loop: asyncio.AbstractEventLoop,
) -> None:
    wire, connections, transport = _connected(loop, most=0)
    count = 10_000
    wire.data_received(encoded(b'', PING) * count)
    turns = 1
    while len(transport.written) < count * len(ANSWER):
        assert len(transport.written) == turns * TURN * len(ANSWER)
        assert len(connections.due) == 1
        assert transport.is_paused
        # Some loops hand over once more what they have read.
        wire.data_received(b'')
        connections.go_on()
        turns += 1
    connections.go_on()
    assert not transport.is_paused
    assert turns == -(-count // TURN)


@pytest.mark.parametrize('first', FIRST)
def test_fragments_share_the_turn_too(
    loop: asyncio.AbstractEventLoop, first: int
) -> None:
    wire, connections, _ = _connected(loop, most=0)
    count = 2_000
    wire.data_received(
        encoded(b'x', first)
        + encoded(b'x', CONTINUED) * count
        + encoded(b'x', 0x80)
    )
    turns = 0
    while not connections.frames:
        connections.go_on()
        turns += 1
    assert turns >= count // TURN
    assert connections.frames == [Frame(b'x' * (count + 2), first == 0x02)]


SMALL = [
    encoded(b'', PING),
    encoded(b'', PONG),
    encoded(b'x' * 125, PING),
]


def _drained(connections: Connections) -> None:
    while connections.due:
        connections.go_on()


@pytest.mark.parametrize('frame', SMALL)
def test_too_many_control_frames_end_the_connection(
    loop: asyncio.AbstractEventLoop, frame: bytes
) -> None:
    wire, connections, transport = _connected(loop, MOST)
    for second in range(3):
        connections.at = float(second)
        wire.data_received(frame * MOST)
        _drained(connections)
        assert closed_with(transport) is None
    wire.data_received(frame)
    assert closed_with(transport) == 1008
    # Nothing that comes now is looked at.
    written = transport.written
    wire.data_received(encoded(b'', PING) * 1000 + encoded(b'{}'))
    _drained(connections)
    assert transport.written == written
    assert connections.frames == []


@pytest.mark.parametrize('first', FIRST)
@pytest.mark.parametrize('part', [b'', b'x', b'x' * 600])
def test_too_many_small_fragments_end_the_connection(
    loop: asyncio.AbstractEventLoop, first: int, part: bytes
) -> None:
    wire, connections, transport = _connected(loop, MOST)
    wire.data_received(encoded(part, first))
    wire.data_received(encoded(part, CONTINUED) * (MOST - 1))
    _drained(connections)
    assert closed_with(transport) is None
    wire.data_received(encoded(part, CONTINUED))
    _drained(connections)
    assert closed_with(transport) == 1008


@pytest.mark.parametrize('first', FIRST)
def test_small_fragments_of_many_messages_count_as_well(
    loop: asyncio.AbstractEventLoop, first: int
) -> None:
    wire, connections, transport = _connected(loop, MOST)
    pair = encoded(b'', first) + encoded(b'', 0x80)
    wire.data_received(pair * (MOST + 1))
    _drained(connections)
    assert closed_with(transport) == 1008


def test_a_long_message_may_have_many_fragments(
    loop: asyncio.AbstractEventLoop,
) -> None:
    wire, connections, transport = _connected(loop, most=3)
    part = b'x' * SUBSTANTIAL
    wire.data_received(
        encoded(part, 0x01)
        + encoded(part, CONTINUED) * 50
        + encoded(b'y', 0x80)
    )
    _drained(connections)
    assert closed_with(transport) is None
    assert connections.frames == [Frame(part * 51 + b'y')]


def test_whole_messages_are_not_counted(
    loop: asyncio.AbstractEventLoop,
) -> None:
    wire, connections, transport = _connected(loop, most=3)
    wire.data_received(encoded(b'{}') * 1000)
    _drained(connections)
    assert closed_with(transport) is None
    assert len(connections.frames) == 1000


def test_who_is_being_closed_cannot_flood(
    loop: asyncio.AbstractEventLoop,
) -> None:
    wire, connections, transport = _connected(loop, MOST)
    wire.shut(1012, 'restart')
    wire.data_received(encoded(b'', PONG) * (MOST + 1))
    _drained(connections)
    assert closed_with(transport) == 1012
    assert wire.data == b''
    wire.data_received(encoded(b'', PONG) * MOST)
    assert wire.data == b''
