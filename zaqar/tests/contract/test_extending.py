# SPDX-License-Identifier: Apache-2.0
"""Holds of single messages that are extended: each has an end of its own."""

from __future__ import annotations

from zaqar.tests.contract.probe import (
    Hand,
    Probe,
    bodies,
    deleted,
    extended,
    ids,
    released,
)


def free(queue: Probe) -> list[object]:
    """Return the bodies of what a plain list shows."""
    return bodies(queue.walk())


def test_each_message_is_held_until_an_end_of_its_own(
    queue: Probe, hand: Hand
) -> None:
    one, two, three = queue.post('a', 'b', 'c')
    claim = queue.take(ttl=60)
    start = hand.now
    assert queue.settle(claim.id, extended(one, 10), extended(three, 90)) == [
        True,
        True,
    ]
    held = queue.claimed(claim.id)
    assert held is not None
    assert (held.ttl, held.expires_at) == (60, start + 90_000)
    assert bodies(held.messages) == ['a', 'b', 'c']
    for seconds, before, after in (
        (10, [], ['a']),
        (50, ['a'], ['a', 'b']),
        (30, ['a', 'b'], ['a', 'b', 'c']),
    ):
        hand.before(seconds)
        assert free(queue) == before
        assert queue.stats().claimed == 3 - len(before)
        assert queue.claimed(claim.id) is not None
        hand.at_last()
        assert free(queue) == after
        assert queue.stats().claimed == 3 - len(after)
    assert queue.claimed(claim.id) is None
    assert not queue.renew(claim.id)
    assert queue.settle(claim.id, deleted(one), deleted(two)) is None
    assert bodies(queue.take().messages) == ['a', 'b', 'c']


def test_the_rest_is_settled_after_the_claim_would_have_ended(
    queue: Probe, hand: Hand
) -> None:
    one, two, three = queue.post('a', 'b', 'c')
    claim = queue.take(ttl=60)
    queue.settle(claim.id, extended(three, 600))
    hand.move(60)
    other = queue.take(1)
    assert queue.settle(
        claim.id, deleted(one), released(two), released(three, 5)
    ) == [False, False, True]
    assert queue.claimed(other.id) == other
    assert free(queue) == ['b']


def test_deletions_know_the_end_of_each_hold(queue: Probe, hand: Hand) -> None:
    one, two, three = queue.post('a', 'b', 'c')
    claim = queue.take(ttl=60)
    queue.settle(claim.id, extended(one, 600), extended(two, 600))
    hand.move(60)
    queue.delete(one, claim.id)
    queue.delete(three)
    queue.delete_many(two, claim_ids=[claim.id])
    assert queue.everything() == []


def test_a_claim_of_shorter_holds_ends_with_the_last(
    queue: Probe, hand: Hand
) -> None:
    one, two = queue.post('a', 'b')
    claim = queue.take(ttl=600)
    queue.settle(claim.id, extended(one, 10), extended(two, 20))
    held = queue.claimed(claim.id)
    assert held is not None
    assert held.expires_at == hand.now + 20_000
    hand.before(20)
    assert bodies(queue.claimed(claim.id).messages) == ['b']  # type: ignore[union-attr]
    assert queue.availability().due == hand.now + 1
    hand.at_last()
    assert queue.claimed(claim.id) is None
    assert not queue.renew(claim.id)
    assert queue.availability().free == 2


def test_an_extension_raises_a_life_that_is_too_short(
    queue: Probe, hand: Hand
) -> None:
    short, long = queue.post('a', 'b', ttl=100)
    claim = queue.take(ttl=60)
    hand.move(50)
    queue.settle(claim.id, extended(short, 90), extended(long, 50))
    assert [item.ttl for item in queue.get(short, long)] == [90, 100]
    hand.before(50)
    assert ids(queue.get(short, long)) == [short, long]
    hand.at_last()
    assert ids(queue.get(short, long)) == [short]
    hand.before(40)
    assert ids(queue.get(short)) == [short]
    hand.at_last()
    assert queue.get(short) == []


def test_a_repeated_extension_is_one(queue: Probe) -> None:
    one, two = queue.post('a', 'b')
    claim = queue.take(ttl=60)
    for _ in range(2):
        assert queue.settle(
            claim.id, extended(one, 60), extended(two, 90)
        ) == [True, True]


def test_a_renewal_lets_all_holds_end_at_once(
    queue: Probe, hand: Hand
) -> None:
    one, two, three = queue.post('a', 'b', 'c')
    claim = queue.take(ttl=60)
    queue.settle(claim.id, extended(one, 10), extended(two, 600))
    hand.move(10)
    assert queue.renew(claim.id, ttl=90)
    # The first one was free by then.
    assert free(queue) == ['a']
    held = queue.claimed(claim.id)
    assert held is not None
    assert ids(held.messages) == [two, three]
    assert held.expires_at == hand.now + 90_000
    hand.move(90)
    assert free(queue) == ['a', 'b', 'c']


def test_a_release_of_the_claim_frees_extended_ones(queue: Probe) -> None:
    one, _ = queue.post('a', 'b')
    claim = queue.take(ttl=60)
    queue.settle(claim.id, extended(one, 600))
    queue.release(claim.id)
    assert free(queue) == ['a', 'b']


def test_a_sweep_leaves_a_claim_that_holds_something(
    queue: Probe, hand: Hand
) -> None:
    one, two = queue.post('a', 'b')
    claim = queue.take(ttl=60)
    queue.settle(claim.id, extended(one, 600), extended(two, 10))
    hand.move(120)
    queue.sweep()
    held = queue.claimed(claim.id)
    assert held is not None
    assert bodies(held.messages) == ['a']
    assert queue.settle(claim.id, deleted(one)) == [True]
    queue.sweep()
    assert queue.everything() == ['b']
