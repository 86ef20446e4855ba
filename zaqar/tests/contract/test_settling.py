# SPDX-License-Identifier: Apache-2.0
"""Settling: messages of a claim deleted, released or extended in one call."""

from __future__ import annotations

import pytest

from zaqar.errors import QueueGone
from zaqar.tests.contract.probe import (
    Hand,
    Probe,
    bodies,
    deleted,
    extended,
    ids,
    released,
    token,
)


def free(queue: Probe) -> list[object]:
    """Return the bodies of what a plain list shows."""
    return bodies(queue.walk())


def test_messages_are_settled_each_in_its_way(queue: Probe) -> None:
    one, two, three, four = queue.post('a', 'b', 'c', 'd')
    claim = queue.take()
    results = queue.settle(
        claim.id,
        extended(three, 60),
        deleted(one),
        released(two),
    )
    assert results == [True, True, True]
    assert free(queue) == ['b']
    assert queue.everything() == ['b', 'c', 'd']
    held = queue.claimed(claim.id)
    assert held is not None
    assert ids(held.messages) == [three, four]
    stats = queue.stats()
    assert (stats.free, stats.claimed) == (1, 2)


def test_what_the_claim_does_not_hold_stays_as_it_is(queue: Probe) -> None:
    one, two, three, gone = queue.post('a', 'b', 'c', 'd')
    claim, other = queue.take(1), queue.take(1)
    queue.delete(gone)
    results = queue.settle(
        claim.id,
        deleted(two),
        released(three, 60),
        extended(gone, 60),
        deleted(token()),
        deleted('no id'),
        deleted('\0' * 32),
        released(two[:-1] + 'g', 60),
        deleted(one),
    )
    assert results == [False] * 7 + [True]
    assert free(queue) == ['c']
    assert queue.claimed(other.id) == other


@pytest.mark.parametrize('name', ['0' * 32, '', 'a' * 65, 'no claim', '\0'])
def test_an_unknown_claim_settles_nothing(queue: Probe, name: str) -> None:
    (one,) = queue.post('a')
    assert queue.settle(name, deleted(one)) is None
    assert queue.settle(name) is None
    assert queue.everything() == ['a']


def test_nothing_can_be_settled(queue: Probe) -> None:
    queue.post('a')
    claim = queue.take()
    assert queue.settle(claim.id) == []
    assert queue.claimed(claim.id) == claim


def test_a_claim_of_another_queue_is_unknown(
    queue: Probe, another: Probe
) -> None:
    (one,) = queue.post('a')
    claim = queue.take()
    another.post('b')
    another.take()
    assert another.settle(claim.id, deleted(one)) is None
    assert queue.claimed(claim.id) == claim


def test_a_claim_settles_until_it_ends(queue: Probe, hand: Hand) -> None:
    one, two = queue.post('a', 'b')
    claim = queue.take(ttl=60)
    hand.before(60)
    assert queue.settle(claim.id, deleted(one)) == [True]
    hand.at_last()
    assert queue.settle(claim.id, deleted(two)) is None
    assert free(queue) == ['b']


def test_a_dropped_queue_is_gone(queue: Probe) -> None:
    (one,) = queue.post('a')
    claim = queue.take()
    queue.drop()
    with pytest.raises(QueueGone):
        queue.settle(claim.id, deleted(one))


def test_a_purged_queue_has_no_claims(queue: Probe) -> None:
    (one,) = queue.post('a')
    claim = queue.take()
    queue.purge()
    assert queue.settle(claim.id, deleted(one)) is None


def test_a_dead_letter_is_settled_by_its_id(
    queue: Probe, another: Probe
) -> None:
    names = another.post('a', 'b', 'c')
    for body, name in zip('abc', names, strict=True):
        queue.letter(body, name)
    claim = queue.take()
    one, two, three = names
    settlements = [deleted(one), released(two), extended(three, 60)]
    assert queue.settle(claim.id, *settlements) == [True] * 3
    assert queue.everything() == ['b', 'c']
    assert free(queue) == ['b']


def test_a_hundred_are_settled_at_once(queue: Probe) -> None:
    posted = queue.post(*range(100))
    claim = queue.take()
    settlements = [
        (
            deleted(name),
            released(name, reason=f'{number}'),
            released(name, number, failed=False),
            extended(name, number),
        )[number % 4]
        for number, name in enumerate(posted)
    ]
    assert queue.settle(claim.id, *settlements[::-1]) == [True] * 100
    assert free(queue) == [*range(1, 100, 4)]
    assert queue.stats().total == 75
    held = queue.claimed(claim.id)
    assert held is not None
    assert bodies(held.messages) == [*range(3, 100, 4)]


def test_settled_messages_make_room(queue: Probe) -> None:
    one, two = queue.post('a', 'b', limit=2)
    queue.settle(queue.take().id, deleted(one), released(two))
    queue.post('c', limit=2)
    assert queue.everything() == ['b', 'c']


# Deletions.


def test_a_claim_is_gone_with_its_last_message(
    queue: Probe, hand: Hand
) -> None:
    one, two = queue.post('a', 'b')
    claim = queue.take()
    assert queue.settle(claim.id, deleted(one)) == [True]
    assert queue.claimed(claim.id) is not None
    assert queue.settle(claim.id, deleted(two)) == [True]
    assert queue.claimed(claim.id) is None
    assert not queue.renew(claim.id)
    assert queue.settle(claim.id, deleted(two)) is None
    queue.post('c')
    assert bodies(queue.take().messages) == ['c']


def test_a_claim_emptied_otherwise_settles_nothing(queue: Probe) -> None:
    (one,) = queue.post('a')
    claim = queue.take()
    queue.delete(one, claim.id)
    assert queue.settle(claim.id, deleted(one)) is None


def test_a_repeated_settle_does_nothing(queue: Probe) -> None:
    one, two, three = queue.post('a', 'b', 'c')
    claim = queue.take()
    settlements = [deleted(one), released(two, failed=False)]
    assert queue.settle(claim.id, *settlements) == [True, True]
    assert queue.settle(claim.id, *settlements) == [False, False]
    again = queue.take()
    assert queue.settle(claim.id, *settlements) == [False, False]
    assert queue.claimed(again.id) == again
    assert again.messages[0].claim_count == 1
    assert queue.settle(claim.id, deleted(three), *settlements) == [
        *(True, False, False)
    ]
    assert queue.settle(claim.id, *settlements) is None


# Releases.


def test_a_released_message_returns_to_its_place(queue: Probe) -> None:
    one, two, three = queue.post('a', 'b', 'c')
    claim = queue.take(2)
    queue.settle(claim.id, released(two))
    assert free(queue) == ['b', 'c']
    queue.settle(claim.id, released(one))
    assert free(queue) == ['a', 'b', 'c']
    assert queue.claimed(claim.id) is None
    assert not queue.renew(claim.id)
    taken = queue.take(ttl=60)
    assert ids(taken.messages) == [one, two, three]
    assert [item.claim_count for item in taken.messages] == [2, 2, 1]


def test_a_message_released_for_later_is_delayed_until_then(
    queue: Probe, hand: Hand
) -> None:
    one, _ = queue.post('a', 'b')
    claim = queue.take(1, ttl=300)
    assert queue.settle(claim.id, released(one, 30)) == [True]
    wakes_at = hand.now + 30_000

    def shows_delay() -> None:
        assert free(queue) == ['b']
        assert bodies(queue.walk(include_claimed=True)) == ['b']
        shown = list(queue.walk(include_delayed=True))
        assert bodies(shown) == ['a', 'b']
        (message,) = queue.get(one)
        for item in (message, shown[0]):
            assert (item.visible_at, item.claim_id) == (wakes_at, None)
        stats = queue.stats()
        assert (stats.free, stats.claimed) == (2, 0)

    shows_delay()
    offer = queue.availability()
    assert (offer.free, offer.due) == (1, wakes_at)
    assert bodies(queue.take(ttl=600).messages) == ['b']
    hand.before(30)
    assert queue.claim() is None
    assert queue.pop() == []
    assert queue.get(one)[0].visible_at == wakes_at
    hand.at_last()
    assert queue.availability().free == 1
    assert queue.get(one)[0].visible_at is None
    assert free(queue) == ['a']
    assert bodies(queue.take().messages) == ['a']


def test_a_delayed_message_keeps_its_place(queue: Probe, hand: Hand) -> None:
    one, _, _ = queue.post('a', 'b', 'c')
    queue.settle(queue.take(1).id, released(one, 30))
    hand.move(30)
    assert free(queue) == ['a', 'b', 'c']
    assert bodies(queue.take(2).messages) == ['a', 'b']


def test_a_delayed_message_can_be_deleted(queue: Probe, hand: Hand) -> None:
    one, two = queue.post('a', 'b')
    claim = queue.take()
    queue.settle(claim.id, released(one, 30))
    queue.delete(one)
    hand.move(30)
    assert queue.everything() == ['b']
    assert ids(queue.get(one, two)) == [two]


def test_a_delay_prolongs_no_life(queue: Probe, hand: Hand) -> None:
    (one,) = queue.post('a', ttl=600)
    queue.settle(queue.take(ttl=60).id, released(one, 3600))
    hand.before(600)
    assert queue.get(one)[0].ttl == 600
    hand.at_last()
    assert queue.get(one) == []
    hand.move(3600)
    assert queue.claim() is None


def test_a_second_delay_counts_from_its_own_release(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('a', delay=10)
    for seconds in (20, 5):
        hand.move(20)
        queue.settle(queue.take().id, released(one, seconds))
        hand.before(seconds)
        assert queue.claim() is None
        hand.at_last()
        assert free(queue) == ['a']


@pytest.mark.parametrize('seconds', [0, 30])
def test_a_release_may_take_back_the_count(
    queue: Probe, hand: Hand, seconds: int
) -> None:
    one, two = queue.post('a', 'b')
    for round_ in (1, 2):
        claim = queue.take(ttl=60)
        assert [item.claim_count for item in claim.messages] == [1, round_]
        queue.settle(
            claim.id, released(one, seconds, failed=False), released(two)
        )
        hand.move(seconds)
        counts = [item.claim_count for item in queue.get(one, two)]
        assert counts == [0, round_]
    claim = queue.take(max_claims=2)
    assert bodies(claim.messages) == ['a']
    assert bodies(claim.exhausted) == ['b']


def test_the_last_reason_stays_with_the_message(
    queue: Probe, hand: Hand
) -> None:
    one, two = queue.post('a', 'b')
    reasons = ['rate limited', None, '', 'ümläut \ud800 \0', 'x' * 1024]
    last = None
    for given in reasons:
        claim = queue.take(1, ttl=60)
        assert claim.messages[0].reason == last
        queue.settle(claim.id, released(one, 1, reason=given))
        last = last if given is None else given
        assert queue.get(one)[0].reason == last
        hand.move(1)
        assert next(queue.walk()).reason == last
    claim = queue.take()
    assert queue.claimed(claim.id) == claim
    assert [item.reason for item in claim.messages] == [last, None]
    queue.settle(claim.id, extended(one, 5), released(two))
    assert [item.reason for item in queue.get(one, two)] == [last, None]
    hand.move(5)
    assert [item.reason for item in queue.pop()] == [last, None]
