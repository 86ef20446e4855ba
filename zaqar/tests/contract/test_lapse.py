# SPDX-License-Identifier: Apache-2.0
"""Time: what dies or wakes at exactly which moment."""

from __future__ import annotations

import pytest

from zaqar.errors import InvalidDeletion, MessageClaimed
from zaqar.tests.contract.probe import Hand, Probe, bodies, ids


def test_a_message_is_dead_at_exactly_the_end_of_its_life(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x', ttl=60)
    hand.before(60)
    assert bodies(queue.walk()) == ['x']
    assert ids(queue.get(one)) == [one]
    assert queue.stats().free == 1
    hand.at_last()
    assert list(queue.walk()) == []
    assert queue.get(one) == []
    assert queue.stats().total == 0


def test_a_dead_message_is_seen_by_no_call(queue: Probe, hand: Hand) -> None:
    (one,) = queue.post('x', ttl=60)
    hand.move(60)
    assert queue.everything() == []
    assert queue.claim() is None
    assert queue.pop() == []
    queue.delete(one)
    queue.delete_many(one)
    queue.delete(one, 'no-claim')


@pytest.mark.parametrize('how', ['claim', 'pop'])
def test_a_message_may_be_taken_to_its_last_moment(
    queue: Probe, hand: Hand, how: str
) -> None:
    queue.post('x', ttl=60)
    hand.before(60)
    taken = queue.take().messages if how == 'claim' else queue.pop()
    assert bodies(taken) == ['x']


def test_what_is_dead_stays_so_whether_swept_or_not(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x', ttl=60)
    hand.move(60)
    queue.sweep()
    assert queue.everything() == []
    assert queue.get(one) == []
    assert queue.stats().total == 0


def test_a_delay_is_over_at_exactly_its_end(queue: Probe, hand: Hand) -> None:
    queue.post('x', delay=90)
    hand.before(90)
    assert bodies(queue.walk()) == []
    assert bodies(queue.walk(include_delayed=True)) == ['x']
    assert queue.claim() is None
    assert queue.pop() == []
    hand.at_last()
    assert bodies(queue.walk()) == ['x']
    assert bodies(queue.take().messages) == ['x']


def test_a_delayed_message_wakes_for_a_pop_too(
    queue: Probe, hand: Hand
) -> None:
    queue.post('x', delay=90)
    hand.move(90)
    assert bodies(queue.pop()) == ['x']


def test_a_delayed_message_wakes_in_its_own_place(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', delay=90)
    queue.post('b')
    hand.move(90)
    assert bodies(queue.walk()) == ['a', 'b']
    assert bodies(queue.take(1).messages) == ['a']


def test_a_message_may_die_before_its_delay_is_over(
    queue: Probe, hand: Hand
) -> None:
    queue.post('x', ttl=60, delay=90)
    hand.move(60)
    assert queue.everything() == []
    hand.move(30)
    assert queue.everything() == []
    assert queue.claim() is None


def test_a_claim_is_dead_at_exactly_its_end(queue: Probe, hand: Hand) -> None:
    queue.post('x')
    claim = queue.take(ttl=60)
    hand.before(60)
    assert queue.claimed(claim.id) == claim
    assert queue.claim() is None
    hand.at_last()
    assert queue.claimed(claim.id) is None
    assert bodies(queue.take().messages) == ['x']


def test_a_lapsed_message_is_free_to_every_call(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x')
    queue.take(ttl=60)
    hand.before(60)
    assert list(queue.walk()) == []
    assert queue.pop() == []
    assert (queue.stats().free, queue.stats().claimed) == (0, 1)
    with pytest.raises(MessageClaimed):
        queue.delete(one)
    hand.at_last()
    assert bodies(queue.walk()) == ['x']
    assert queue.get(one)[0].claim_id is None
    assert queue.list(include_claimed=True).messages[0].claim_id is None
    assert (queue.stats().free, queue.stats().claimed) == (1, 0)
    assert bodies(queue.pop()) == ['x']


def test_a_lapsed_message_returns_to_its_old_place(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', 'b', 'c')
    queue.take(2, ttl=60)
    hand.move(60)
    queue.post('d')
    assert bodies(queue.walk()) == ['a', 'b', 'c', 'd']
    assert bodies(queue.take(1).messages) == ['a']


def test_a_lapsed_message_is_deleted_without_a_claim(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x')
    claim = queue.take(ttl=60)
    hand.before(60)
    with pytest.raises(MessageClaimed):
        queue.delete(one)
    hand.at_last()
    with pytest.raises(InvalidDeletion):
        queue.delete(one, claim.id)
    queue.delete(one)
    assert queue.everything() == []


def test_a_claim_may_delete_to_its_last_moment(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x')
    claim = queue.take(ttl=60)
    hand.before(60)
    queue.delete(one, claim.id)
    assert queue.everything() == []


def test_a_claim_lapses_although_some_of_it_was_deleted(
    queue: Probe, hand: Hand
) -> None:
    one, _ = queue.post('a', 'b')
    claim = queue.take(ttl=60)
    queue.delete(one, claim.id)
    hand.move(60)
    assert bodies(queue.take().messages) == ['b']


def test_lapsed_claims_and_dead_messages_mixed(
    queue: Probe, hand: Hand
) -> None:
    queue.post('dies', ttl=90)
    queue.post('stays', ttl=3600)
    queue.take(ttl=60)
    hand.move(90)
    assert bodies(queue.take().messages) == ['stays']


def test_every_call_goes_by_its_own_now(queue: Probe, hand: Hand) -> None:
    queue.post('x', ttl=60)
    hand.move(60)
    assert queue.everything() == []
    # A caller whose clock is behind; nothing has been removed for good.
    hand.move(-1)
    assert queue.everything() == ['x']
