# SPDX-License-Identifier: Apache-2.0
"""Sweeping: what it removes, how much at a time, and what it must leave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from zaqar.errors import QueueGone
from zaqar.storage.abstract_stores import MessageStore
from zaqar.tests.contract.harnesses import Feature, Harness
from zaqar.tests.contract.probe import WEEK, Hand, Probe, bodies
from zaqar.tests.contract.proxy import Proxy


@pytest.fixture(scope='module')
def place(harness: Harness) -> str:
    """A place that only these tests use, since a sweep reaches all of it."""
    return harness.database()


@pytest.fixture(scope='module')
def swept(harness: Harness, place: str) -> Iterator[MessageStore]:
    """The store of that place."""
    store = harness.open_messages(place)
    yield store
    store.close()


@pytest.fixture
def queue(swept: MessageStore, hand: Hand) -> Probe:
    """A queue in a place with nothing to sweep."""
    # Beyond every life, token and tombstone of the test before.
    later = hand.now + 60 * WEEK * 1000
    while swept.sweep(now=later, batch=10_000):
        pass
    return Probe(swept, hand)


def sweep(queue: Probe, batch: int = 10_000) -> int:
    """Sweep once."""
    return queue.store.sweep(now=queue.hand.now, batch=batch)


def test_a_sweep_of_a_clean_store_removes_nothing(queue: Probe) -> None:
    assert sweep(queue) == 0


def test_a_sweep_leaves_what_lives(queue: Probe, hand: Hand) -> None:
    queue.post('claimed', 'claimed too')
    claim = queue.take(ttl=60)
    queue.post('free')
    queue.post('delayed', delay=600)
    hand.before(60)
    assert sweep(queue) == 0
    assert len(queue.everything()) == 4
    assert queue.claimed(claim.id) == claim


def test_a_sweep_removes_the_dead_and_says_how_many(
    queue: Probe, hand: Hand
) -> None:
    queue.post(*range(30), ttl=700)
    queue.post('live', ttl=3600)
    hand.before(700)
    sweep(queue)
    hand.at_last()
    assert sweep(queue) >= 30
    assert sweep(queue) == 0
    assert queue.everything() == ['live']


def test_a_sweep_removes_a_batch_at_most_and_fewer_means_clean(
    queue: Probe, hand: Hand
) -> None:
    queue.post(*range(25), ttl=60)
    hand.move(60)
    assert [sweep(queue, 10) for _ in range(4)] == [10, 10, 5, 0]


@pytest.mark.needs(Feature.REMAINS)
def test_batches_of_one_come_to_an_end(queue: Probe, hand: Hand) -> None:
    queue.post(1, 2, ttl=60)
    queue.take(ttl=60)
    queue.purge()
    queue.post(3, ttl=60)
    hand.move(700)
    removed = 0
    while sweep(queue, 1) == 1:
        removed += 1
        assert removed < 100
    assert removed >= 3


def test_a_sweep_keeps_the_messages_of_lapsed_claims(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', 'b')
    queue.take(ttl=60)
    hand.move(60)
    sweep(queue)
    assert sweep(queue) == 0
    assert bodies(queue.walk()) == ['a', 'b']
    assert bodies(queue.take().messages) == ['a', 'b']


def test_a_sweep_keeps_what_a_claim_has_prolonged(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', ttl=60)
    claim = queue.take(ttl=300, grace=60)
    hand.move(120)
    sweep(queue)
    assert queue.claimed(claim.id) == claim
    hand.before(240)
    sweep(queue)
    assert queue.everything() == ['a']


@pytest.mark.needs(Feature.REMAINS)
def test_the_remains_of_a_purge_are_removed(queue: Probe, hand: Hand) -> None:
    queue.post(*range(30))
    queue.take(10)
    queue.purge()
    queue.post('new')
    assert sweep(queue, 20) == 20
    while sweep(queue, 20) == 20:
        pass
    assert sweep(queue) == 0
    assert queue.everything() == ['new']


@pytest.mark.needs(Feature.REMAINS)
def test_the_remains_of_a_drop_are_removed_and_its_tombstone_stays(
    queue: Probe, hand: Hand
) -> None:
    queue.post(*range(30))
    queue.drop()
    assert sweep(queue) >= 30
    assert sweep(queue) == 0
    hand.before(3600)
    assert sweep(queue) == 0
    with pytest.raises(QueueGone):
        queue.list()


def test_counts_and_ends_are_right_after_a_sweep(
    queue: Probe, hand: Hand
) -> None:
    queue.post(*range(5), ttl=60)
    (last,) = queue.post('live')
    hand.move(60)
    before = queue.stats()
    sweep(queue)
    assert queue.stats() == before
    assert before.newest == before.oldest
    assert before.newest is not None
    assert before.newest.id == last


def test_sweepers_at_once_remove_each_row_once(
    queue: Probe, hand: Hand
) -> None:
    queue.post(*range(400), ttl=700)
    hand.before(700)
    sweep(queue)
    hand.at_last()
    removed: list[int] = []

    def work() -> None:
        removed.extend(sweep(queue, 50) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(removed) <= 50
    assert sum(removed) + sweep(queue) == 400
    assert sweep(queue) == 0


def test_a_sweep_gets_by_while_messages_are_taken(
    queue: Probe, hand: Hand, many: Callable[[int], int]
) -> None:
    queue.post(*range(many(300)), ttl=60)
    queue.post(*range(many(300)), ttl=3600)
    hand.move(60)
    taken: list[int] = []

    def take() -> None:
        while claim := queue.claim(10):
            taken.extend(bodies(claim.messages))

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    while sweep(queue, 20) == 20:
        pass
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(many(300)))


@pytest.mark.needs(Feature.ENDPOINT)
def test_while_one_sweeps_the_others_return_0_at_once(
    harness: Harness,
    place: str,
    queue: Probe,
    hand: Hand,
    many: Callable[[int], int],
) -> None:
    queue.post(*range(many(2000)), ttl=60)
    hand.move(60)
    with Proxy(harness.endpoint(place)) as proxy:
        slow = harness.open_messages(harness.via(place, proxy.port))
        slow.ping()
        proxy.step()
        done: list[int] = []
        thread = threading.Thread(
            target=lambda: done.append(slow.sweep(now=hand.now, batch=5))
        )
        thread.start()
        # Its statements are let through one by one. Sooner or later it has
        # the lock; then nobody else removes anything.
        removed = [1]
        while thread.is_alive() and removed[-1]:
            proxy.wait_for_answer(thread.is_alive)
            removed.append(sweep(queue, 1))
            proxy.pass_one()
        proxy.restore()
        thread.join()
        slow.close()
    assert removed[-1] == 0
    assert done == [5]
    assert sweep(queue, 1) == 1
