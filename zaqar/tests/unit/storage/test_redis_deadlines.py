# SPDX-License-Identifier: Apache-2.0
"""Calls of Redis by requests that are late."""

from __future__ import annotations

import time
from typing import Any

import pytest

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable

node_connection_pool = pytest.importorskip(
    'zaqar.storage.redis.node_connection_pool'
)
client = pytest.importorskip('zaqar.storage.redis.retrying_client')
uri = pytest.importorskip('zaqar.storage.redis.uri_parsing')


class Silent:
    """A connection to a server that never answers."""

    socket_timeout = 2.0

    def connect(self) -> None:
        raise TimeoutError

    def disconnect(self) -> None:
        pass


class Answering:
    """A connection to a server that answers."""

    is_open = False

    def connect(self) -> None:
        self.is_open = True

    def disconnect(self) -> None:
        self.is_open = False

    def pack_commands(self, _: Any) -> list[bytes]:
        return []

    def send_packed_command(self, _: Any, **_more: Any) -> None: ...

    def read_response(self) -> bytes:
        return b'PONG'


@pytest.mark.parametrize('seconds', [0.3, 3.0])
def test_only_a_silence_of_some_length_ends_the_other_connections(
    seconds: float,
) -> None:
    idle = Answering()
    connections = iter([idle, Silent()])
    server = node_connection_pool.RedisNode(lambda: next(connections), 'x')
    assert server.exchange([('PING',)]) == [b'PONG']
    assert idle.is_open
    with pytest.raises(node_connection_pool.ConnectionLost) as caught:
        server.exchange([('PING',)], time.monotonic() + seconds)
    is_cut = seconds < node_connection_pool.FAIR_WAIT
    assert isinstance(caught.value, node_connection_pool.CutShort) == is_cut
    assert idle.is_open == is_cut


def test_a_request_that_is_over_asks_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = client.RedisClient(uri.parse('redis://127.0.0.1:1', {}))

    def ask(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(asking.topology, 'exchange', ask)
    with request_deadline.within(0), pytest.raises(StoreUnavailable):
        asking.ping()


def test_a_call_cut_short_says_nothing_of_the_topology(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = client.RedisClient(uri.parse('redis://127.0.0.1:1', {}))

    def ask(*_: Any) -> None:
        raise node_connection_pool.CutShort('late')

    monkeypatch.setattr(asking.topology, 'exchange', ask)
    monkeypatch.setattr(asking.topology, 'invalidate', pytest.fail)
    with request_deadline.within(0.2), pytest.raises(StoreUnavailable):
        asking.ping()
