# SPDX-License-Identifier: Apache-2.0
"""Bodies are read without a thread, and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zaqar.errors import InvalidBody, RequestTimeout, ZaqarError
from zaqar.transport.wsgi import request_buffering


class Client:
    """Sends parts of a body when told to.

    :ivar outcome: what became of it
    """

    def __init__(self, loop: request_buffering.Loop) -> None:
        self._loop = loop
        self._sent: list[dict[str, Any]] = []
        self._waiting: Callable[[Client], Any] | None = None
        self.outcome: bytes | ZaqarError | None = None
        self.cancelled = False

    def receive(self) -> Client:
        return self

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        if self._sent:
            self._loop.call_soon(callback, self)
        else:
            self._waiting = callback

    def exception(self) -> None:
        return None

    def result(self) -> dict[str, Any]:
        return self._sent.pop(0)

    def cancel(self) -> None:
        self.cancelled = True

    def done(self, outcome: bytes | ZaqarError) -> None:
        assert self.outcome is None
        self.outcome = outcome

    def send(self, *parts: bytes, is_last: bool = False) -> None:
        self._sent += [
            {'type': 'http.request', 'body': part, 'more_body': True}
            for part in parts
        ]
        if is_last:
            self._sent[-1]['more_body'] = False
        self._wake()

    def leave(self) -> None:
        self._sent.append({'type': 'http.disconnect'})
        self._wake()

    def _wake(self) -> None:
        callback, self._waiting = self._waiting, None
        if callback is not None:
            self._loop.call_soon_threadsafe(callback, self)


class Room:
    """Some clients and a clock."""

    def __init__(self, **limits: Any) -> None:
        usual = {'seconds': 30.0, 'rate': 500, 'longest': 256 * 1024}
        self._loop = request_buffering.Loop()
        self._now = 0.0
        self._bodies = request_buffering.RequestBuffer(
            request_buffering.BodyLimits(**{**usual, **limits}),
            self._loop,
            lambda: self._now,
        )

    def client(self, length: int | None) -> Client:
        client = Client(self._loop)
        self._bodies.read(client.receive, length, client.done)
        return client

    def at(self, seconds: float) -> None:
        self._now = seconds
        self._bodies.refuse_slow()


def test_a_body_ends_with_its_length() -> None:
    client = Room().client(6)
    client.send(b'abc')
    assert client.outcome is None
    client.send(b'def')
    assert client.outcome == b'abcdef'


def test_a_body_without_a_length_ends_with_its_last_part() -> None:
    client = Room().client(None)
    client.send(b'abc', b'def')
    assert client.outcome is None
    client.send(b'', is_last=True)
    assert client.outcome == b'abcdef'


def test_parts_that_are_there_already_nest_no_calls() -> None:
    client = Room().client(None)
    client.send(*[b'x' * 100] * 2000, is_last=True)
    assert client.outcome == b'x' * 200_000


def test_no_more_than_is_of_interest_is_read() -> None:
    client = Room(longest=1000).client(None)
    client.send(*[b'x' * 300] * 10)
    assert client.outcome == b'x' * 1200


def test_a_body_that_breaks_off_is_none() -> None:
    for length in (None, 6):
        client = Room().client(length)
        client.send(b'abc')
        client.leave()
        assert isinstance(client.outcome, InvalidBody)


def test_a_body_has_so_long_and_no_longer() -> None:
    room = Room(seconds=30, rate=0)
    client = room.client(100_000)
    client.send(b'abc')
    room.at(30)
    assert client.outcome is None
    room.at(30.5)
    assert isinstance(client.outcome, RequestTimeout)
    assert client.cancelled
    # Nobody waits for what comes after all.
    client.send(b'x' * 99_997)


def test_a_body_that_comes_at_the_least_rate_may_go_on() -> None:
    room = Room(seconds=30, rate=100)
    steady, slow = room.client(10_000), room.client(10_000)
    for second in range(1, 21):
        steady.send(b'x' * 101)
        slow.send(b'x' * 90)
        room.at(second)
        is_over = second > request_buffering.GRACE
        assert isinstance(slow.outcome, RequestTimeout) == is_over
        assert steady.outcome is None


def test_a_body_in_tiny_parts_is_refused() -> None:
    client = Room().client(None)
    client.send(*[b'x'] * request_buffering.FREE_PARTS)
    assert client.outcome is None
    client.send(b'x')
    assert isinstance(client.outcome, InvalidBody)


@pytest.mark.proves('slow bodies')
def test_the_one_that_waits_longest_leaves_room_for_others() -> None:
    room = Room(
        longest=request_buffering.MOST_HELD // request_buffering.LONGEST_HELD
    )
    part = b'x' * (request_buffering.MOST_HELD // 8)
    first, second, *_ = clients = [room.client(None) for _ in range(8)]
    for client in clients:
        client.send(part)
    assert first.outcome is None
    late = room.client(None)
    late.send(b'x')
    assert isinstance(first.outcome, RequestTimeout)
    late.send(b'', is_last=True)
    assert late.outcome == b'x'
    # What was given up is free again.
    room.client(None).send(part)
    assert second.outcome is None


def test_there_is_room_for_bodies_that_may_be_long() -> None:
    client = Room(longest=2 * request_buffering.MOST_HELD).client(None)
    for _ in range(4):
        client.send(b'x' * (request_buffering.MOST_HELD // 2))
    assert client.outcome is None
