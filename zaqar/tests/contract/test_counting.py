# SPDX-License-Identifier: Apache-2.0
"""Counting claims, and what becomes of exhausted messages."""

from __future__ import annotations

import pytest

from zaqar.tests.contract.probe import Hand, Probe, bodies, ids, token


def test_a_claim_shows_its_terms(queue: Probe, hand: Hand) -> None:
    posted = queue.post('a', 'b')
    name = token()
    claim = queue.take(claim_id=name, ttl=77)
    assert (claim.id, claim.ttl) == (name, 77)
    assert claim.expires_at == hand.now + 77_000
    assert ids(claim.messages) == posted
    assert {one.claim_id for one in claim.messages} == {name}
    assert claim.exhausted == []


def test_repeating_a_claim_counts_once(queue: Probe) -> None:
    queue.post('a', 'b')
    name = token()
    first = queue.take(1, claim_id=name, max_claims=2)
    again = queue.take(1, claim_id=name, max_claims=2)
    assert again == first
    assert again.messages[0].claim_count == 1


def test_repeating_a_claim_tells_the_exhausted_ones_apart(
    queue: Probe,
) -> None:
    queue.post('spent')
    queue.release(queue.take(max_claims=1).id)
    queue.post('fresh')
    name = token()
    first = queue.take(claim_id=name, max_claims=1)
    assert bodies(first.exhausted) == ['spent']
    again = queue.take(claim_id=name, max_claims=1)
    assert bodies(again.messages) == ['fresh']
    assert bodies(again.exhausted) == ['spent']


@pytest.mark.parametrize('most', [9, 0])
def test_each_claim_counts(queue: Probe, most: int) -> None:
    (one,) = queue.post('a')
    for count in (1, 2, 3):
        claim = queue.take(max_claims=most)
        assert claim.messages[0].claim_count == count
        assert queue.claimed(claim.id) == claim
        assert queue.get(one)[0].claim_count == count
        queue.release(claim.id)
        assert queue.list().messages[0].claim_count == count


def test_claims_without_a_maximum_count_for_later_ones(queue: Probe) -> None:
    queue.post('a')
    queue.release(queue.take().id)
    claim = queue.take(max_claims=1)
    assert (claim.messages, bodies(claim.exhausted)) == ([], ['a'])


def test_renewing_releasing_and_lapsing_keep_the_count(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a')
    claim = queue.take(max_claims=9)
    queue.renew(claim.id, ttl=60)
    assert queue.get(claim.messages[0].id)[0].claim_count == 1
    hand.move(60)
    assert queue.list().messages[0].claim_count == 1
    queue.release(queue.take(max_claims=9).id)
    assert queue.list().messages[0].claim_count == 2


def test_a_message_is_handed_out_as_often_as_the_maximum_says(
    queue: Probe,
) -> None:
    queue.post('a')
    for _ in range(2):
        claim = queue.take(max_claims=2)
        assert bodies(claim.messages) == ['a']
        assert claim.exhausted == []
        queue.release(claim.id)
    claim = queue.take(max_claims=2)
    assert claim.messages == []
    assert bodies(claim.exhausted) == ['a']
    assert claim.exhausted[0].claim_count == 2


def test_exhausted_messages_come_on_top_of_the_limit(
    queue: Probe,
) -> None:
    queue.post('spent', 'spent')
    queue.release(queue.take(max_claims=1).id)
    queue.post('a', 'b', 'c')
    claim = queue.take(2, max_claims=1)
    assert bodies(claim.messages) == ['a', 'b']
    assert bodies(claim.exhausted) == ['spent', 'spent']


def wear_out_all_but_one(queue: Probe) -> None:
    """Hand the first message out once, and the others twice."""
    first = queue.take(1)
    for _ in range(2):
        queue.release(queue.take().id)
    queue.release(first.id)


def test_exhausted_messages_behind_the_last_taken_one_are_not_met(
    queue: Probe,
) -> None:
    queue.post('a', 'b', 'c')
    wear_out_all_but_one(queue)
    claim = queue.take(1, max_claims=2)
    assert bodies(claim.messages) == ['a']
    assert claim.exhausted == []
    assert bodies(queue.walk()) == ['b', 'c']


def test_all_exhausted_ones_are_met_when_the_limit_is_not_reached(
    queue: Probe,
) -> None:
    queue.post('a', 'b', 'c')
    wear_out_all_but_one(queue)
    claim = queue.take(2, max_claims=2)
    assert bodies(claim.messages) == ['a']
    assert bodies(claim.exhausted) == ['b', 'c']
    assert list(queue.walk()) == []


def test_one_claim_meets_100_exhausted_ones_at_most(queue: Probe) -> None:
    queue.post(*range(150))
    queue.release(queue.take(150, max_claims=1).id)
    queue.post('fresh')
    claim = queue.take(10, max_claims=1)
    assert bodies(claim.messages) == ['fresh']
    assert bodies(claim.exhausted) == list(range(100))
    rest = queue.take(10, max_claims=1)
    assert bodies(rest.exhausted) == list(range(100, 150))


def test_exhausted_messages_are_held_by_the_claim(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('a')
    queue.release(queue.take(max_claims=1).id)
    claim = queue.take(max_claims=1, ttl=60)
    assert claim.exhausted[0].claim_id == claim.id
    assert queue.get(one)[0].claim_id == claim.id
    assert queue.claim(max_claims=1) is None
    hand.move(60)
    assert bodies(queue.take(max_claims=1).exhausted) == ['a']


def test_exhausted_messages_live_as_long_as_their_claim(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', ttl=120)
    queue.release(queue.take(max_claims=1, ttl=60).id)
    claim = queue.take(max_claims=1, ttl=300, grace=60)
    assert claim.exhausted[0].expires_at == hand.now + 360_000
    hand.before(360)
    assert queue.everything() == ['a']


def test_exhausted_and_fresh_ones_are_told_apart_by_lapsed_claims_too(
    queue: Probe, hand: Hand
) -> None:
    queue.post('spent', 'fresh')
    queue.take(1, max_claims=1, ttl=60)
    hand.move(60)
    claim = queue.take(max_claims=1)
    assert bodies(claim.messages) == ['fresh']
    assert bodies(claim.exhausted) == ['spent']


def test_without_a_maximum_nothing_is_exhausted(queue: Probe) -> None:
    queue.post('a')
    queue.release(queue.take(max_claims=1).id)
    claim = queue.take()
    assert bodies(claim.messages) == ['a']
    assert claim.exhausted == []
