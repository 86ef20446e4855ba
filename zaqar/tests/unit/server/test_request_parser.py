# SPDX-License-Identifier: Apache-2.0
"""Requests from the bytes of a connection."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import msgspec
import pytest

from zaqar.errors import InvalidBody
from zaqar.transport.wsgi.server import request_parser
from zaqar.transport.wsgi.server.client_connections_and_limits import Clients
from zaqar.transport.wsgi.server.connection import ClientLimits, Connection
from zaqar.transport.wsgi.server.request_parser import Request

CHUNKED = b'POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n'


class Transport(asyncio.Transport):
    """Notes what a connection does.

    :ivar written: all that it has written
    """

    def __init__(self) -> None:
        super().__init__({'peername': ('10.0.0.1', 1234)})
        self.written = b''
        self.is_closed = False

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None: ...

    def write(self, data: Any) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True


class Client:
    """Sends bytes to a connection, which answers nothing.

    :ivar requests: those that are complete
    """

    def __init__(self, longest: int = 1000) -> None:
        self.requests: list[Request] = []
        limits = ClientLimits(10.0, 30.0, 100, longest)
        self._connection = Connection(
            Clients(
                ('127.0.0.1', 8888),
                limits,
                lambda _, request: self.requests.append(request),
            )
        )
        self.transport = Transport()
        self._connection.connection_made(self.transport)

    def send(self, data: bytes) -> Request | None:
        """Send bytes; return a request that has become complete."""
        self._connection.data_received(data)
        return self.requests.pop() if self.requests else None

    def go_on(self) -> Request | None:
        """Have the last request answered; return the next one."""
        self._connection.answer(b'', closes=False)
        return self.requests.pop() if self.requests else None

    @property
    def status(self) -> int:
        """Of the answer that says why something is no request."""
        assert not self.requests
        assert self.transport.is_closed
        assert b'\r\nconnection: close\r\n' in self.transport.written
        return int(self.transport.written[9:12])


def read(data: bytes, longest: int = 1000) -> Request:
    request = Client(longest).send(data)
    assert request is not None
    return request


def byte_by_byte(data: bytes) -> Request:
    client = Client()
    *missing, last = [
        client.send(data[place : place + 1]) for place in range(len(data))
    ]
    assert not any(missing)
    assert last is not None
    return last


@pytest.mark.parametrize('of', [read, byte_by_byte])
def test_a_request_without_a_body(of: object) -> None:
    assert callable(of)
    request = of(
        b'GET /v2/a%20b%C3%A9?limit=1&a=%20 HTTP/1.1\r\nHost: x\r\n'
        b'X-A: 1\r\nx-a:\t\xe9 \r\nX_A: left out\r\nContent-Type: a/b\r\n\r\n'
    )
    environ = request.environ
    assert environ['REQUEST_METHOD'] == 'GET'
    assert environ['PATH_INFO'] == '/v2/a b\xc3\xa9'
    assert environ['QUERY_STRING'] == 'limit=1&a=%20'
    assert environ['SERVER_PROTOCOL'] == 'HTTP/1.1'
    assert environ['SERVER_PORT'] == '8888'
    assert environ['REMOTE_ADDR'] == '10.0.0.1'
    assert environ['HTTP_X_A'] == '1,\xe9'
    assert environ['CONTENT_TYPE'] == 'a/b'
    assert request.body == b''
    assert request.keeps_alive


@pytest.mark.parametrize('of', [read, byte_by_byte])
def test_a_body_of_a_known_length(of: object) -> None:
    assert callable(of)
    request = of(b'POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc')
    assert request.body == b'abc'
    assert request.keeps_alive


@pytest.mark.parametrize('of', [read, byte_by_byte])
def test_a_body_in_chunks(of: object) -> None:
    assert callable(of)
    request = of(
        CHUNKED + b'3\r\nabc\r\n0A;name="x"\r\n0123456789\r\n0\r\n'
        b'Digest: y\r\n\r\n'
    )
    assert request.body == b'abc0123456789'
    assert request.keeps_alive


def test_requests_may_come_together() -> None:
    client = Client()
    first = client.send(
        b'POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\n'
        + CHUNKED
        + b'1\r\nx\r\n0\r\n\r\nGET /3 HTTP/1.1\r\n\r\nGET /4'
    )
    more = [client.go_on() for _ in range(3)]
    assert first is not None
    assert [each and each.body for each in more] == [b'x', b'', None]
    last = client.send(b' HTTP/1.1\r\n\r\n')
    assert last is not None
    assert last.environ['PATH_INFO'] == '/4'


def test_nothing_but_http_is_spoken() -> None:
    # The second one is a request of its own.
    client = Client()
    first = client.send(
        b'GET /1 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n'
        b'GET /2 HTTP/1.1\r\n\r\n'
    )
    second = client.go_on()
    assert first is not None
    assert second is not None
    assert [first.path, second.path] == [b'/1', b'/2']


@pytest.mark.proves('one reading of a request')
@pytest.mark.parametrize('of', [read, byte_by_byte])
@pytest.mark.parametrize('head', ['', 'Connection: close\r\n'])
@pytest.mark.parametrize(
    'rest',
    [
        'Content-Length: 20\r\n\r\nGET /b HTTP/1.1\r\n\r\n_',
        'Transfer-Encoding: chunked\r\n\r\n'
        '5\r\nGET /\r\nf\r\nb HTTP/1.1\r\n\r\n_\r\n0\r\n\r\n',
    ],
)
def test_who_offers_another_protocol_sends_a_body(
    of: object, head: str, rest: str
) -> None:
    # As Java's own client does, and curl with --http2.
    assert callable(of)
    request = of(
        b'POST /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n'
        + f'{head}{rest}'.encode()
    )
    assert request.path == b'/a'
    assert request.body == b'GET /b HTTP/1.1\r\n\r\n_'
    assert request.keeps_alive == (not head)


def test_many_may_offer_another_protocol_at_once() -> None:
    client = Client()
    offer = b'GET /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n'
    assert client.send(offer * 200 + b'GET /b\r\n\r\n')
    for _ in range(199):
        assert client.go_on()
    assert not client.go_on()
    assert client.status == 400


def test_what_follows_such_a_body_is_the_next_request() -> None:
    client = Client()
    first = client.send(
        2 * b'POST /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n'
        b'Content-Length: 1\r\nX-A: b\r\n\r\nx' + b'GET /c HTTP/1.1\r\n\r\n'
    )
    second, third = client.go_on(), client.go_on()
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.body == second.body == b'x'
    assert second.environ['HTTP_X_A'] == 'b'
    assert third.path == b'/c'
    assert third.body == b''


@pytest.mark.parametrize(
    'target', ['/a?b', 'http://host:80/a?b', 'HTTPS://host/a?b']
)
def test_a_target_may_name_the_host(target: str) -> None:
    environ = read(f'GET {target} HTTP/1.1\r\n\r\n'.encode()).environ
    assert environ['PATH_INFO'] == '/a'
    assert environ['QUERY_STRING'] == 'b'


@pytest.mark.parametrize(
    ('version', 'header', 'keeps_alive'),
    [
        ('1.1', '', True),
        ('1.1', 'Connection: close\r\n', False),
        ('1.1', 'Connection: TE, Close\r\n', False),
        ('1.1', 'Connection: upgrade\r\n', True),
        ('1.0', '', False),
        ('1.0', 'Connection: Keep-Alive\r\n', True),
    ],
)
def test_the_client_says_whether_it_sends_more(
    version: str, header: str, keeps_alive: bool
) -> None:
    request = read(f'GET /a HTTP/{version}\r\n{header}\r\n'.encode())
    assert request.keeps_alive == keeps_alive


@pytest.mark.proves('one reading of a request')
@pytest.mark.parametrize(
    'data',
    [
        b'GET /a\r\n\r\n',
        b'GET /a HTTP/2.0\r\n\r\n',
        b'GET /a b HTTP/1.1\r\n\r\n',
        b'GET /a HTTP/1.1\nHost: x\n\r\n\r\n',
        b'GET a HTTP/1.1\r\n\r\n',
        b'G\x00T /a HTTP/1.1\r\n\r\n',
        b'GET /a HTTP/1.1\r\n Host: x\r\n\r\n',
        b'GET /a HTTP/1.1\r\nHost: x\r\n y\r\n\r\n',
        b'GET /a HTTP/1.1\r\nHost : x\r\n\r\n',
        b'GET /a HTTP/1.1\r\nHost\r\n\r\n',
        b'GET /a HTTP/1.1\r\n: x\r\n\r\n',
        b'GET /a HTTP/1.1\r\nA: x\ny\r\n\r\n',
        b'GET /a HTTP/1.1\r\nA: x\ry\r\n\r\n',
        b'GET /a HTTP/1.1\r\nA: \x00\r\n\r\n',
        b'POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx',
        b'POST /a HTTP/1.1\r\nContent-Length: +1\r\n\r\nx',
        b'POST /a HTTP/1.1\r\nContent-Length: 0x1\r\n\r\nx',
        b'POST /a HTTP/1.1\r\nContent-Length: \xb2\r\n\r\nxx',
        b'POST /a HTTP/1.1\r\nContent-Length:\r\n\r\n',
        b'POST /a HTTP/1.1\r\nContent-Length: ' + b'9' * 5000 + b'\r\n\r\n',
        b'POST /a HTTP/1.1\r\nContent-Length: ' + b'0' * 5000 + b'1\r\n\r\nx',
        b'POST /a HTTP/1.1\r\nContent-Length: 1\r\n'
        b'Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
        b'POST /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
        b'POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n'
        b'Transfer-Encoding: chunked\r\n\r\n',
        b'POST /a HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n',
        b'POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n',
        CHUNKED + b'1\nx\r\n0\r\n\r\n',
        CHUNKED + b'1;a\nb\r\nx\r\n0\r\n\r\n',
        CHUNKED + b'1;a\rb\r\nx\r\n0\r\n\r\n',
        CHUNKED + b'10000000000000001\r\nx\r\n0\r\n\r\n',
        CHUNKED + b'0\r\nContent-Length: 1\r\n\r\nx',
        CHUNKED + b'+1\r\nx\r\n0\r\n\r\n',
        CHUNKED + b'1_0\r\n',
        CHUNKED + b'0x1\r\n',
        CHUNKED + b' 1\r\n',
        CHUNKED + b'1 \r\n',
        CHUNKED + b'\r\n',
        CHUNKED + b'1\r\nxy\r\n',
        CHUNKED + b'1\r\nx\n\n0\r\n\r\n',
        CHUNKED + b'0\r\n a\r\n\r\n',
        CHUNKED + b'0\r\nGET /b HTTP/1.1\r\n\r\n',
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(data: bytes) -> None:
    client = Client()
    assert client.send(data) is None
    assert client.status == 400


@pytest.mark.parametrize(
    ('data', 'body'),
    [
        (b'BREW /a HTTP/1.1\r\nX-A: x\r\n\r\n', b''),
        (b'get /a HTTP/1.1\r\nX-A: x\r\nContent-Length: 1\r\n\r\ny', b'y'),
    ],
)
def test_a_method_that_is_none_is_for_the_application(
    data: bytes, body: bytes
) -> None:
    request = read(data + b'GET /b HTTP/1.1\r\n\r\n')
    assert request.method == data.partition(b' ')[0].decode()
    assert request.path == b'/a'
    assert request.environ['HTTP_X_A'] == 'x'
    assert request.body == body
    assert not request.keeps_alive


def test_a_method_that_is_none_is_refused_behind_another_request() -> None:
    client = Client()
    assert client.send(b'GET /a HTTP/1.1\r\n\r\nBREW /b HTTP/1.1\r\n\r\n')
    assert not client.go_on()
    assert client.status == 400
    head, _, body = client.transport.written.partition(b'\r\n\r\n')
    assert b'\r\ncontent-type: application/json' in head
    assert msgspec.json.decode(body) == {
        'title': 'Bad request',
        'description': 'Invalid HTTP method',
    }


def test_a_client_of_a_proxy_is_for_the_application() -> None:
    request = read(b'CONNECT a:443 HTTP/1.1\r\nX-A: x\r\n\r\n' + b'\x16\x03')
    assert request.method == 'CONNECT'
    assert request.path == b'/'
    assert not request.keeps_alive


@pytest.mark.parametrize(
    'data',
    [
        b'GET /' + b'a' * request_parser.MAX_HEAD,
        b'GET / HTTP/1.1\r\n'
        + b'a: b\r\n' * (request_parser.MAX_HEADERS + 1)
        + b'\r\n',
        # They take memory before the head is complete, too.
        b'GET / HTTP/1.1\r\n' + b'a:\r\n' * 200,
    ],
)
def test_a_head_has_bounds(data: bytes) -> None:
    client = Client()
    assert client.send(data) is None
    assert client.status == 431


def test_too_long_a_body_is_not_read() -> None:
    known = read(b'POST /a HTTP/1.1\r\nContent-Length: 1001\r\n\r\nabc')
    assert known.body == b''
    assert not known.keeps_alive
    chunked = read(CHUNKED + b'3e9\r\n' + b'x' * 1001)
    assert chunked.body == b'x' * 1001
    assert not chunked.keeps_alive


def test_a_client_may_wait_for_permission() -> None:
    client = Client()
    head = (
        b'POST /a HTTP/1.1\r\nExpect: 100-Continue\r\n'
        b'Content-Length: 2\r\n\r\n'
    )
    assert not client.send(head)
    assert client.transport.written == b'HTTP/1.1 100 Continue\r\n\r\n'
    assert not client.send(b'a')
    assert client.send(b'b')
    # What waits behind another request is permitted in its turn.
    assert not client.send(head)
    client.transport.written = b''
    assert not client.go_on()
    assert client.transport.written == b'HTTP/1.1 100 Continue\r\n\r\n'


@pytest.mark.parametrize('size', [b'%x\r\n' % 10**5, b''])
def test_a_body_in_tiny_parts_is_refused(size: bytes) -> None:
    client = Client(10**6)
    part = b'x' if size else b'1\r\nx\r\n'
    assert not client.send(CHUNKED + size)
    for _ in range(request_parser.FREE_PARTS):
        assert not client.send(part)
    request = client.send(part)
    assert request is not None
    assert isinstance(request.body, InvalidBody)
    assert not request.keeps_alive


def test_what_surrounds_a_body_has_a_bound() -> None:
    client = Client()
    assert not client.send(CHUNKED + b'1\r\nx\r\n0\r\na: ')
    for _ in range(10):
        if request := client.send(b'a' * 60_000):
            break
    assert request is not None
    assert isinstance(request.body, InvalidBody)


def test_a_head_in_tiny_parts_is_refused() -> None:
    client = Client()
    assert not client.send(b'GET /')
    for _ in range(request_parser.FREE_PARTS):
        assert not client.send(b'x')
    assert client.status == 400


def test_names_that_callers_invent_are_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(200):
            name = b'%d-' % number + b'a' * 60_000
            read(b'GET / HTTP/1.1\r\n%b: \r\n\r\n' % name)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2**20
