# SPDX-License-Identifier: Apache-2.0
"""Requests as WSGI has them, and the answers to them."""

from __future__ import annotations

import collections
import gc
import itertools
import tracemalloc
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from zaqar import metrics, request_deadline
from zaqar.transport import large_page_fairness
from zaqar.transport.large_page_fairness import LARGE, TURN, Turns
from zaqar.transport.wsgi import (
    asgi_adapter,
    request_slots,
    wsgi_environ,
)
from zaqar.transport.wsgi.request_buffering import (
    BodyLimits,
    Loop,
    RequestBuffer,
)
from zaqar.transport.wsgi.request_handler import PecanApplication
from zaqar.transport.wsgi.request_slots import RequestSlots
from zaqar.transport.wsgi.responses import Response
from zaqar.transport.wsgi_types import Environ, StartResponse


def _scope(*headers: tuple[bytes, bytes]) -> dict[str, object]:
    return {
        'raw_path': b'/v2/a%20b',
        'query_string': b'limit=1',
        'server': ('127.0.0.1', '8888'),
        'client': ('127.0.0.1', 1),
        'method': 'GET',
        'scheme': 'http',
        'http_version': '1.1',
        'headers': headers,
    }


def test_headers_are_as_wsgi_names_them() -> None:
    environ = wsgi_environ.to_environ(
        _scope(
            (b'content-type', b'a/b'),
            (b'x-a', b'1'),
            (b'x-a', b'\xe9'),
            (b'x_a', b'left out'),
            (b'x-' + b'a' * 100, b'long'),
        )
    )
    assert environ['PATH_INFO'] == '/v2/a b'
    assert environ['CONTENT_TYPE'] == 'a/b'
    assert environ['HTTP_X_A'] == '1,\xe9'
    assert environ[f'HTTP_X_{"A" * 100}'] == 'long'


def test_names_that_callers_invent_are_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(200):
            name = b'%d-' % number + b'a' * 60_000
            wsgi_environ.to_environ(_scope((name, b'')))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2**20


class Watcher:
    """A request, and a client that reads when it is told."""

    def __init__(self, room: int = 0) -> None:
        self.scope = _scope()
        self.proto = self
        self.parts: list[bytes] = []
        self.is_done = False
        self.is_complete = False
        self._room = room
        self._future: Future | None = None
        self.event = self.unwatched = Future()

    def send(self, message: dict[str, Any]) -> Any:
        if message['type'] == 'http.response.start':
            self.headers = message['headers']
            return object()
        # No part is sent before the last one is taken.
        assert self._future is None
        self.parts.append(message['body'])
        self.is_complete = not message['more_body']
        self._room -= 1
        if self._room >= 0:
            return object()
        self._future = Future()
        return self._future

    def receive(self) -> Future:
        # granian may report then that a client has gone that is there.
        assert not self.event.is_cancelled
        self.event = Future()
        return self.event

    def tell(self, **event: Any) -> None:
        """Let what is waited for be received."""
        future = self.event
        future.event = event
        future.callback(future)

    def take(self, room: int = 0) -> None:
        """Take the part that waits, and some more."""
        future, self._future, self._room = self._future, None, room
        assert future is not None
        future.callback(future)

    def done(self) -> None:
        self.is_done = True

    def err(self, error: BaseException) -> None:
        raise error


class Future:
    """What granian promises that a part is taken, or an event received."""

    callback: Callable[[Any], Any]
    event: Any = None
    is_cancelled = False

    def exception(self) -> None: ...

    def result(self) -> Any:
        return self.event

    def cancel(self) -> None:
        self.is_cancelled = True

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        self.callback = callback


class House:
    """An adapter of an application that answers with so many bytes."""

    def __init__(self, size: int, max_unread: int = 0) -> None:
        self.size = size
        self.body = b''
        self.called = 0
        self.now = 0.0
        self.lefts = list[float]()
        self.slots = RequestSlots(1)
        # A clock that stands still: a busy machine makes nobody late.
        self.turns = Turns(max_unread, monotonic=lambda: 0.0)
        loop = Loop()
        self._adapter = asgi_adapter.AsgiAdapter(
            self._app,
            RequestBuffer(BodyLimits(30.0, 500, 1000), loop),
            loop,
            self.turns,
            self.slots,
            1000,
            monotonic=lambda: self.now,
        )

    def _app(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        turn = environ[TURN]
        token = request_deadline.begin()
        self.lefts.append(request_deadline.left(100.0))
        request_deadline.end(token)
        start_response('200 OK', [])
        if not turn.begin('message_list', 'p'):
            return []
        self.called += 1
        assert environ['wsgi.input'].read() == self.body
        return [bytes(self.size)]

    def closed(self, count: int) -> int:
        """Return how many answers close their connection."""
        watchers = [self.ask() for _ in range(count)]
        return sum(
            (b'Connection', b'close') in each.headers for each in watchers
        )

    def retire(self, seconds: float) -> None:
        self._adapter.retire(seconds)

    def ask(
        self, room: int = 0, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> Watcher:
        watcher = Watcher(room)
        watcher.scope['headers'] = headers
        self._adapter.handle(watcher)
        return watcher


def test_a_small_answer_is_handed_over_at_once() -> None:
    watcher = House(LARGE - 1).ask()
    assert [len(part) for part in watcher.parts] == [LARGE - 1]
    assert watcher.is_complete
    assert watcher.is_done


def test_of_a_large_answer_as_much_is_handed_over_as_is_taken() -> None:
    size = 5 * asgi_adapter.PIECE + 7
    watcher = House(size).ask(room=2)
    assert len(watcher.parts) == 3
    assert not watcher.is_done
    watcher.take(room=1)
    assert len(watcher.parts) == 5
    watcher.take()
    assert watcher.is_complete
    assert watcher.is_done
    assert b''.join(watcher.parts) == bytes(size)


def test_who_leaves_much_unread_waits_and_holds_no_thread() -> None:
    house = House(2 * LARGE, max_unread=4 * LARGE)
    first, second, *others = (house.ask() for _ in range(6))
    assert house.called == 2
    assert not any(each.parts for each in others)
    first.take()
    assert house.called == 2
    first.take(room=9)
    assert house.called == 3
    assert others[0].parts
    second.take(room=9)
    assert house.called == 4


@pytest.mark.parametrize('many', [request_slots.MANY, 0])
def test_a_request_whose_client_has_gone_meanwhile_is_not_begun(
    monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    # With 0 it is watched from the beginning on.
    monkeypatch.setattr(request_slots, 'MANY', many)
    house = House(2 * LARGE, max_unread=4 * LARGE)
    first, _, gone, last = (house.ask() for _ in range(4))
    for each in (gone, last):
        each.tell(type='http.request', more_body=False)
    gone.tell(type='http.disconnect')
    first.take(room=9)
    assert house.called == 3
    assert gone.is_done
    assert not gone.parts
    assert last.parts
    assert last.event.is_cancelled
    # It comes too late, and so does what is cancelled.
    last.tell(type='http.disconnect')
    last.take(room=9)
    assert last.is_complete


def test_a_request_whose_client_loses_patience_is_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_slots, 'MANY', 1)
    house, waiting = House(10), list[Watcher]()

    def work() -> None:
        waiting.extend(house.ask() for _ in range(3))
        _, gone, last = waiting
        for each in (gone, last):
            each.tell(type='http.request', more_body=False)
        gone.tell(type='http.disconnect')

    assert house.slots.run(work)
    first, gone, last = waiting
    assert house.called == 2
    assert first.is_complete
    assert gone.is_done
    assert not gone.parts
    assert last.is_complete
    assert last.event.is_cancelled
    # Nobody watches the first: few were waiting.
    assert first.event is first.unwatched


def test_a_client_that_goes_as_its_turn_comes_ends_its_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Gone as soon as somebody has seen it there.
    looks = itertools.count()
    has_gone = property(lambda client: next(looks) > 0, lambda *_: None)
    monkeypatch.setattr(request_slots, 'MANY', 0)
    monkeypatch.setattr(
        asgi_adapter.WatchedClient, 'has_gone', has_gone, raising=False
    )
    assert House(10).ask().is_done


def test_what_is_too_long_is_not_read_while_it_waits() -> None:
    house = House(2 * LARGE, max_unread=4 * LARGE)
    waiting = [house.ask() for _ in range(3)][-1]
    event = waiting.event
    waiting.tell(type='http.request', more_body=True)
    assert waiting.event is event


def test_many_that_have_waited_are_answered_without_recursion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_page_fairness, 'MOST_WAITING', 2000)
    house = House(LARGE, max_unread=LARGE)
    first, *others = (house.ask(room=9 * bool(n)) for n in range(2000))
    assert house.called == 1
    first.take(room=9)
    assert house.called == 2000
    assert all(each.is_done for each in others)


def test_what_cannot_be_sent_does_not_count_as_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House(3 * asgi_adapter.PIECE, max_unread=LARGE)
    first, errors = house.ask(), list[BaseException]()
    waiting = house.ask(room=9)
    monkeypatch.setattr(first, 'err', errors.append)
    monkeypatch.setattr(first, 'send', lambda message: 1 / 0)
    first.take()
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert waiting.is_done
    # Not a byte of it: one more than there is room for would be too many.
    house.turns.add_unread('p', LARGE - 1)
    assert house.turns.begin('p')


def test_a_request_that_has_waited_has_less_time_for_stores() -> None:
    house, waiting = House(10), list[Watcher]()

    def work() -> None:
        waiting.extend(house.ask() for _ in range(2))
        house.now = request_deadline.LONGEST_WAIT

    assert house.slots.run(work)
    assert all(each.is_complete for each in waiting)
    # Enough for its work.
    assert all(0.5 < left <= 1 for left in house.lefts)


def test_a_request_that_has_waited_for_too_long_is_refused(
    counts: Counts,
) -> None:
    house, waiting = House(10), list[Watcher]()

    def work() -> None:
        waiting.extend(house.ask() for _ in range(2))
        house.now = request_deadline.LONGEST_WAIT + 0.1

    assert house.slots.run(work)
    assert not house.called
    for each in waiting:
        assert b'Too many requests are waiting' in each.parts[0]
    assert counts.refused == {'503': 2}
    # The next one has its whole time.
    house.ask()
    assert house.lefts[-1] > request_deadline.REQUEST - 1


def test_a_refusal_names_the_version() -> None:
    house, waiting = House(10), list[Watcher]()
    version = (b'openstack-api-version', b'messaging 2.1')

    def work() -> None:
        waiting.append(house.ask(headers=[version]))
        house.now = request_deadline.LONGEST_WAIT + 0.1

    assert house.slots.run(work)
    assert (b'OpenStack-API-Version', b'messaging 2.1') in waiting[0].headers


class Counts:
    """What was counted, by status."""

    def __init__(self) -> None:
        self.refused: collections.Counter[str] = collections.Counter()

    def begin(self, name: str, *labels: str) -> None: ...

    def record(self, name: str, value: float, *labels: str) -> None:
        assert (name, value) == ('refused_requests', 1)
        self.refused[labels[0]] += 1


@pytest.fixture
def counts() -> Iterator[Counts]:
    """Metrics in use."""
    counted = Counts()
    metrics.use(metrics.Metrics([counted]))
    yield counted
    metrics.use(metrics.Metrics())


def test_a_body_is_refused_without_a_slot(counts: Counts) -> None:
    house, done = House(10), list[bool]()

    def work() -> None:
        watcher = house.ask(headers=[(b'content-length', b'10')])
        watcher.tell(type='http.disconnect')
        done.append(watcher.is_done)

    assert house.slots.run(work)
    assert done == [True]
    assert not house.called
    assert counts.refused == {'400': 1}


def test_what_is_too_much_to_wait_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_slots, 'MAX_WAITING_BYTES', 10)
    house, done = House(10), list[bytes]()
    house.body = bytes(6)

    def work() -> None:
        for _ in range(2):
            watcher = house.ask(headers=[(b'content-length', b'6')])
            watcher.tell(type='http.request', body=house.body, more_body=False)
            done.extend(watcher.parts)

    assert house.slots.run(work)
    assert len(done) == 1
    assert b'Too many requests are waiting' in done[0]


def test_headers_of_what_waits_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_slots, 'MAX_WAITING_BYTES', 12_000)
    house, done = House(10), list[int]()

    def work() -> None:
        for size in (2000, 2000, 1000):
            watcher = house.ask(headers=[(b'x-a', bytes(size))])
            done.append(len(watcher.parts))

    assert house.slots.run(work)
    assert done == [0, 1, 0]


def test_connections_of_who_retires_are_closed_one_after_another() -> None:
    house = House(1)
    assert house.closed(100) == 0
    house.now = 7.0
    house.retire(2.0)
    assert house.closed(100) == 0
    house.now = 8.0
    assert 0 < house.closed(100) < 100
    house.now = 9.0
    assert house.closed(100) == 100


def test_who_retires_at_once_closes_each_connection() -> None:
    house = House(1)
    house.retire(2.0)
    house.retire(0)
    assert house.closed(100) == 100


class Mark:
    """What only a request refers to."""


class Marking(House):
    """Answers requests through pecan, and marks them."""

    def __init__(self) -> None:
        super().__init__(0)
        self.marks: list[weakref.ref[Mark]] = []
        self._pecan = PecanApplication(self)  # type: ignore[arg-type]

    def handle(self, environ: Environ) -> Response:
        environ['mark'] = mark = Mark()
        self.marks.append(weakref.ref(mark))
        return Response(204)

    def _app(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        return self._pecan(environ, start_response)


def test_an_answered_request_is_held_by_nothing() -> None:
    house = Marking()
    gc.disable()
    try:
        assert house.ask().is_done
        assert [mark() for mark in house.marks] == [None]
    finally:
        gc.enable()
