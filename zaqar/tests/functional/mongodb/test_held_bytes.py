# SPDX-License-Identifier: Apache-2.0
"""The bytes of queues, which several processes count."""

from __future__ import annotations

import time

import pytest

from zaqar.storage.mongodb import queue_byte_counts
from zaqar.tests.contract.probe import Probe
from zaqar.tests.functional.mongodb.conftest import Open
from zaqar.tests.servers.mongodb import MongoDB

SIZE = 100


def _held(queue: Probe) -> int | None:
    return queue.store.held_bytes([queue.qid], now=queue.hand.now)


@pytest.fixture
def beside(server: MongoDB, opened: Open, queue: Probe) -> Probe:
    """The queue of another process."""
    return Probe(opened(server.uri), queue.hand, queue.qid)


def test_what_another_process_removes_is_written_by_itself(
    queue: Probe, beside: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_byte_counts, 'INTERVAL', 0.01)
    one, *_ = queue.post(*['a' * (SIZE - 2)] * 4)
    assert _held(queue) == 4 * SIZE
    beside.delete(one)
    assert len(beside.pop(2)) == 2
    end = time.monotonic() + 30
    while _held(queue) != SIZE:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_count_that_is_wrong_begins_anew_after_an_hour(
    queue: Probe,
    beside: Probe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # This process never gets to write what it has removed.
    monkeypatch.setattr(queue_byte_counts, 'INTERVAL', 3600.0)
    one, *_ = queue.post(*['a' * (SIZE - 2)] * 4, ttl=7200)
    assert _held(queue) == 4 * SIZE
    beside.delete(one)
    assert _held(queue) == 4 * SIZE
    queue.hand.before(3600)
    assert _held(queue) == 4 * SIZE
    queue.hand.at_last()
    assert _held(queue) == 3 * SIZE
    # From then on it runs again.
    queue.post('a' * (SIZE - 2))
    assert _held(queue) == 4 * SIZE


def test_a_queue_with_very_many_messages_keeps_its_count(
    queue: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_byte_counts, 'MOST', 2)
    queue.post('a' * (SIZE - 2))
    assert _held(queue) == SIZE
    queue.post(*['a' * (SIZE - 2)] * 3)
    queue.hand.move(3600)
    assert _held(queue) == 4 * SIZE
