# SPDX-License-Identifier: Apache-2.0
"""Streams of Server-Sent Events, with a clock that is moved."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from zaqar.controllers.streams import StreamSource, StreamStart
from zaqar.objects import Scope
from zaqar.tests.unit.websocket.moved_loop import MovedLoop
from zaqar.transport.websocket.feed_follower import Follower
from zaqar.transport.websocket.recent_stream_events import Batch
from zaqar.transport.websocket.server_sent_event_streams import (
    HEARTBEAT,
    PULSE,
    EventStream,
    Streams,
)
from zaqar.transport.wsgi.responses import Headers

START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)

SOURCE = StreamSource(Scope('p', 'q'), lambda: '', lambda marker, limit: ...)  # type: ignore[arg-type,return-value]

COMMENT = b':\n\n'

EVENT = Batch(b'event', 1, '8')

FIRST = b'retry: 2000\nid: 7\n\n'


class House(MovedLoop):
    """The loop, the feeds, and the streams of some clients."""

    def __init__(self) -> None:
        super().__init__()
        self.followers: list[Follower] = []
        self.blocked: list[bool] = []
        self.streams = Streams(
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            100,
            lambda: START + datetime.timedelta(seconds=self.now),
        )

    def follow(self, source: StreamSource, follower: Follower) -> None:
        self.followers.append(follower)

    def block(self, scope: Scope, follower: Follower, on: bool) -> None:
        follower.is_blocked = on

    def leave(self, scope: Scope, follower: Follower) -> None:
        if follower in self.followers:
            self.followers.remove(follower)

    def begin(self, ends_after: float | None = None) -> Client:
        ends_at = (
            None
            if ends_after is None
            else START + datetime.timedelta(seconds=ends_after)
        )
        client = Client()
        client.stream = EventStream(
            client, self.streams, StreamStart(SOURCE, '7', '', ends_at)
        )
        client.stream.begin(200, [('a', 'b')])
        return client


class Client:
    stream: EventStream

    def __init__(self) -> None:
        self.head: Any = None
        self.parts: list[bytes] = []
        self.has_ended = False

    def begin(self, status: int, headers: Headers, stream: Any) -> None:
        self.head = (status, headers)

    def send_event(self, data: bytes) -> None:
        assert self.head and not self.has_ended
        self.parts.append(data)

    def finish(self) -> None:
        self.has_ended = True


@pytest.fixture
def house() -> House:
    return House()


def test_the_head_and_the_marker_come_first(house: House) -> None:
    client = house.begin()
    assert client.head == (200, [('a', 'b')])
    assert client.parts == [FIRST]
    house.followers[0].take(EVENT)
    assert client.parts == [FIRST, b'event']


def test_a_silent_stream_gets_comments(house: House) -> None:
    client = house.begin()
    house.wait(HEARTBEAT - PULSE)
    assert client.parts == [FIRST]
    house.wait(2 * PULSE)
    assert client.parts == [FIRST, COMMENT]
    house.wait(2 * HEARTBEAT)
    assert client.parts == [FIRST, COMMENT, COMMENT, COMMENT]


def test_a_busy_stream_gets_none_nor_one_that_is_blocked(
    house: House,
) -> None:
    busy, blocked, silent = house.begin(), house.begin(), house.begin()
    blocked.stream.block(True)
    for _ in range(9):
        house.wait(HEARTBEAT / 2)
        house.followers[0].take(EVENT)
    assert COMMENT not in busy.parts
    assert blocked.parts == [FIRST]
    assert silent.parts.count(COMMENT) == 4
    blocked.stream.block(False)
    house.wait(HEARTBEAT + PULSE)
    assert COMMENT in blocked.parts


def test_a_stream_ends_at_its_greatest_age(house: House) -> None:
    client = house.begin()
    house.wait(99)
    assert not client.has_ended and house.followers
    house.wait(2)
    assert client.has_ended and not house.followers
    house.wait(100)
    assert not house.timers


@pytest.mark.parametrize('seconds', [40, -5])
def test_a_stream_ends_with_its_credentials(
    house: House, seconds: float
) -> None:
    client = house.begin(ends_after=seconds)
    house.wait(max(0, seconds - 1))
    assert client.has_ended == (seconds < 0)
    house.wait(2)
    assert client.has_ended


def test_credentials_do_not_make_it_older(house: House) -> None:
    client = house.begin(ends_after=10_000)
    house.wait(101)
    assert client.has_ended


def test_a_client_that_goes(house: House) -> None:
    client = house.begin()
    client.stream.close()
    assert not house.followers
    house.wait(200)
    assert client.parts == [FIRST] and not client.has_ended
    # The clock of comments starts again with the next stream.
    assert not house.timers
    other = house.begin()
    house.wait(HEARTBEAT + PULSE)
    assert other.parts == [FIRST, COMMENT]


def test_all_end_when_the_server_stops(house: House) -> None:
    clients = [house.begin() for _ in range(3)]
    house.streams.close()
    assert all(one.has_ended for one in clients)
    late = house.begin()
    house.wait(0)
    assert late.has_ended and not house.followers
