# SPDX-License-Identifier: Apache-2.0
"""Rates that all processes keep together."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from zaqar.controllers.rate_limits import RateSettings
from zaqar.redis_token_buckets import RedisTokenBuckets
from zaqar.tests.servers.redis import Redis

_AMOUNTS = (('requests', 1),)


def _taken(*processes: RedisTokenBuckets) -> int:
    """Return how often they can take one token in turns."""
    count = 0
    for number in range(60):
        buckets = processes[number % len(processes)]
        count += buckets.take('p', _AMOUNTS, 0.0) is None
    return count


def test_a_clock_that_was_set_back_keeps_nobody_waiting(
    own_server: Callable[..., Redis],
) -> None:
    server = own_server()
    settings = RateSettings(
        requests=10, redis_uri=f'redis://127.0.0.1:{server.port}'
    )
    assert RedisTokenBuckets(settings).take('p', _AMOUNTS, 0.0) is None
    client = server.client()
    (key,) = client.keys()
    ahead = [float(moment) + 3600 for moment in client.get(key).split()]
    client.set(key, ' '.join(map(str, ahead)))
    assert RedisTokenBuckets(settings).take('p', _AMOUNTS, 0.0) is None


def test_processes_share_a_bucket_while_there_is_a_server(
    own_server: Callable[..., Redis], caplog: pytest.LogCaptureFixture
) -> None:
    server = own_server()
    # So slow that nothing comes back while a test runs.
    settings = RateSettings(
        requests=0.02,
        burst=1000.0,
        redis_uri=f'redis://127.0.0.1:{server.port}',
    )
    together, alone = (
        [RedisTokenBuckets(settings) for _ in range(2)] for _ in range(2)
    )
    assert _taken(*together) == 20
    server.stop()
    with caplog.at_level(logging.WARNING):
        assert _taken(*alone) == 40
    assert len(caplog.records) == len(alone)
