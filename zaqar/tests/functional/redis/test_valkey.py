# SPDX-License-Identifier: Apache-2.0
"""Valkey tells what it is in words of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar.errors import ConfigurationError
from zaqar.storage.redis.driver_declaration import DRIVER
from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.functional.redis.conftest import Open
from zaqar.tests.servers.redis import Redis, Sentinel, valkey


@pytest.fixture
def start() -> Iterator[Callable[..., Redis]]:
    """Start servers that end with the test."""
    servers: list[Redis] = []

    def start_(**settings: Any) -> Redis:
        named = {
            name.replace('_', '-'): value for name, value in settings.items()
        }
        servers.append(Redis(named, valkey()))
        return servers[-1]

    yield start_
    for server in servers:
        server.stop()


def test_a_server_of_a_cluster_is_not_a_single_one(
    start: Callable[..., Redis],
) -> None:
    server = start(cluster_enabled='yes')
    with pytest.raises(ConfigurationError, match=r'use redis\+cluster://'):
        DRIVER.open_messages(server.url, {})


def test_a_single_one_is_no_cluster(start: Callable[..., Redis]) -> None:
    uri = start().url.replace('redis://', 'redis+cluster://')
    with pytest.raises(ConfigurationError, match='not part of a cluster'):
        DRIVER.open_messages(uri, {})


def test_its_sentinel_needs_a_name(
    start: Callable[..., Redis], opened: Open
) -> None:
    sentinel = Sentinel(start(), program=valkey())
    try:
        with pytest.raises(ConfigurationError, match='master=NAME'):
            DRIVER.open_messages(sentinel.url, {})
        queue = Probe(opened(f'{sentinel.url}?master=zaqar'), Hand())
        queue.post('a')
        assert queue.everything() == ['a']
    finally:
        sentinel.stop()
