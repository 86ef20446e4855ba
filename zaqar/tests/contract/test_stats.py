# SPDX-License-Identifier: Apache-2.0
"""Statistics: exact counts of live messages, and both ends."""

from __future__ import annotations

import contextlib

from msgspec import structs

from zaqar.objects import MessageSpan, Stats
from zaqar.storage.abstract_stores import MessageStore
from zaqar.tests.contract.harnesses import Harness
from zaqar.tests.contract.probe import Hand, Probe


def counts(queue: Probe) -> tuple[int, int, int]:
    """Return free, claimed and all messages."""
    stats = queue.stats()
    assert stats.free + stats.claimed == stats.total
    return stats.free, stats.claimed, stats.total


def test_a_queue_never_seen_has_no_messages_and_no_ends(
    queue: Probe,
) -> None:
    assert queue.stats() == Stats(0, 0, None, None)


def test_claimed_and_free_make_up_the_total(queue: Probe) -> None:
    queue.post(*range(7))
    queue.take(3)
    assert counts(queue) == (4, 3, 7)


def test_delayed_messages_are_free(queue: Probe, hand: Hand) -> None:
    queue.post('a', delay=60)
    queue.post('b')
    assert counts(queue) == (2, 0, 2)
    hand.move(60)
    assert counts(queue) == (2, 0, 2)


def test_counts_follow_every_change(queue: Probe) -> None:
    one, two, three, *_ = queue.post(*range(6))
    claim = queue.take(3)
    queue.delete(one, claim.id)
    assert counts(queue) == (3, 2, 5)
    queue.delete_many(two)
    assert counts(queue) == (3, 1, 4)
    queue.pop(2)
    assert counts(queue) == (1, 1, 2)
    queue.release(claim.id)
    assert counts(queue) == (2, 0, 2)
    queue.delete(three)
    assert counts(queue) == (1, 0, 1)
    queue.purge()
    assert counts(queue) == (0, 0, 0)


def test_counts_are_exact_after_a_lapse(queue: Probe, hand: Hand) -> None:
    queue.post(*range(5))
    queue.take(2, ttl=60)
    queue.take(1, ttl=120)
    hand.before(60)
    assert counts(queue) == (2, 3, 5)
    hand.at_last()
    assert counts(queue) == (4, 1, 5)
    hand.move(60)
    assert counts(queue) == (5, 0, 5)


def test_counts_are_exact_after_an_expiry(queue: Probe, hand: Hand) -> None:
    queue.post('a', 'b', ttl=60)
    queue.post('c', ttl=3600)
    hand.before(60)
    assert counts(queue) == (3, 0, 3)
    hand.at_last()
    assert counts(queue) == (1, 0, 1)


def test_a_renewed_claim_stays_claimed(queue: Probe, hand: Hand) -> None:
    queue.post('a')
    claim = queue.take(ttl=60)
    hand.before(60)
    queue.renew(claim.id, ttl=60)
    hand.move(30)
    assert counts(queue) == (0, 1, 1)


def test_the_ends_are_the_first_and_last_live_message(
    queue: Probe, hand: Hand
) -> None:
    (first,) = queue.post('a')
    start = hand.now
    hand.move(10)
    queue.post('b')
    hand.move(10)
    (last,) = queue.post('c')
    stats = queue.stats()
    assert stats.oldest == MessageSpan(first, start)
    assert stats.newest == MessageSpan(last, start + 20_000)


def test_both_ends_may_be_the_same_message(queue: Probe) -> None:
    queue.post('a')
    stats = queue.stats()
    assert stats.oldest == stats.newest
    assert stats.oldest is not None


def test_the_ends_are_found_in_every_state(queue: Probe, hand: Hand) -> None:
    (dead,) = queue.post('dead', ttl=60)
    hand.move(60)
    (first,) = queue.post('claimed')
    queue.take()
    (last,) = queue.post('delayed', delay=600)
    stats = queue.stats()
    assert stats.oldest is not None
    assert stats.newest is not None
    assert (stats.oldest.id, stats.newest.id) == (first, last)
    assert dead != first


def test_the_volume_of_a_store_is_that_of_all_its_queues(
    harness: Harness, hand: Hand
) -> None:
    # Not among the queues of all other tests: it stops after some time.
    uri = harness.database()
    with contextlib.closing(harness.open_messages(uri)) as store:

        def volume() -> tuple[int, int]:
            volume = store.volume(now=hand.now)
            assert volume is not None
            assert (volume.oldest, volume.newest) == (None, None)
            return volume.claimed, volume.total

        queue, another = Probe(store, hand), Probe(store, hand)
        assert volume() == (0, 0)
        queue.post(*range(5), ttl=600)
        another.post('a', ttl=600)
        queue.take(2, ttl=60)
        assert volume() == (2, 6)
        another.drop()
        assert volume() == (2, 5)


def test_a_dead_letter_is_the_newest_by_its_place(
    queue: Probe, another: Probe
) -> None:
    (old,) = another.post('letter')
    queue.post('a')
    queue.letter('letter', old)
    newest = queue.stats().newest
    assert newest is not None
    assert newest.id == old


def test_delayed_messages_are_counted_beside(queue: Probe, hand: Hand) -> None:
    assert queue.stats().delayed == 0
    queue.post('a', delay=60)
    queue.post('b', 'c', delay=90)
    queue.post('d')
    assert queue.stats().delayed == 3
    hand.before(60)
    assert queue.stats().delayed == 3
    hand.at_last()
    assert queue.stats().delayed == 2
    queue.take(2, ttl=600)
    assert queue.stats().delayed == 2
    hand.move(30)
    assert queue.stats().delayed == 0
    assert counts(queue) == (2, 2, 4)


def test_expired_messages_are_not_counted_as_delayed(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', ttl=60, delay=90)
    queue.post('b', ttl=600, delay=90)
    hand.move(60)
    assert queue.stats().delayed == 1
    assert counts(queue) == (1, 0, 1)


def test_the_oldest_free_message_is_one_that_can_be_claimed(
    queue: Probe, hand: Hand
) -> None:
    start = hand.now
    assert queue.stats().oldest_free_at is None
    queue.post('a', ttl=7200)
    hand.move(10)
    queue.post('delayed', delay=30)
    hand.move(10)
    queue.post('b')
    assert queue.stats().oldest_free_at == start
    claim = queue.take(1, ttl=60)
    assert queue.stats().oldest_free_at == start + 20_000
    hand.move(20)
    assert queue.stats().oldest_free_at == start + 10_000
    queue.take(2, ttl=600)
    assert queue.stats().oldest_free_at is None
    hand.before(40)
    assert queue.stats().oldest_free_at is None
    hand.at_last()
    assert queue.stats().oldest_free_at == start
    queue.take(1, ttl=60, claim_id=claim.id + 'x')
    queue.release(claim.id + 'x')
    assert queue.stats().oldest_free_at == start


def test_an_expired_message_is_not_the_oldest_free_one(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', ttl=60)
    hand.move(30)
    queue.post('b', ttl=60)
    start = hand.now
    hand.move(30)
    assert queue.stats().oldest_free_at == start
    hand.move(30)
    assert queue.stats().oldest_free_at is None


def test_the_number_of_posted_messages_rises_with_posts_alone(
    queue: Probe, hand: Hand
) -> None:
    def posted() -> int:
        number = queue.stats().posted
        assert number is not None
        return number

    queue.post('a')
    start = posted()
    queue.post(*range(4))
    assert posted() == start + 4
    hand.move(1)
    queue.post('b', delay=60)
    assert posted() == start + 5
    queue.pop(2)
    claim = queue.take(1)
    queue.release(claim.id)
    assert posted() == start + 5
    queue.pop()
    assert posted() == start + 5
    hand.move(3600)
    queue.sweep()
    queue.purge()
    assert posted() == start + 5
    queue.post('c')
    assert posted() == start + 6


def test_many_queues_are_counted_as_each_alone(
    queue: Probe, another: Probe, store: MessageStore, hand: Hand
) -> None:
    gone, unseen, emptied, mixed = (Probe(store, hand) for _ in range(4))
    queue.post(*range(5))
    queue.take(2, ttl=60)
    queue.post('later', delay=90)
    another.post('dead', ttl=60)
    gone.post('a')
    gone.drop()
    emptied.post('a')
    emptied.pop()
    mixed.post('a', ttl=600, **({'group': 'g'} if store.has_groups else {}))
    mixed.post('b', ttl=600, **({'group': 'g'} if store.has_groups else {}))
    mixed.take(1, ttl=600)
    probes = [mixed, unseen, another, queue, emptied]
    for _ in range(2):
        counts = store.stats_of(
            [probe.qid for probe in (*probes, gone)], now=hand.now
        )
        for probe, count in zip(probes, counts, strict=False):
            alone = structs.replace(probe.stats(), oldest=None, newest=None)
            # A driver may say which are the oldest and newest here, too.
            assert structs.replace(count, oldest=None, newest=None) == alone
        assert counts[-1] == Stats()
        hand.move(60)
    assert store.stats_of([], now=hand.now) == []
    assert [one.total for one in counts] == [2, 0, 0, 6, 0, 0]
