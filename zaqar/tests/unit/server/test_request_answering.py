# SPDX-License-Identifier: Apache-2.0
"""Answers of an application to requests."""

from __future__ import annotations

import collections
import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from zaqar import metrics, request_deadline
from zaqar.errors import InvalidBody
from zaqar.transport import (
    large_page_fairness,
    requests_waiting_for_thread_or_greenlet,
)
from zaqar.transport.large_page_fairness import LARGE
from zaqar.transport.page_turn_and_message_wait import TURN
from zaqar.transport.wsgi import request_environ
from zaqar.transport.wsgi.minimal_pecan_application import PecanApplication
from zaqar.transport.wsgi.responses import Response
from zaqar.transport.wsgi.server.request_answering import Answering
from zaqar.transport.wsgi.server.request_parser import Request
from zaqar.transport.wsgi.server.request_threads import RequestThreads
from zaqar.transport.wsgi_types import Environ, StartResponse

ENVIRON = request_environ.of_connection(('127.0.0.1', 8888), '127.0.0.1')


class Client:
    """A client, and what becomes of its request.

    :ivar head: of the answer, '' if the connection is closed without one
    """

    def __init__(self) -> None:
        self.environ = ENVIRON
        self.has_left = False
        self.head = ''
        self.body = b''
        self.closes = False
        self.on_leaving: Callable[[], None] | None = None
        self._on_sent: Callable[[], None] | None = None

    @property
    def is_answered(self) -> bool:
        return bool(self.head)

    def answered(
        self, data: bytes, on_sent: Callable[[], None] | None
    ) -> None:
        head, _, self.body = data.partition(b'\r\n\r\n')
        self.head = head.decode('latin-1')
        self._on_sent = on_sent

    def take(self) -> None:
        """Read all of the answer."""
        on_sent, self._on_sent = self._on_sent, None
        assert on_sent is not None
        on_sent()

    def watch(self, on_leaving: Callable[[], None]) -> bool:
        self.on_leaving = on_leaving
        return self.has_left

    def leave(self) -> None:
        self.has_left = True
        if self.on_leaving is not None:
            self.on_leaving()


def _send(
    client: Any,
    data: bytes,
    closes: bool,
    on_sent: Callable[[], None] | None,
) -> None:
    client.closes = closes
    client.answered(data, on_sent)


class House:
    """Answers with so many bytes."""

    def __init__(self, size: int, max_unread: int = 0) -> None:
        self.size = size
        self.called = 0
        self.now = 0.0
        self.lefts = list[float]()
        self._threads = RequestThreads(1)
        self._answering = Answering(
            self._app, self._threads, _send, max_unread, lambda: self.now
        )

    def _app(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        turn = environ[TURN]
        token = request_deadline.begin()
        self.lefts.append(request_deadline.left(100.0))
        request_deadline.end(token)
        if not turn.begin('message_list', 'p'):
            start_response('503 Service Unavailable', [])
            return []
        self.called += 1
        body = environ['wsgi.input'].read().decode()
        start_response('200 OK', [('X-Body', body)])
        return [bytes(self.size)]

    def ask(
        self, more: str = '', body: Any = b'', method: str = 'GET'
    ) -> Client:
        """Send a request, which waits for a thread then."""
        pairs = (line.encode().split(b': ') for line in more.splitlines())
        headers = [(name, value) for name, value in pairs]
        keeps_alive = 'close' not in more
        request = Request(
            *({}, method, b'/v2/a', b'', '1.1', headers, body, keeps_alive)
        )
        request.environ = request.new_environ(ENVIRON)
        client: Any = Client()
        self._answering.handle(client, request)
        return client  # type: ignore[no-any-return]

    def run(self) -> None:
        """Run all that waits."""
        while self._threads.work(waits=False):
            pass

    def answered(self, more: str = '', body: Any = b'') -> Client:
        client = self.ask(more, body)
        self.run()
        return client

    def closed(self, count: int) -> int:
        """Return how many answers close their connection."""
        return sum(self.answered().closes for _ in range(count))

    def retire(self, seconds: float) -> None:
        self._answering.retire(seconds)


def test_an_answer_has_what_the_application_returns() -> None:
    client = House(10).answered(body=b'abc')
    assert client.head.startswith('HTTP/1.1 200 OK\r\n')
    assert '\r\nx-body: abc\r\n' in client.head
    assert '\r\ncontent-length: 10\r\n' in client.head
    assert client.body == bytes(10)
    assert not client.closes


def test_the_answer_to_head_has_no_body() -> None:
    house = House(10)
    client = house.ask(method='HEAD')
    house.run()
    assert '\r\ncontent-length: 10\r\n' in client.head
    assert client.body == b''


def test_a_client_that_sends_no_more_is_told_so() -> None:
    assert House(1).answered('Connection: close\r\n').closes


def test_who_leaves_much_unread_waits_and_holds_no_thread() -> None:
    house = House(2 * LARGE, max_unread=4 * LARGE)
    first, second, *others = (house.answered() for _ in range(6))
    assert house.called == 2
    assert not any(each.is_answered for each in others)
    first.take()
    house.run()
    assert house.called == 3
    assert others[0].is_answered
    second.take()
    house.run()
    assert house.called == 4


def test_a_request_whose_client_has_gone_meanwhile_is_not_begun() -> None:
    house = House(2 * LARGE, max_unread=4 * LARGE)
    first, _, gone, last = (house.answered() for _ in range(4))
    gone.leave()
    first.take()
    house.run()
    assert house.called == 3
    assert gone.closes
    assert not gone.is_answered
    assert last.is_answered


@pytest.mark.parametrize(('many', 'called'), [(1, 3), (10, 4)])
def test_a_request_whose_client_loses_patience_is_not_begun(
    monkeypatch: pytest.MonkeyPatch, many: int, called: int
) -> None:
    monkeypatch.setattr(requests_waiting_for_thread_or_greenlet, 'MANY', many)
    house = House(10)
    first, _, gone, last = (house.ask() for _ in range(4))
    gone.leave()
    house.run()
    assert first.is_answered
    # Who sends no more may still read, if it has not waited for long.
    assert gone.is_answered == (called == 4)
    assert gone.closes != gone.is_answered
    assert last.is_answered
    assert house.called == called


def test_many_that_have_waited_are_answered_without_recursion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_page_fairness, 'MOST_WAITING', 2000)
    house = House(LARGE, max_unread=LARGE)
    clients = [house.answered() for _ in range(2000)]
    assert house.called == 1
    for client in clients:
        client.take()
        house.run()
    assert house.called == 2000


def test_a_request_that_has_waited_has_less_time_for_stores() -> None:
    house = House(10)
    clients = [house.ask() for _ in range(2)]
    house.now = request_deadline.LONGEST_WAIT
    house.run()
    assert all(each.is_answered for each in clients)
    # Enough for its work.
    assert all(0.5 < left <= 1 for left in house.lefts)


def test_a_request_that_has_waited_for_too_long_is_refused(
    counts: Counts,
) -> None:
    house = House(10)
    clients = [house.ask() for _ in range(2)]
    house.now = request_deadline.LONGEST_WAIT + 0.1
    house.run()
    assert not house.called
    for each in clients:
        assert b'Too many requests are waiting' in each.body
    assert counts.refused == {'503': 2}
    # The next one has its whole time.
    house.answered()
    assert house.lefts[-1] > request_deadline.REQUEST - 1


def test_a_refusal_names_the_version() -> None:
    house = House(10)
    client = house.ask('OpenStack-API-Version: messaging 2.1\r\n')
    house.now = request_deadline.LONGEST_WAIT + 0.1
    house.run()
    assert '\r\nopenstack-api-version: messaging 2.1\r\n' in client.head


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


def test_a_body_is_refused_without_waiting(counts: Counts) -> None:
    house = House(10)
    client = house.ask(body=InvalidBody('It is not complete.'))
    assert client.head.startswith('HTTP/1.1 400 Bad Request\r\n')
    assert not house.called
    assert counts.refused == {'400': 1}


def test_what_is_too_much_to_wait_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        requests_waiting_for_thread_or_greenlet, 'MAX_WAITING_BYTES', 12_000
    )
    house = House(10)
    # It has a thread.
    house.ask()
    more = f'X-A: {"a" * 2000}\r\n'
    clients = [house.ask(more), house.ask(more), house.ask()]
    assert [each.is_answered for each in clients] == [False, True, False]
    assert b'Too many requests are waiting' in clients[1].body


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


class Splitting(House):
    """Puts the end of a line into a header."""

    def _app(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        start_response('200 OK', [('X-A', 'a\r\nX-B: b')])
        return [b'']


def test_a_header_cannot_begin_another_one() -> None:
    client = Splitting(0).answered()
    assert client.head.startswith('HTTP/1.1 500 ')
    assert 'x-b' not in client.head.lower()
    assert client.closes


class Miscounting(House):
    """Names a length that its answer does not have."""

    def _app(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        start_response('200 OK', [('Content-Length', '1')])
        return [b'abc']


def test_an_answer_has_the_length_that_it_says() -> None:
    client = Miscounting(0).answered()
    assert client.head.lower().count('content-length') == 1
    assert '\r\ncontent-length: 3\r\n' in client.head
    assert client.body == b'abc'


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
        assert house.answered().is_answered
        assert [mark() for mark in house.marks] == [None]
    finally:
        gc.enable()
