# SPDX-License-Identifier: Apache-2.0
"""Connections of clients, whatever those do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from zaqar.errors import RequestTimeout
from zaqar.transport import listening_socket
from zaqar.transport.wsgi.server import (
    client_connections_and_limits,
    connection,
    connection_acceptor,
)
from zaqar.transport.wsgi.server.client_connections_and_limits import Clients
from zaqar.transport.wsgi.server.connection import ClientLimits, Connection
from zaqar.transport.wsgi.server.connection_acceptor import Acceptor
from zaqar.transport.wsgi.server.request_parser import Request

LIMITS = ClientLimits(
    head_seconds=10.0,
    body_seconds=30.0,
    body_rate=100,
    longest_body=1_000_000,
)

GET = b'GET /a HTTP/1.1\r\nHost: x\r\n\r\n'

ANSWER = b'HTTP/1.1 204 No Content\r\n\r\n'


def post(body: bytes, length: int) -> bytes:
    head = f'POST /a HTTP/1.1\r\nContent-Length: {length}\r\n\r\n'
    return head.encode() + body


class Server:
    """Connections, their clock, and the requests that are handed on."""

    def __init__(
        self,
        most: int = 100,
        listener: socket.socket | None = None,
        counts: Any = None,
        number: int = 0,
    ) -> None:
        self.now = 100.0
        self.requests: list[tuple[Connection, Request]] = []
        self._clients: list[socket.socket] = []
        self.listener = listener or listening_socket.listen(
            '127.0.0.1', 0, 64, ''
        )
        self._loop = uvloop.new_event_loop()
        self.all = Clients(
            self.listener.getsockname()[:2],
            LIMITS,
            lambda *pair: self.requests.append(pair),
            counts,
            number,
            lambda: self.now,
        )
        self.acceptor = Acceptor(self._loop, self.listener, self.all, most)
        self.acceptor.go_on()
        self.poll()

    def poll(self, seconds: float = 0) -> None:
        """Do all that can be done, some time later."""
        self.now += seconds
        for _ in range(20):
            self.turn()
        self.all.check()
        self.turn()

    def turn(self, seconds: float = 0) -> None:
        """Do what can be done at once, or within some seconds."""
        self._loop.call_later(seconds, self._loop.stop)
        self._loop.run_forever()

    def client(self, data: bytes = b'') -> socket.socket:
        """Return the connection of a client that sends bytes."""
        client = socket.create_connection(self.listener.getsockname(), 10)
        self._clients.append(client)
        client.sendall(data)
        self.poll()
        return client

    def answer(self, data: bytes = ANSWER, **more: Any) -> Request:
        """Answer the oldest request."""
        answered, request = self.requests.pop(0)
        closes = more.pop('closes', not request.keeps_alive)
        answered.answer(data, closes=closes, **more)
        self.poll()
        return request

    def close(self) -> None:
        self.acceptor.stop()
        for each in (self.listener, *self._clients):
            each.close()
        self.poll()
        self._loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def two_at_most() -> Iterator[Server]:
    made = Server(2)
    yield made
    made.close()


def is_closed(client: socket.socket) -> bool:
    """Tell whether the server has closed a connection."""
    client.setblocking(False)
    try:
        return client.recv(65536) == b''
    except BlockingIOError:
        return False
    finally:
        client.settimeout(10)


def test_many_that_come_together_end_the_connection(server: Server) -> None:
    most = connection.MOST_BEHIND + 1
    client = server.client(GET * (most + 100))
    for _ in range(most):
        server.answer()
    assert not server.requests
    received = b''
    while data := client.recv(1_000_000):
        received += data
    assert received == ANSWER * most


def test_what_comes_before_the_answer_has_a_bound(server: Server) -> None:
    client = server.client(GET)
    client.settimeout(0.2)
    body = bytes(50_000_000)
    with pytest.raises(TimeoutError):
        client.sendall(post(body, len(body)))


def test_requests_come_one_after_another(server: Server) -> None:
    client = server.client(GET)
    for _ in range(3):
        (_, request) = server.requests[0]
        assert request.environ['REMOTE_ADDR'] == '127.0.0.1'
        server.answer()
        assert client.recv(1000) == ANSWER
        client.sendall(GET)
        server.poll()
    assert len(server.requests) == 1


def test_those_that_come_together_wait_for_the_answer(server: Server) -> None:
    client = server.client(GET + post(b'abc', 3) + GET[:5])
    client.sendall(GET[5:])
    server.poll()
    for body in (b'', b'abc', b''):
        assert len(server.requests) == 1
        assert server.answer().body == body
        assert client.recv(1000) == ANSWER


def test_a_body_comes_in_parts(server: Server) -> None:
    body = bytes(300_000)
    client = server.client(post(body[:10], len(body)))
    assert not server.requests
    client.settimeout(10)
    sending = threading.Thread(target=client.sendall, args=(body[10:],))
    sending.start()
    while not server.requests:
        server.turn(0.01)
    sending.join()
    assert server.answer().body == body


def test_a_client_is_given_permission_to_send(server: Server) -> None:
    client = server.client(
        b'POST /a HTTP/1.1\r\nExpect: 100-continue\r\n'
        b'Content-Length: 3\r\n\r\n'
    )
    assert client.recv(1000) == b'HTTP/1.1 100 Continue\r\n\r\n'
    client.sendall(b'abc')
    server.poll()
    assert server.answer().body == b'abc'


def test_too_long_a_body_needs_no_permission(server: Server) -> None:
    client = server.client(
        b'POST /a HTTP/1.1\r\nExpect: 100-continue\r\n'
        b'Content-Length: 9000000\r\n\r\n'
    )
    server.answer()
    assert client.recv(1000) == ANSWER
    assert is_closed(client)


def test_what_is_no_request_is_answered_and_ends(server: Server) -> None:
    client = server.client(b'GET /a\r\n\r\n' + GET)
    assert not server.requests
    assert client.recv(1000).startswith(b'HTTP/1.1 400 Bad Request\r\n')
    assert is_closed(client)


@pytest.mark.proves('slow bodies')
def test_a_slow_body_is_refused(server: Server) -> None:
    steady, slow = (server.client(post(b'', 99_999)) for _ in range(2))
    for second in range(1, 21):
        steady.sendall(b'x' * 101)
        slow.sendall(b'x' * 90)
        server.poll(1)
        is_over = second > connection.GRACE
        assert len(server.requests) == is_over
    server.poll(11)
    assert len(server.requests) == 2
    for client in (slow, steady):
        request = server.answer()
        assert isinstance(request.body, RequestTimeout)
        assert not request.keeps_alive
        # What it still sends does not cost it the answer.
        client.sendall(b'x' * 1000)
        assert client.recv(1000) == ANSWER
        assert client.recv(1000) == b''
        server.poll()


def test_a_slow_head_ends(server: Server) -> None:
    slow = [server.client(data) for data in (b'', GET[:5])]
    server.poll(9)
    assert not any(is_closed(each) for each in slow)
    slow[1].sendall(GET[5:6])
    server.poll(2)
    assert all(is_closed(each) for each in slow)


def test_an_idle_connection_ends(server: Server) -> None:
    client = server.client(GET)
    server.poll(1000)
    server.answer()
    server.poll(connection.IDLE_TIMEOUT)
    assert client.recv(1000) == ANSWER
    server.poll(1)
    assert is_closed(client)


@pytest.mark.proves('slow bodies')
def test_the_one_that_waits_longest_leaves_room_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_connections_and_limits, 'MOST_HELD', 1000)
    monkeypatch.setattr(client_connections_and_limits, 'LONGEST_HELD', 0)
    server = Server()
    heads = [server.client(GET[:5]) for _ in range(3)]
    first, _ = (server.client(post(b'x' * 400, 9000)) for _ in range(2))
    assert not server.requests
    server.client(post(b'x' * 400, 9000))
    # As many as it takes.
    assert all(is_closed(each) for each in heads)
    assert len(server.requests) == 1
    server.answer()
    assert first.recv(1000) == ANSWER
    # What was given up is free again.
    assert not server.requests
    server.close()


def test_what_all_send_before_answers_has_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        client_connections_and_limits, 'MOST_HELD', 50 * connection.OVERHEAD
    )
    monkeypatch.setattr(client_connections_and_limits, 'LONGEST_HELD', 0)
    server = Server()
    few, first, second = (server.client(GET * n) for n in (4, 30, 30))
    assert is_closed(first)
    assert not is_closed(few)
    # The first ones of each, one of which has no client any more.
    assert len(server.requests) == 3
    for _ in range(1 + 4 + 30):
        server.answer()
    assert not server.requests
    assert second.recv(100_000) == ANSWER * 30
    # What they took is free again.
    third = server.client(GET * 30)
    assert not is_closed(third)
    server.close()


def test_what_came_before_an_answer_counts_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = connection.FREE_AHEAD
    monkeypatch.setattr(client_connections_and_limits, 'MOST_HELD', 3 * free)
    monkeypatch.setattr(client_connections_and_limits, 'LONGEST_HELD', 0)
    server = Server()
    begun = GET + post(bytes(free), 90_000)
    for _ in range(2):
        server.client(begun)
        server.answer()
    assert not server.requests
    server.client(begun)
    (_, third), (_, first) = server.requests
    assert third.method == 'GET'
    assert isinstance(first.body, RequestTimeout)
    server.close()


def test_more_connections_wait_to_be_accepted(two_at_most: Server) -> None:
    server = two_at_most
    first, _, third = (server.client(GET) for _ in range(3))
    assert len(server.requests) == 2
    server.answer(closes=True)
    assert is_closed(first) or first.recv(1) == b''
    server.poll(1)
    assert len(server.requests) == 2
    server.answer()
    server.answer()
    assert third.recv(1000) == ANSWER


def test_a_client_that_does_not_read_holds_no_thread(server: Server) -> None:
    client, data, sent = server.client(GET), bytes(30_000_000), list[bool]()
    server.answer(data, on_sent=lambda: sent.append(True))
    # The next request waits.
    client.sendall(GET)
    server.poll()
    assert not server.requests
    assert not sent
    received = 0
    while received < len(data):
        received += len(client.recv(1_000_000))
        server.poll()
    assert sent == [True]
    assert len(server.requests) == 1


def test_a_client_that_goes_has_read_all(server: Server) -> None:
    client, sent = server.client(GET), list[bool]()
    server.answer(bytes(30_000_000), on_sent=lambda: sent.append(True))
    assert not sent
    client.close()
    server.poll()
    assert sent == [True]


def test_it_is_noticed_when_a_client_goes(server: Server) -> None:
    gone = list[int]()
    early, late = server.client(GET), server.client(GET)
    (first, _), (second, _) = server.requests
    assert not first.watch(lambda: gone.append(1))
    early.close()
    late.close()
    server.poll()
    assert gone == [1]
    assert second.watch(lambda: gone.append(2))
    for each in (first, second):
        each.answer(ANSWER, closes=False)
    server.poll()
    assert gone == [1]


def test_who_only_ceases_to_send_gets_the_answer(server: Server) -> None:
    client = server.client(GET)
    client.shutdown(socket.SHUT_WR)
    server.poll()
    server.answer()
    assert client.recv(1000) == ANSWER
    assert client.recv(1000) == b''


def test_at_the_end_all_are_answered(server: Server) -> None:
    idle, busy = server.client(), server.client(GET)
    used, begun = server.client(GET), server.client(GET[:5])
    server.requests.pop()[0].answer(ANSWER, closes=False)
    server.poll()
    assert used.recv(1000) == ANSWER
    server.all.is_ending = True
    server.poll()
    assert is_closed(idle)
    assert is_closed(used)
    assert not is_closed(begun)
    server.poll(connection.LINGER + 1)
    assert is_closed(begun)
    assert len(server.all) == 1
    server.answer(closes=True)
    assert busy.recv(1000) == ANSWER
    assert is_closed(busy)
    assert not len(server.all)


def test_who_retires_leaves_new_connections_to_others(server: Server) -> None:
    server.acceptor.stop()
    server.poll(1)
    server.client(GET)
    assert not server.requests
    other, _ = server.listener.accept()
    assert other.recv(1000) == GET
    other.close()


def test_who_has_more_connections_leaves_them_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = [0, 0]
    server = Server(counts=counts)
    monkeypatch.setattr(connection_acceptor, 'COURTESY', 1000)
    for _ in range(3):
        server.client()
    assert counts == [2, 0]
    server.listener.accept()[0].close()
    server.close()


def test_who_does_not_accept_keeps_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_acceptor, 'COURTESY', 0)
    counts = [0, 0]
    server = Server(counts=counts)
    for _ in range(5):
        server.client()
    assert counts == [5, 0]
    # Its successor counts its own.
    server.all.leave_to_others()
    counts[0] = 1
    server.client()
    assert counts == [1, 0]
    server.close()
