# SPDX-License-Identifier: Apache-2.0
"""HTTP on connections of the WebSocket server, without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h11
import pytest

from zaqar.errors import ZaqarError
from zaqar.tests.unit.websocket.moved_loop import MovedLoop
from zaqar.transport.websocket import http1_connection
from zaqar.transport.websocket.api_requests_over_http import begins
from zaqar.transport.websocket.http1_connection import (
    MAX_AHEAD,
    MAX_HEAD,
    MAX_PARTS,
    TURN,
    Answer,
    HttpConnection,
)

LONGEST = 1000

GET = b'GET /v2/queues/q/messages HTTP/1.1\r\nHost: x\r\n\r\n'


def post(body: bytes, length: int | None = None, more: str = '') -> bytes:
    head = f'POST /c HTTP/1.1\r\nHost: x\r\n{more}'
    head += f'Content-Length: {len(body) if length is None else length}\r\n'
    return head.encode() + b'\r\n' + body


def chunked(*parts: bytes) -> bytes:
    text = b'POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
    return text + b''.join(b'%x\r\n%b\r\n' % (len(p), p) for p in parts)


class House(MovedLoop):
    """A connection, its client, its loop and whoever answers."""

    def __init__(self) -> None:
        super().__init__()
        self.soon: list[Callable[[], Any]] = []
        self.requests: list[tuple[str, bytes]] = []
        self.answers: list[Answer] = []
        self.written = b''
        self.has_ended = False
        self.is_paused = False
        self.left = 0
        self.connection = HttpConnection(
            self,
            self.handle,
            self,  # type: ignore[arg-type]
            LONGEST,
        )

    # The loop.

    def call_soon(self, call: Callable[..., Any], *args: Any) -> None:
        self.soon.append(lambda: call(*args))

    def turn(self) -> None:
        """Do what the loop has to do."""
        while self.soon:
            self.soon.pop(0)()

    # The stream.

    def write(self, data: bytes) -> None:
        self.written += data

    def read(self, on: bool) -> None:
        self.is_paused = not on

    def end(self) -> None:
        self.has_ended = True

    # The requests.

    def handle(
        self,
        request: h11.Request,
        body: bytes | ZaqarError,
        answer: Answer,
    ) -> Callable[[], None]:
        if isinstance(body, ZaqarError):
            answer(body.status, [*body.headers.items()], b'no')
            return lambda: None
        self.requests.append((request.method.decode(), body))
        self.answers.append(answer)

        def left() -> None:
            self.left += 1

        return left

    def answer(self, status: int = 200, content: bytes = b'yes') -> None:
        self.answers.pop(0)(status, [('Content-Type', 'text/x')], content)
        self.turn()

    @property
    def statuses(self) -> list[int]:
        lines = self.written.split(b'HTTP/1.1 ')[1:]
        return [int(line[:3]) for line in lines]


def test_requests_are_answered_one_after_another() -> None:
    house = House()
    house.connection.receive(GET + post(b'{}') + GET[:10])
    assert house.requests == [('GET', b'')]
    house.answer()
    assert house.requests == [('GET', b''), ('POST', b'{}')]
    house.answer(204, b'')
    house.connection.receive(GET[10:])
    house.answer(404)
    assert house.statuses == [200, 204, 404]
    assert house.written.count(b'yes') == 2
    assert not house.has_ended


def test_a_request_byte_by_byte() -> None:
    house = House()
    for byte in post(b'{"ttl": 60}'):
        house.connection.receive(bytes((byte,)))
    assert house.requests == [('POST', b'{"ttl": 60}')]


def test_a_chunked_body() -> None:
    house = House()
    house.connection.receive(chunked(b'{"a":', b'1}', b''))
    assert house.requests == [('POST', b'{"a":1}')]
    house.answer()
    assert not house.has_ended


def test_a_client_that_waits_to_be_told_to_go_on_is() -> None:
    house = House()
    house.connection.receive(post(b'', 2, 'Expect: 100-continue\r\n'))
    assert house.statuses == [100]
    house.connection.receive(b'{}')
    assert house.requests == [('POST', b'{}')]


@pytest.mark.parametrize('length', [LONGEST + 1, 10**12])
def test_too_long_a_body_is_not_read(length: int) -> None:
    house = House()
    house.connection.receive(post(b'', length))
    assert house.requests == [('POST', b'')]
    house.answer(413)
    assert b'Connection: close' in house.written
    assert house.has_ended


def test_of_too_long_a_chunked_body_no_more_is_read() -> None:
    house = House()
    house.connection.receive(chunked(*[bytes(LONGEST // 2 + 1)] * 3))
    assert len(house.requests[0][1]) < LONGEST * 2
    house.answer(413)
    assert house.has_ended


def test_a_body_in_very_small_parts_is_refused() -> None:
    house = House()
    house.connection.receive(chunked(*[b'x'] * (MAX_PARTS + 1)))
    house.turn()
    assert house.statuses == [400]
    assert house.has_ended


def test_others_have_their_turn_between_small_parts() -> None:
    house = House()
    house.connection.receive(chunked(*[b'x'] * (2 * TURN), b''))
    assert not house.requests
    assert len(house.soon) == 1
    house.turn()
    assert house.requests == [('POST', b'x' * 2 * TURN)]


@pytest.mark.parametrize(
    ('data', 'status'),
    [
        (b'nonsense\r\n\r\n', 400),
        (b'GET / HTTP/1.1\r\n\r\n', 400),
        (b'GET / HTTP/1.1\r\nHost: x\r\nx' + b'y' * MAX_HEAD, 431),
        (b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n', 400),
    ],
)
def test_what_is_no_http_is_refused(data: bytes, status: int) -> None:
    house = House()
    house.connection.receive(data)
    assert house.statuses == [status]
    assert house.has_ended
    assert not house.requests


def test_who_sends_far_ahead_is_not_read_meanwhile() -> None:
    house = House()
    house.connection.receive(GET)
    house.connection.receive(GET * (MAX_AHEAD // len(GET)))
    assert not house.is_paused
    house.connection.receive(GET)
    assert house.is_paused
    house.answer()
    assert not house.is_paused
    assert len(house.requests) == 2


@pytest.mark.parametrize(
    ('data', 'seconds', 'statuses'),
    [
        (b'', http1_connection.HEAD_TIMEOUT, []),
        (GET[:20], http1_connection.HEAD_TIMEOUT, []),
        (post(b'{', 9), http1_connection.BODY_TIMEOUT, [408]),
    ],
)
def test_slow_clients_are_closed(
    data: bytes, seconds: float, statuses: list[int]
) -> None:
    house = House()
    house.connection.receive(data)
    house.wait(seconds - 1)
    house.connection.receive(b'')
    assert not house.has_ended
    house.wait(2)
    assert house.has_ended
    assert house.statuses == statuses


def test_parts_of_a_head_give_no_more_time() -> None:
    house = House()
    house.connection.receive(GET)
    house.answer()
    house.wait(http1_connection.IDLE_TIMEOUT - 1)
    house.connection.receive(GET[:5])
    house.wait(http1_connection.HEAD_TIMEOUT - 1)
    house.connection.receive(GET[5:9])
    assert not house.has_ended
    house.wait(2)
    assert house.has_ended


def test_idle_clients_are_closed() -> None:
    house = House()
    house.connection.receive(GET)
    # An answer may take its time: the request may wait for messages.
    house.wait(1000)
    house.answer()
    house.wait(http1_connection.IDLE_TIMEOUT + 1)
    assert house.has_ended
    assert house.statuses == [200]


def test_who_leaves_is_noticed_before_the_answer_only() -> None:
    house = House()
    house.connection.receive(GET)
    house.answer()
    house.connection.receive(GET)
    house.connection.lost()
    assert house.left == 1
    house.answer()
    assert house.statuses == [200]
    assert House().left == 0


def test_the_last_answer_before_the_end_closes() -> None:
    house = House()
    house.connection.receive(GET)
    house.connection.drain()
    assert not house.has_ended
    house.answer()
    assert b'Connection: close' in house.written
    assert house.has_ended


def test_idle_connections_are_closed_at_the_end() -> None:
    house = House()
    house.connection.receive(GET)
    house.answer()
    house.connection.drain()
    assert house.has_ended


def test_the_answer_to_head_has_no_body() -> None:
    house = House()
    house.connection.receive(b'HEAD' + GET[3:])
    house.answer(405)
    assert b'Content-Length: 3' in house.written
    assert b'yes' not in house.written


@pytest.mark.parametrize(
    ('data', 'expected'),
    [
        (GET, True),
        (GET[:-2], False),
        (GET.replace(b'/v2/', b'/'), False),
        (GET.replace(b'Host', b'UPGRADE: websocket\r\nHost'), False),
        (GET.replace(b'Host', b'Upgrade : websocket\r\nHost'), False),
        (GET.replace(b'Host', b'X-Upgrade: x\r\nHost'), True),
        (GET + b'\r\nUpgrade: x', True),
    ],
)
def test_which_requests_need_no_websocket(data: bytes, expected: bool) -> None:
    assert begins(data) is expected


def test_an_answer_that_lasts() -> None:
    house = House()
    house.connection.receive(GET)
    headers = [('Content-Type', 'text/x'), ('Content-Length', '0')]
    house.connection.begin(200, headers)
    assert b'\r\nConnection: close\r\n' in house.written
    assert b'Content-Length' not in house.written
    house.connection.send(b'one')
    # What comes meanwhile is not answered any more.
    house.connection.receive(GET)
    house.connection.send(b'two')
    house.connection.finish()
    _, _, body = house.written.partition(b'\r\n\r\n')
    assert body == b'3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n'
    assert house.has_ended
    assert len(house.requests) == 1
    house.connection.send(b'three')
    house.connection.finish()
    assert house.written.endswith(b'0\r\n\r\n')


def test_an_answer_that_lasts_for_an_old_client() -> None:
    house = House()
    house.connection.receive(GET.replace(b'1.1', b'1.0'))
    house.connection.begin(200, [])
    house.connection.send(b'one')
    house.connection.finish()
    assert house.written.endswith(b'\r\n\r\none')
    assert house.has_ended


def test_a_client_that_goes_during_an_answer_that_lasts() -> None:
    house = House()
    house.connection.receive(GET)
    house.connection.begin(200, [])
    house.connection.lost()
    assert house.left == 1
    written = house.written
    house.connection.send(b'one')
    house.connection.finish()
    assert house.written == written
