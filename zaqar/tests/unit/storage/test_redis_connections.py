# SPDX-License-Identifier: Apache-2.0
"""Connections to Redis, lent to one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from redis import exceptions

from zaqar.storage.redis import server_connections


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
        self.node = server_connections.RedisNode(self._make, 'x')

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
    with pytest.raises(server_connections.ConnectionLost):
        house.ping()
    house.answer = lambda: b'PONG'
    assert house.ping() == [b'PONG']
    assert [one.is_open for one in house.made] == [False, True]
