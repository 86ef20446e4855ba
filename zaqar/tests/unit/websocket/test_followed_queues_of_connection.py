# SPDX-License-Identifier: Apache-2.0
"""The streams of a WebSocket connection, with a clock that is moved."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from zaqar.controllers.rate_limits import OwnBuckets, RateSettings, Throttle
from zaqar.controllers.streams import (
    BEGINNING,
    StreamPage,
    StreamSource,
    StreamStart,
)
from zaqar.errors import NoRoute
from zaqar.objects import Message, Scope
from zaqar.tests.unit.websocket.moved_loop import MovedLoop
from zaqar.transport.websocket.followed_queues_of_connection import (
    LOOK,
    ConnectionStreams,
)
from zaqar.transport.websocket.frame_and_answer_types import Frame, OwnedStream
from zaqar.transport.websocket.queue_feeds import QueueFeeds
from zaqar.transport.websocket.recent_stream_events import BATCH, MOST_TOGETHER
from zaqar.transport.websocket.server_sent_event_streams import (
    EventStream,
    Streams,
)
from zaqar.transport.wsgi.responses import Headers
from zaqar.waiting.waiters import Waiters

START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)

SCOPE = Scope('p', 'q')

MOST = 1000


class House(MovedLoop):
    """A queue, its feed, and who reads at once."""

    def __init__(self, throttle: Throttle | None = None) -> None:
        super().__init__()
        self.messages: list[Message] = []
        self.reads = 0
        self.waiters = Waiters(self)
        workers: Any = self
        self.feeds = QueueFeeds(self.waiters, workers, self, 1000, throttle)
        self.source = StreamSource(SCOPE, lambda: self._marker(0), self._read)

    # The observer of those who wait, and the threads.

    def begin(self, scope: Scope) -> None: ...

    def end(self, scope: Scope) -> None: ...

    def expire_at(self, until: float) -> None: ...

    def submit(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], Any],
        owner: str = '',
    ) -> None:
        self.call_soon(lambda: done(work()))

    def post(self, count: int, client: str = '', body: bytes = b'1') -> None:
        for _ in range(count):
            number = len(self.messages) + 1
            self.messages.append(
                Message(
                    id=f'id{number}',
                    marker=f'{number:06}',
                    body=body,
                    ttl=60,
                    created_at=0,
                    client=client,
                )
            )
        self.waiters.announce(SCOPE, count)
        self.wait(0)

    def today(self) -> datetime.datetime:
        return START + datetime.timedelta(seconds=self.now)

    def _marker(self, _: int) -> str:
        return self.messages[-1].marker if self.messages else BEGINNING

    def _read(self, marker: str, limit: int) -> StreamPage:
        self.reads += 1
        after = [one for one in self.messages if one.marker > marker][:limit]
        last = after[-1].marker if after else marker
        return StreamPage(after, last, len(after) < limit, 0)


class Socket:
    """Takes frames; nothing is unsent, unless the test says so."""

    def __init__(self) -> None:
        self.data = b''
        self.others: list[Frame] = []
        self.held = 0
        self.largest = 0

    def write(self, data: bytes) -> None:
        self.data += data
        self.largest = max(self.largest, len(data))

    def send(self, frame: Frame) -> None:
        self.others.append(frame)

    def unsent(self) -> int:
        return self.held

    def frames(self) -> list[tuple[bool, Any]]:
        """Return what the frames hold, and their types."""
        frames, data = [], self.data
        while data:
            size, at = data[1], 2
            if size == 126:
                size, at = int.from_bytes(data[2:4], 'big'), 4
            elif size == 127:
                size, at = int.from_bytes(data[2:10], 'big'), 10
            is_binary = data[0] == 0x82
            assert is_binary or data[0] == 0x81
            frames.append(
                (is_binary, _decoded(data[at : at + size], is_binary))
            )
            data = data[at + size :]
        return frames

    def markers(self, stream_id: str = '1') -> list[str]:
        return [
            one['marker']
            for _, one in self.frames()
            if one['stream_id'] == stream_id
        ]


def _decoded(data: bytes, is_binary: bool) -> Any:
    return msgspec.msgpack.decode(data) if is_binary else json.loads(data)


class Client:
    """One connection."""

    def __init__(self, house: House, is_blocked: bool = False) -> None:
        self.house = house
        self.socket = Socket()
        self.owned: dict[str, OwnedStream] = {}
        self.streams = ConnectionStreams(
            self.socket,  # type: ignore[arg-type]
            self.owned,
            house.feeds,
            house,  # type: ignore[arg-type]
            MOST,
            is_blocked,
            house.today,
        )

    def follow(
        self,
        stream_id: str = '1',
        *,
        marker: str = BEGINNING,
        exclude: str = '',
        is_binary: bool = False,
        ends_after: float | None = None,
        source: StreamSource | None = None,
    ) -> None:
        ends_at = None
        if ends_after is not None:
            ends_at = START + datetime.timedelta(seconds=ends_after)
        source = source or self.house.source
        start = StreamStart(source, marker, exclude, ends_at)
        path = '/v2/queues/q/messages' if ends_after is None else ''
        stream = OwnedStream(stream_id, start, is_binary, path)
        self.owned[stream_id] = stream
        self.streams.begin(stream)
        self.house.wait(0)


@pytest.fixture
def house() -> House:
    return House()


def numbers(first: int, last: int) -> list[str]:
    return [f'{number:06}' for number in range(first, last + 1)]


@pytest.mark.parametrize('is_binary', [False, True])
@pytest.mark.parametrize('size', [1, 100, 300, 70_000])
def test_a_frame_for_each_message(
    house: House, is_binary: bool, size: int
) -> None:
    client = Client(house)
    client.follow('12', is_binary=is_binary)
    house.post(2, body=b'{"a": "%b"}' % (b'x' * size))
    message = {
        'ttl': 60,
        'age': 0,
        'body': {'a': 'x' * size},
        'created_at': '1970-01-01T00:00:00.000Z',
        'claim_count': 0,
    }
    assert client.socket.frames() == [
        (
            is_binary,
            {
                'stream_id': '12',
                'marker': f'{number:06}',
                'message': message | {'id': f'id{number}', 'claim_id': None},
            },
        )
        for number in (1, 2)
    ]


def test_a_page_of_long_messages_is_not_written_at_once(house: House) -> None:
    house.post(500)
    house.post(60, body=b'"%b"' % (b'x' * 50_000))
    clients = [Client(house), Client(house)]
    for number, client in enumerate(clients, 1):
        client.follow(str(number))
        assert client.socket.markers(str(number)) == numbers(1, 560)
        assert client.socket.largest < BATCH + 60_000


def test_streams_of_both_transports_cost_one_read(house: House) -> None:
    clients = [Client(house) for _ in range(20)]
    for number, client in enumerate(clients):
        client.follow(is_binary=number % 2 == 0)
        client.follow('2')
    events = [Events(house) for _ in range(20)]
    house.wait(0)
    for _ in range(5):
        before = house.reads
        house.post(10)
        assert house.reads == before + 1
    for client in clients:
        assert client.socket.markers() == numbers(1, 50)
        assert client.socket.markers('2') == numbers(1, 50)
    assert all(one.data.count(b'event: message') == 50 for one in events)
    assert len(house.feeds) == 60


class Events:
    """The client of a stream over HTTP."""

    def __init__(
        self, house: House, source: StreamSource | None = None
    ) -> None:
        self.data = b''
        self.is_over = False
        start = StreamStart(source or house.source, BEGINNING, '', None)
        streams = Streams(house.feeds, house, 1e9, house.today)  # type: ignore[arg-type]
        EventStream(self, streams, start).begin(200, [])

    def begin(self, status: int, headers: Headers, stream: Any) -> None: ...

    def send_event(self, data: bytes) -> None:
        self.data += data

    def finish(self) -> None:
        self.is_over = True


@pytest.mark.proves('one queue')
def test_streams_for_a_queue_that_is_gone_end(house: House) -> None:
    is_gone = False

    def read(marker: str, limit: int) -> StreamPage:
        if is_gone:
            raise NoRoute
        return house.source.read(marker, limit)

    bound = StreamSource(SCOPE, house.source.newest, read, 'f' * 16)
    client = Client(house)
    client.follow('1', source=bound)
    client.follow('2')
    events = Events(house, bound)
    house.wait(0)
    house.post(1)
    assert client.socket.markers('1') == client.socket.markers('2')
    is_gone = True
    house.post(1)
    assert client.socket.markers('1') == numbers(1, 1)
    assert client.socket.markers('2') == numbers(1, 2)
    assert events.data.count(b'event: message') == 1
    assert events.is_over
    assert set(client.owned) == {'2'}
    (ended,) = client.socket.others
    assert b'has been deleted' in ended.data
    assert len(house.feeds) == 1


class BlockedEvents(Events):
    """A client that does not read the answer to its request before."""

    def begin(self, status: int, headers: Headers, stream: Any) -> None:
        self.stream: EventStream = stream
        stream.block(True)


def test_a_stream_over_http_may_begin_blocked(house: House) -> None:
    house.post(3)
    client = BlockedEvents(house)
    house.wait(0)
    house.post(3)
    assert b'data' not in client.data
    client.stream.block(False)
    house.wait(0)
    assert client.data.count(b'data') == 6


def test_messages_of_a_client_are_left_out(house: House) -> None:
    client = Client(house)
    client.follow(exclude='a')
    house.post(2, 'a')
    house.post(1, 'b')
    assert client.socket.markers() == ['000003']


def test_few_frames_are_written_ahead_of_what_is_taken(house: House) -> None:
    client = Client(house)
    for number in range(1, 4):
        client.follow(str(number))
    client.socket.held = 1
    for _ in range(30):
        house.post(100)
        assert len(client.socket.frames()) <= MOST
    assert len(client.socket.frames()) > MOST - MOST_TOGETHER
    # The last ones are looked for rarely.
    house.wait(10)
    assert len(client.socket.frames()) <= MOST
    client.socket.held = 0
    house.wait(LOOK[1])
    for number in range(1, 4):
        assert client.socket.markers(str(number)) == numbers(1, 3000)


def test_who_reads_is_not_held_up(house: House) -> None:
    client = Client(house)
    client.follow()
    for _ in range(30):
        house.post(100)
    assert client.socket.markers() == numbers(1, 3000)
    assert not [one for one in house.timers if not one.is_cancelled]


def test_a_client_that_does_not_read(house: House) -> None:
    client = Client(house)
    client.follow()
    client.streams.block(True)
    client.follow('2')
    house.post(3)
    assert not client.socket.frames()
    before = house.reads
    house.post(3)
    assert house.reads == before
    client.streams.block(False)
    house.wait(0)
    assert client.socket.markers() == numbers(1, 6)
    assert client.socket.markers('2') == numbers(1, 6)


def test_a_full_connection_that_blocks_goes_on_when_it_is_read(
    house: House,
) -> None:
    client = Client(house)
    client.follow()
    client.socket.held = 1
    for _ in range(6):
        house.post(100)
    client.streams.block(True)
    house.wait(60)
    assert not [one for one in house.timers if not one.is_cancelled]
    house.post(1)
    assert len(client.socket.frames()) == 600
    client.socket.held = 0
    client.streams.block(False)
    house.wait(0)
    assert client.socket.markers() == numbers(1, 601)


def test_the_first_stream_of_a_client_that_does_not_read(
    house: House,
) -> None:
    house.post(1)
    client = Client(house, is_blocked=True)
    client.follow()
    assert not client.socket.frames()
    client.streams.block(False)
    house.wait(0)
    assert client.socket.markers() == ['000001']


def test_a_stream_that_its_client_ends(house: House) -> None:
    client = Client(house)
    client.follow()
    client.follow('2')
    client.streams.end({'1': '', '7': 'unknown'})
    house.post(1)
    assert client.socket.markers() == [] and not client.socket.others
    assert client.socket.markers('2') == ['000001']
    assert set(client.owned) == {'2'}


@pytest.mark.parametrize('is_binary', [False, True])
def test_a_signature_that_expires(house: House, is_binary: bool) -> None:
    client = Client(house)
    client.follow(ends_after=10, is_binary=is_binary)
    client.follow('2')
    house.post(1)
    house.wait(9)
    assert not client.socket.others
    house.wait(2)
    (last,) = client.socket.others
    assert last.is_binary is is_binary
    assert _decoded(last.data, is_binary) == {
        'stream_id': '1',
        'marker': '000001',
        'error': 'The signature has expired.',
    }
    house.post(1)
    assert client.socket.markers() == ['000001']
    assert client.socket.markers('2') == ['000001', '000002']
    assert set(client.owned) == {'2'}


def test_a_connection_that_is_closed(house: House) -> None:
    client = Client(house)
    client.follow(ends_after=10)
    client.follow('2')
    client.socket.held = 1
    for _ in range(6):
        house.post(100)
    count = len(client.socket.frames())
    client.streams.close()
    assert len(house.feeds) == 0 and not len(house.waiters)
    house.post(1)
    house.wait(60)
    assert len(client.socket.frames()) == count
    assert not client.socket.others and not house.timers


@pytest.mark.parametrize('is_shared', [False, True])
def test_messages_of_streams_count_as_deliveries(is_shared: bool) -> None:
    now = 0.0

    def timer() -> float:
        return now

    settings = RateSettings(deliveries=10, burst=2)
    buckets = OwnBuckets(settings) if is_shared else None
    house = House(Throttle(settings, buckets, timer))
    client, events = Client(house), Events(house)
    client.follow()

    def counts() -> tuple[int, int]:
        return len(client.socket.markers()), events.data.count(
            b'event: message'
        )

    house.post(10)
    house.wait(0)
    assert counts() == (10, 10)
    # No more are sent than there is room for, and none is lost.
    house.post(10)
    house.post(1)
    house.wait(0)
    assert counts() == (10, 10)
    for _ in range(6):
        now += 0.5
        house.wait(0.5)
    assert sorted(counts()) == [21, 21]
    assert client.socket.markers() == numbers(1, 21)
