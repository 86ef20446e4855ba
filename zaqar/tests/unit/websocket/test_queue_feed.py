# SPDX-License-Identifier: Apache-2.0
"""Feeds of queues, on a store and a loop that do one step at a time."""

from __future__ import annotations

import functools
import math
import random
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

import pytest

from zaqar.objects import Message, Scope
from zaqar.transport.websocket import (
    feed_turns_on_event_loop,
    queue_feed,
    recent_stream_events,
)
from zaqar.transport.websocket.feed_follower import Follower
from zaqar.transport.websocket.feed_turns_on_event_loop import LoopTurns
from zaqar.transport.websocket.queue_feed import QueueFeed
from zaqar.transport.websocket.recent_stream_events import (
    Batch,
    Event,
    EventPage,
    Format,
    Memory,
    RecentStreamEvents,
    Rendering,
)
from zaqar.waiting.waiters import Waiters

SCOPE = Scope('p', 'q')

BEGINNING = 'beginning'

Step = Callable[[], object]


def _plain(message: Message, now: int, scope: Scope) -> bytes:
    raise AssertionError


def _other(message: Message, now: int, scope: Scope) -> bytes:
    raise AssertionError


@dataclass(frozen=True)
class Text:
    """A format whose messages are their markers."""

    rendering: Rendering = _plain

    def joined(self, parts: Iterable[bytes]) -> bytes:
        return b''.join(parts)


PLAIN, OTHER = Text(), Text(_other)


def event(
    marker: str,
    client: str,
    data: bytes,
    renderings: Iterable[Rendering] = (_plain,),
) -> Event:
    return Event(marker, client, dict.fromkeys(renderings, data))


class Store:
    """One queue; its markers have no order that could be seen."""

    def __init__(self) -> None:
        self.places = {BEGINNING: -1}
        self.events: list[Event] = []
        self.dead: set[str] = set()
        self.reads = 0

    def post(self, client: str = '', size: int = 1) -> str:
        marker = secrets.token_hex(8)
        self.places[marker] = len(self.events)
        data = f'{marker};'.encode().rjust(size, b' ')
        self.events.append(event(marker, client, data))
        return marker

    def newest(self) -> str:
        alive = self.alive()
        return alive[-1].marker if alive else BEGINNING

    def alive(self, marker: str = BEGINNING) -> list[Event]:
        after = self.events[self.places[marker] + 1 :]
        return [one for one in after if one.marker not in self.dead]

    def page(
        self, marker: str, limit: int, renderings: Set[Rendering]
    ) -> EventPage:
        self.reads += 1
        events = [
            event(one.marker, one.client, one.data[_plain], renderings)
            for one in self.alive(marker)[:limit]
        ]
        last = events[-1].marker if events else marker
        return EventPage(events, last, len(events) < limit)


class Server:
    """A process with a feed; what happens next is up to the test."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.steps: list[Step] = []
        self.later: list[Step] = []
        self.fails = False
        self.waiters = Waiters(self)
        ticket = self.waiters.enter(SCOPE, takes=False, seconds=math.inf)
        self.memory = Memory()
        self.feed = QueueFeed(ticket, self, self, self.memory, LoopTurns(self))
        self.feed.start()

    # The observer of those who wait.

    def begin(self, scope: Scope) -> None:
        """Look at once: something may have changed."""
        self.steps.append(self.announce)

    def end(self, scope: Scope) -> None: ...

    def expire_at(self, until: float) -> None: ...

    def announce(self) -> None:
        self.waiters.announce(SCOPE, 1)

    # The loop.

    def call_soon(self, call: Step) -> None:
        self.steps.append(call)

    call_soon_threadsafe = call_soon

    def call_later(self, seconds: float, call: Step) -> None:
        self.later.append(call)

    # The reader.

    def newest(self, done: Callable[[str | None], None]) -> None:
        self._read(self.store.newest, done)

    def page(
        self,
        marker: str,
        limit: int,
        renderings: Set[Rendering],
        done: Callable[[EventPage | None], None],
    ) -> None:
        read = functools.partial(self.store.page, marker, limit, renderings)
        self._read(read, done)

    def _read(
        self, read: Callable[[], object], done: Callable[..., object]
    ) -> None:
        """Read at some moment, and hand over the result at a later one."""

        def perform() -> None:
            result = None if self.fails else read()
            self.steps.append(lambda: done(result))

        self.steps.append(perform)

    def follow(
        self,
        marker: str = BEGINNING,
        exclude: str = '',
        format_: Format = PLAIN,
    ) -> Stream:
        return Stream(self, marker, exclude, format_)

    def run(self) -> None:
        """Do all there is to do, in order."""
        while self.steps or self.later:
            self.steps += self.later
            self.later.clear()
            while self.steps:
                self.steps.pop(0)()

    def post(self, count: int = 1, client: str = '', size: int = 1) -> None:
        for _ in range(count):
            self.store.post(client, size)
        self.announce()


@dataclass(eq=False)
class Stream:
    server: Server
    start: str
    exclude: str
    format: Format = PLAIN

    def __post_init__(self) -> None:
        self.got: list[str] = []
        self.writes = 0
        self.blocks_at = 0
        self.join(self.server)

    def join(self, server: Server) -> None:
        """Follow the queue, after what has come so far."""
        self.server = server
        marker = self.got[-1] if self.got else self.start
        self.follower = Follower(
            marker, self.exclude, self.format, self.send, lambda: None
        )
        server.feed.follow(self.follower)

    def leave(self) -> None:
        self.server.feed.leave(self.follower)

    def block(self, on: bool) -> None:
        self.server.feed.block(self.follower, on)

    def send(self, batch: Batch) -> None:
        assert batch.count and not self.follower.is_blocked
        self.writes += 1
        got = batch.data.decode().replace(' ', '').split(';')[:-1]
        assert len(got) == batch.count
        self.got += got
        if self.writes == self.blocks_at:
            self.block(True)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def server(store: Store) -> Server:
    return Server(store)


def markers(store: Store) -> list[str]:
    return [event.marker for event in store.events]


def test_a_stream_gets_what_is_there_and_what_comes(server: Server) -> None:
    store = server.store
    for _ in range(250):
        store.post()
    stream = server.follow()
    server.run()
    server.post(3)
    server.run()
    assert stream.got == markers(store)


def test_a_thousand_streams_at_the_end_cost_one_read(server: Server) -> None:
    streams = [server.follow() for _ in range(1000)]
    server.run()
    for _ in range(5):
        before = server.store.reads
        server.post(10)
        server.run()
        assert server.store.reads == before + 1
    assert all(one.got == markers(server.store) for one in streams)
    # What is read together is written together.
    assert {one.writes for one in streams} == {5}


@pytest.mark.parametrize('is_there', [True, False])
def test_a_stream_that_fails_does_not_hold_the_others(
    server: Server, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    if not is_there:
        server.post(3)
    first, second, third = (server.follow() for _ in range(3))

    def fail(_batch: Batch) -> None:
        raise RuntimeError

    monkeypatch.setattr(second.follower, 'send', fail)
    if is_there:
        server.run()
        server.post(3)
    server.run()
    server.post(2)
    server.run()
    assert first.got == third.got == markers(server.store)
    assert len(server.feed) == 2


def test_others_on_the_loop_have_their_turns(server: Server) -> None:
    """Frames differ from stream to stream: each has to be made."""
    streams = [server.follow() for _ in range(100)]
    server.run()
    server.post(queue_feed.MOST_PER_PAGE)
    for at_once in _writes_of_steps(server, streams):
        assert (
            at_once
            <= 2 * feed_turns_on_event_loop.TURN // queue_feed.FIRST_PAGE
        )
    # Those who catch up with a page, too.
    old = [server.follow() for _ in range(400)]
    for at_once in _writes_of_steps(server, old):
        assert (
            at_once
            <= 2 * feed_turns_on_event_loop.TURN // queue_feed.FIRST_PAGE
        )
    for stream in (*streams, *old):
        assert stream.got == markers(server.store)


def _writes_of_steps(
    server: Server, streams: Sequence[Stream]
) -> Iterator[int]:
    """Do all there is to do; yield how many streams each step wrote to."""
    before = sum(stream.writes for stream in streams)
    while server.steps:
        server.steps.pop(0)()
        writes = sum(stream.writes for stream in streams)
        yield writes - before
        before = writes


def test_streams_with_the_same_marker_catch_up_together(
    server: Server,
) -> None:
    store = server.store
    for _ in range(recent_stream_events.MOST + 500):
        store.post()
    server.run()
    before = store.reads
    streams = [server.follow() for _ in range(500)]
    server.run()
    assert all(one.got == markers(store) for one in streams)
    # One from which the others learn, whatever their number.
    assert store.reads - before <= len(store.events) / queue_feed.FIRST_PAGE


def test_from_any_marker_on(server: Server) -> None:
    server.run()
    for _ in range(30):
        server.post(10)
        server.run()
    all_ = markers(server.store)
    streams = [server.follow(marker) for marker in all_]
    server.run()
    for number, stream in enumerate(streams, 1):
        assert stream.got == all_[number:]


def test_a_stream_that_joins_those_whose_clients_do_not_read(
    server: Server,
) -> None:
    slow = server.follow()
    server.run()
    server.post()
    server.run()
    slow.block(True)
    server.post()
    server.run()
    # Where the feed is, too: what follows has not been read.
    stream = server.follow(slow.got[-1])
    server.run()
    assert stream.got == markers(server.store)[1:]
    server.post()
    server.run()
    assert stream.got == markers(server.store)[1:]


def test_messages_of_all_queues_take_a_bounded_memory(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_stream_events, 'MOST_BYTES_OF_ALL', 1000)
    streams = [server.follow() for _ in range(3)]
    server.run()
    server.post(5, size=100)
    server.run()
    assert server.memory.size == 500
    # Those of other queues.
    server.memory.size += 900
    for _ in range(3):
        server.post(5, size=100)
        server.run()
        assert server.memory.size <= 1000
    assert all(one.got == markers(server.store) for one in streams)
    for stream in streams:
        stream.leave()
    server.feed.close()
    assert server.memory.size == 900


def test_streams_of_two_formats_cost_one_read(server: Server) -> None:
    plain = [server.follow() for _ in range(50)]
    server.run()
    server.post(10)
    server.run()
    # What is in memory was not rendered for these.
    other = [server.follow(format_=OTHER) for _ in range(50)]
    server.run()
    for _ in range(5):
        before = server.store.reads
        server.post(10)
        server.run()
        assert server.store.reads == before + 1
    assert all(one.got == markers(server.store) for one in plain + other)
    assert {one.writes for one in other} == {6}


def test_few_messages_are_written_together_however_short(
    server: Server,
) -> None:
    server.run()
    stream = server.follow()
    server.run()
    counts: list[int] = []
    send = stream.follower.send

    def noted(batch: Batch) -> None:
        counts.append(batch.count)
        send(batch)

    stream.follower.send = noted
    stream.blocks_at = 1
    server.post(recent_stream_events.MOST)
    server.run()
    stream.block(False)
    server.run()
    assert stream.got == markers(server.store)
    assert max(counts) <= recent_stream_events.MOST_TOGETHER


def test_the_client_of_a_stream_is_left_out(server: Server) -> None:
    without, with_ = server.follow(exclude='a'), server.follow()
    server.run()
    server.post(2, 'a')
    server.run()
    server.post(1, 'b')
    server.post(2, 'a')
    server.run()
    assert with_.got == markers(server.store)
    assert without.got == [with_.got[2]]


def test_markers_whose_messages_are_gone(server: Server) -> None:
    store = server.store
    server.run()
    gone = [store.post() for _ in range(5)]
    store.dead.update(gone)
    # It has been read to here by another server.
    streams = [server.follow(marker) for marker in gone]
    server.run()
    before = store.reads
    server.post(2)
    server.run()
    assert all(one.got == markers(store)[5:] for one in streams)
    assert store.reads == before + 1


def test_a_blocked_stream_gets_nothing_and_later_all(server: Server) -> None:
    slow, fast = server.follow(), server.follow()
    server.run()
    slow.blocks_at = 1
    for _ in range(30):
        server.post(100)
        server.run()
    assert slow.writes == 1
    assert len(slow.got) < len(fast.got)
    assert fast.got == markers(server.store)
    slow.block(False)
    server.run()
    assert slow.got == fast.got


def test_nothing_is_read_for_streams_that_are_all_blocked(
    server: Server,
) -> None:
    stream = server.follow()
    server.run()
    stream.block(True)
    server.post(5)
    server.run()
    before = server.store.reads
    server.post(5)
    server.run()
    assert server.store.reads == before
    stream.block(False)
    server.run()
    assert stream.got == markers(server.store)


def test_a_store_that_fails_is_read_again(store: Store) -> None:
    server = Server(store)
    server.fails = True
    stream = server.follow()
    store.post()
    for _ in range(20):
        if server.steps:
            server.steps.pop(0)()
    assert server.later and not stream.got
    server.fails = False
    server.run()
    server.post()
    server.fails = True
    while server.steps:
        server.steps.pop(0)()
    assert len(stream.got) == 1
    server.fails = False
    server.run()
    assert stream.got == markers(store)


def test_long_messages_are_written_and_read_in_parts(server: Server) -> None:
    store = server.store
    size = 50_000
    for _ in range(300):
        store.post(size=size)
    sizes: list[int] = []
    stream = server.follow()
    send = stream.follower.send

    def noted(batch: Batch) -> None:
        sizes.append(len(batch.data))
        send(batch)

    stream.follower.send = noted
    server.run()
    assert stream.got == markers(store)
    # The first page, before it is known how long they are.
    assert max(sizes[3:]) < recent_stream_events.BATCH + 2 * size


def test_memory_is_bounded() -> None:
    recent = RecentStreamEvents('', Memory())
    for number in range(300):
        events = [
            event(f'{number} {one}', '', b'x' * 500 * (number // 100))
            for one in range(100)
        ]
        recent.append(EventPage(events, events[-1].marker, False))
        known = [one for one in events if recent.after(one.marker, '', PLAIN)]
        assert known == events
    counted = sum(
        recent.after(f'{number} {one}', '', PLAIN) is not None
        for number in range(300)
        for one in range(100)
    )
    # With the place before the first.
    assert 900 < counted <= recent_stream_events.MOST + 1
    recent.append(EventPage([event('z', '', b'x' * 2**21)], 'z', True))
    assert recent.after('299 99', '', PLAIN) is None
    assert recent.after('z', '', PLAIN) == Batch(b'', 0, 'z')


def test_markers_of_pages_without_messages_are_bounded() -> None:
    """All messages of a page may be unreadable."""
    recent = RecentStreamEvents('', Memory())
    recent.append(EventPage([event('a', '', b'x')], 'a', True))
    most = recent_stream_events.MOST_PLACES
    for number in range(2 * most):
        recent.append(EventPage([], str(number), True))
    markers = ['', 'a', *map(str, range(2 * most))]
    known = [one for one in markers if recent.after(one, '', PLAIN)]
    assert known == markers[-most:]


def test_a_feed_that_is_closed_reads_no_more(server: Server) -> None:
    stream = server.follow()
    server.run()
    stream.leave()
    assert not len(server.feed)
    server.feed.close()
    before = server.store.reads
    server.post()
    server.run()
    assert server.store.reads == before
    assert not len(server.waiters)


@pytest.mark.parametrize('seed', range(80))
def test_nothing_is_skipped_and_nothing_comes_twice(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that can happen does, in any order.

    Messages are posted and removed, reads fail or come late, streams block,
    are cut and go on at the other server.
    """
    monkeypatch.setattr(recent_stream_events, 'MOST', 10)
    monkeypatch.setattr(queue_feed, 'FIRST_PAGE', 2)
    monkeypatch.setattr(queue_feed, 'MOST_PER_PAGE', 4)
    dice = random.Random(seed)
    store = Store()
    for _ in range(dice.randrange(20)):
        store.post()
    servers = [Server(store), Server(store)]
    streams = [dice.choice(servers).follow() for _ in range(4)]

    def post() -> None:
        for _ in range(dice.randrange(1, 4)):
            store.post(dice.choice('ab'))
        for server in servers:
            server.steps.append(server.announce)

    def remove() -> None:
        alive = store.alive()
        if alive:
            # Oldest, newest or any.
            place = dice.choice((0, -1, dice.randrange(len(alive))))
            store.dead.add(alive[place].marker)

    def cut() -> None:
        stream = dice.choice(streams)
        stream.leave()
        stream.join(dice.choice(servers))

    def turn() -> None:
        server = dice.choice(servers)
        if server.steps:
            server.steps.pop(dice.randrange(len(server.steps)))()
        elif server.later:
            server.later.pop(0)()

    def block() -> None:
        dice.choice(streams).block(dice.random() < 0.4)

    def fail() -> None:
        server = dice.choice(servers)
        server.fails = dice.random() < 0.3

    def begin() -> None:
        where = dice.choice([BEGINNING, *markers(store)])
        exclude = dice.choice(('', '', 'a'))
        format_ = dice.choice((PLAIN, OTHER))
        if len(streams) < 12:
            server = dice.choice(servers)
            streams.append(server.follow(where, exclude, format_))

    actions: list[Step] = [post, remove, cut, block, fail, begin, turn]
    weights = [4, 3, 1, 2, 1, 1, 40]
    for _ in range(1500):
        dice.choices(actions, weights)[0]()
    for server in servers:
        server.fails = False
    for stream in streams:
        stream.block(False)
    for server in servers:
        server.run()
    store.post()
    for server in servers:
        server.announce()
        server.run()
    for stream in streams:
        places = [store.places[marker] for marker in stream.got]
        assert places == sorted(set(places)), 'order, or twice'
        wanted = {
            event.marker
            for event in store.alive(stream.start)
            if not stream.exclude or event.client != stream.exclude
        }
        assert wanted <= set(stream.got), 'skipped'
        assert all(place > store.places[stream.start] for place in places)
