# SPDX-License-Identifier: Apache-2.0
"""Running counts of the bytes that queues hold."""

from __future__ import annotations

import pytest

from zaqar.objects import Act, Settlement
from zaqar.tests.contract.harnesses import Feature
from zaqar.tests.contract.probe import Hand, Probe

pytestmark = pytest.mark.needs(Feature.HELD_BYTES)


def _held(*queues: Probe) -> int:
    (store,) = {one.store for one in queues}
    qids = [*(one.qid for one in queues), '0' * 32]
    size = store.held_bytes(qids, now=queues[0].hand.now)
    assert size is not None
    return size


def test_the_bytes_of_queues_are_counted_as_they_come_and_go(
    queue: Probe, hand: Hand
) -> None:
    ids = queue.post('a' * 998, 'b' * 998, ttl=60)
    assert 2000 <= _held(queue) <= 2400
    ids = [*ids, *queue.post('c' * 2998, 'd' * 2998, ttl=3600)]
    whole = _held(queue)
    assert 8000 <= whole <= 8800
    # What goes counts with the mean of what is there.
    mean = whole // 4
    queue.delete(ids[2])
    assert _held(queue) in range(whole - mean - 9, whole - mean + 9)
    queue.pop(1)
    assert _held(queue) in range(whole - 2 * mean - 9, whole - 2 * mean + 9)
    claim = queue.take(1)
    queue.settle(claim.id, Settlement(claim.messages[0].id, Act.DELETE))
    assert _held(queue) in range(mean - 9, mean + 9)
    hand.move(3601)
    queue.sweep()
    queue.post('e' * 98, ttl=60)
    assert _held(queue) in range(100, 300)
    queue.purge()
    assert _held(queue) == 0


def test_several_queues_are_added_up(queue: Probe, another: Probe) -> None:
    assert _held(queue, another) == 0
    queue.post('a' * 98)
    another.post('b' * 998)
    both = _held(queue, another)
    assert both == _held(queue) + _held(another)
    assert 1100 <= both <= 1400
    another.store.drop(another.qid, now=another.hand.now)
    assert _held(queue, another) == _held(queue)


def test_duplicates_and_repeated_posts_do_not_count(queue: Probe) -> None:
    queue.post('a' * 98, dedup_id='a', window=60)
    one = _held(queue)
    queue.post('a' * 98, dedup_id='a', window=60)
    assert _held(queue) == one
    for _ in range(2):
        queue.post('b' * 98, token='again')
    assert _held(queue) == 2 * one
