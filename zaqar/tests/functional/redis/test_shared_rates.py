# SPDX-License-Identifier: Apache-2.0
"""Rates that all processes keep together."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from zaqar.shared_buckets import SharedBuckets
from zaqar.tests.servers.redis import Redis

KEY = ('requests', 'p')

#: So slow that nothing comes back while a test runs.
RATE, BURST = 0.02, 1000.0


def _taken(*processes: SharedBuckets) -> int:
    """Return how often they can take one token in turns."""
    count = 0
    for number in range(60):
        buckets = processes[number % len(processes)]
        count += not buckets.take(KEY, RATE, BURST, 1)
    return count


def test_processes_share_a_bucket_while_there_is_a_server(
    own_server: Callable[..., Redis], caplog: pytest.LogCaptureFixture
) -> None:
    server = own_server()
    uri = f'redis://127.0.0.1:{server.port}'
    assert _taken(SharedBuckets(uri), SharedBuckets(uri)) == 20
    alone = [SharedBuckets(uri), SharedBuckets(uri)]
    server.stop()
    with caplog.at_level(logging.WARNING):
        assert _taken(*alone) == 40
    assert len(caplog.records) == len(alone)
