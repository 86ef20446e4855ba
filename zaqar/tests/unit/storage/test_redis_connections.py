# SPDX-License-Identifier: Apache-2.0
"""Connections to Redis, lent to one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from redis import exceptions

from zaqar.storage.redis import node_connection_pool
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets


class Connection:
    """A connection to nobody.

    :ivar opened: how often it was opened
    """

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.opened = 0
        self.is_open = False
        self._answer = answer

    def connect(self) -> None:
        self.opened += 1
        self.is_open = True

    def disconnect(self) -> None:
        self.is_open = False

    def send_packed_command(self, _pieces: Any, **_more: Any) -> None:
        assert self.is_open

    def pack_commands(self, _commands: Any) -> list[bytes]:
        return []

    def read_response(self) -> Any:
        return self._answer()


class House:
    """A node whose connections are ours."""

    def __init__(self) -> None:
        self.made: list[Connection] = []
        self.answer: Callable[[], Any] = lambda: b'PONG'
        self.node = node_connection_pool.RedisNode(self._make, 'x')

    def _make(self) -> Connection:
        self.made.append(Connection(lambda: self.answer()))
        return self.made[-1]

    def ping(self) -> Any:
        return self.node.exchange([('PING',)])


def test_one_connection_serves_one_call_after_another() -> None:
    house = House()
    for _ in range(3):
        assert house.ping() == [b'PONG']
    (connection,) = house.made
    assert connection.opened == 1
    house.node.close()
    assert not connection.is_open


def test_calls_at_a_time_have_connections_of_their_own() -> None:
    house = House()
    barrier = threading.Barrier(4)
    house.answer = lambda: barrier.wait(60)
    threads = [threading.Thread(target=house.ping) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(house.made) == 4
    house.node.close()
    assert not any(one.is_open for one in house.made)


def test_one_that_was_lent_meanwhile_is_closed_with_the_others() -> None:
    house = House()
    house.answer = house.node.close
    house.ping()
    house.answer = lambda: b'PONG'
    assert not house.made[0].is_open
    house.ping()
    assert [one.is_open for one in house.made] == [False, True]


def test_a_broken_one_is_not_used_again() -> None:
    house = House()

    def fail() -> Any:
        raise exceptions.ConnectionError('gone')

    house.answer = fail
    with pytest.raises(node_connection_pool.ConnectionLost):
        house.ping()
    house.answer = lambda: b'PONG'
    assert house.ping() == [b'PONG']
    assert [one.is_open for one in house.made] == [False, True]


class Shared:
    """A node whose greenlets would share a connection that cannot be opened.

    :ivar attempts: how often it was tried
    """

    def __init__(
        self, greenlets: Greenlets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.attempts = 0
        self._greenlets = greenlets
        self._is_opening = False
        self.node = node_connection_pool.RedisNode(
            self._make, 'x', is_shareable=True
        )
        monkeypatch.setattr(greenlets.hub, 'begin_in_thread', self._begin)

    def ping(self, times: int) -> None:
        for _ in range(times):
            results = self._greenlets.run(
                lambda: self.node.exchange([('PING',)])
            )
            assert results == [[b'PONG']]

    def _begin(self, work: Callable[..., object], *arguments: Any) -> None:
        self._is_opening = True
        try:
            work(*arguments)
        finally:
            self._is_opening = False

    def _make(self) -> Connection:
        if self._is_opening:
            self.attempts += 1
            raise UnicodeError
        return Connection(lambda: b'PONG')


@pytest.mark.parametrize(('pause', 'attempts'), [(0, 3), (3600, 1)])
def test_what_cannot_be_opened_is_tried_again_later(
    greenlets: Greenlets,
    monkeypatch: pytest.MonkeyPatch,
    pause: int,
    attempts: int,
) -> None:
    """Whatever the reason, which nobody may have thought of."""
    monkeypatch.setattr(node_connection_pool, 'OPENING_PAUSE', pause)
    shared = Shared(greenlets, monkeypatch)
    shared.ping(3)
    assert shared.attempts == attempts


def test_without_a_thread_to_open_it_there_is_none(
    greenlets: Greenlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_connection_pool, 'OPENING_PAUSE', 0)
    shared = Shared(greenlets, monkeypatch)
    attempts: list[object] = []

    def fail(work: object, *_: object) -> None:
        attempts.append(work)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(greenlets.hub, 'begin_in_thread', fail)
    shared.ping(2)
    assert len(attempts) == 2
