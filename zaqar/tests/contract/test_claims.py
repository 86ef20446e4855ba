# SPDX-License-Identifier: Apache-2.0
"""Claims: what they take, what they hold, how they are renewed and ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zaqar.objects import Act, Settlement
from zaqar.tests.contract.probe import Hand, Probe, bodies, ids, token


def test_a_claim_takes_the_oldest_first(queue: Probe) -> None:
    queue.post('a', 'b', 'c')
    assert bodies(queue.take(2).messages) == ['a', 'b']
    assert bodies(queue.take(2).messages) == ['c']


def test_a_claim_of_nothing_is_none_and_leaves_none(queue: Probe) -> None:
    queue.post('a')
    queue.take()
    name = token()
    assert queue.claim(claim_id=name) is None
    assert queue.claimed(name) is None
    assert not queue.renew(name)


def test_a_claim_found_again_is_as_it_was_made(queue: Probe) -> None:
    queue.post('a', 'b', 'c')
    claim = queue.take(2)
    assert queue.claimed(claim.id) == claim


@pytest.mark.parametrize('name', ['a' * 64, 'A-z_0', '-', '_', '0'])
def test_a_claim_id_is_64_letters_digits_dashes(
    queue: Probe, name: str
) -> None:
    (one,) = queue.post('a')
    assert queue.take(claim_id=name).id == name
    assert queue.renew(name)
    queue.delete(one, name)
    assert queue.everything() == []


def test_claim_ids_differ_by_case(queue: Probe) -> None:
    queue.post('a', 'b')
    queue.take(1, claim_id='Claim')
    queue.take(1, claim_id='claim')
    queue.release('Claim')
    assert bodies(queue.walk()) == ['a']


def test_no_live_claim_gives_its_messages_to_another(queue: Probe) -> None:
    queue.post(*range(4))
    first, second = queue.take(1), queue.take(2)
    queue.release(first.id)
    assert bodies(queue.take().messages) == [0, 3]
    held = queue.claimed(second.id)
    assert held is not None
    assert bodies(held.messages) == [1, 2]


def test_when_a_is_released_while_b_lives_c_gets_only_what_a_had(
    queue: Probe,
) -> None:
    queue.post('a1', 'a2', 'b1', 'b2')
    a, b = queue.take(2), queue.take(2)
    queue.release(a.id)
    c = queue.take()
    assert bodies(c.messages) == ['a1', 'a2']
    assert queue.claim() is None
    assert queue.claimed(b.id) == b


def test_when_a_lapses_while_b_lives_c_gets_only_what_a_had(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a1', 'a2', 'b1', 'b2')
    queue.take(2, ttl=60)
    b = queue.take(2, ttl=600)
    hand.move(60)
    assert bodies(queue.take().messages) == ['a1', 'a2']
    assert queue.claim() is None
    assert queue.claimed(b.id) == b


def test_of_delays_0_and_600_only_the_first_is_claimed(
    queue: Probe,
) -> None:
    queue.post('now', delay=0)
    queue.post('later', delay=600)
    assert bodies(queue.take().messages) == ['now']
    assert queue.claim() is None


def test_behind_9000_expired_messages_a_live_one_is_claimable(
    queue: Probe, hand: Hand, many: Callable[[int], int]
) -> None:
    queue.post(*range(many(5000)), ttl=60)
    queue.post(*range(many(4000)), ttl=60)
    queue.post('live', ttl=3600)
    hand.move(60)
    assert bodies(queue.walk(1)) == ['live']
    assert queue.stats().total == 1
    assert bodies(queue.take(10).messages) == ['live']


def test_behind_9000_claimed_messages_a_free_one_is_claimable(
    queue: Probe,
    many: Callable[[int], int],
) -> None:
    queue.post(*range(many(5000)))
    queue.post(*range(many(4000)))
    queue.take(many(9000))
    queue.post('free')
    assert bodies(queue.walk(1)) == ['free']
    assert bodies(queue.take(10).messages) == ['free']


def test_a_claim_of_300_and_100_on_a_60_s_message_gives_it_400(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x', ttl=60)
    claim = queue.take(ttl=300, grace=100)
    assert claim.messages[0].ttl == 400
    assert claim.messages[0].expires_at == hand.now + 400_000
    hand.before(400)
    (message,) = queue.get(one)
    assert message.ttl == 400
    hand.at_last()
    assert queue.get(one) == []


def test_a_message_that_outlives_the_claim_is_untouched(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x', ttl=300)
    claim = queue.take(ttl=300, grace=100)
    assert claim.messages[0].ttl == 300
    hand.before(300)
    assert queue.get(one)[0].ttl == 300
    hand.at_last()
    assert queue.get(one) == []


def test_a_message_that_dies_a_moment_before_the_claim_lives_on(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x', ttl=300)
    hand.now += 1
    queue.take(ttl=300, grace=100)
    hand.before(400)
    assert ids(queue.get(one)) == [one]
    hand.at_last()
    assert queue.get(one) == []


def test_a_longer_life_is_not_undone_by_a_release(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x', ttl=60)
    queue.release(queue.take(ttl=300, grace=100).id)
    assert queue.get(one)[0].ttl == 400
    hand.before(400)
    assert ids(queue.get(one)) == [one]
    hand.at_last()
    assert queue.get(one) == []


def test_a_claim_shortens_no_life(queue: Probe, hand: Hand) -> None:
    (one,) = queue.post('x', ttl=3600)
    queue.take(ttl=60, grace=60)
    hand.before(3600)
    assert ids(queue.get(one)) == [one]


def test_repeating_a_claim_returns_the_first_one(queue: Probe) -> None:
    queue.post('a', 'b', 'c')
    name = token()
    first = queue.take(2, claim_id=name)
    assert queue.take(2, claim_id=name) == first
    assert bodies(queue.walk()) == ['c']


def test_repeating_a_claim_of_all_there_was_returns_it_too(
    queue: Probe,
) -> None:
    queue.post('a')
    name = token()
    first = queue.take(claim_id=name)
    assert queue.take(claim_id=name) == first


def test_the_id_of_a_dead_claim_can_be_used_again(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', 'b')
    name = token()
    queue.take(1, claim_id=name, ttl=60)
    hand.before(60)
    assert bodies(queue.take(1, claim_id=name).messages) == ['a']
    hand.at_last()
    claim = queue.take(1, claim_id=name, ttl=60)
    assert bodies(claim.messages) == ['a']
    queue.settle(name, Settlement(claim.messages[0].id, Act.DELETE))
    assert bodies(queue.take(1, claim_id=name).messages) == ['b']


def test_a_claim_shows_its_messages_in_posting_order(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', 'b')
    queue.post('c', delay=60)
    queue.post('d')
    first = queue.take(1, ttl=60)
    hand.move(60)
    claim = queue.take()
    assert bodies(claim.messages) == ['a', 'b', 'c', 'd']
    stored = queue.claimed(claim.id)
    assert stored is not None
    assert bodies(stored.messages) == ['a', 'b', 'c', 'd']
    assert queue.claimed(first.id) is None


def test_deleted_messages_leave_the_claim(queue: Probe) -> None:
    one, two = queue.post('a', 'b')
    claim = queue.take()
    queue.delete(one, claim.id)
    stored = queue.claimed(claim.id)
    assert stored is not None
    assert ids(stored.messages) == [two]
    queue.delete_many(two)
    assert queue.claimed(claim.id) is None


def test_a_renewal_lets_the_claim_live_as_if_made_now(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a')
    claim = queue.take(ttl=60)
    hand.before(60)
    assert queue.renew(claim.id, ttl=90)
    renewed = queue.claimed(claim.id)
    assert renewed is not None
    assert (renewed.ttl, renewed.expires_at) == (90, hand.now + 90_000)
    hand.before(90)
    assert queue.claimed(claim.id) is not None
    assert queue.claim() is None
    hand.at_last()
    assert queue.claimed(claim.id) is None
    assert bodies(queue.take().messages) == ['a']


def test_a_renewal_may_shorten_the_claim(queue: Probe, hand: Hand) -> None:
    queue.post('a')
    claim = queue.take(ttl=600)
    assert queue.renew(claim.id, ttl=60)
    hand.before(60)
    assert queue.claim() is None
    hand.at_last()
    assert bodies(queue.take().messages) == ['a']


def test_a_renewal_raises_lifetimes_as_a_claim_does(
    queue: Probe, hand: Hand
) -> None:
    one, two = queue.post('short', 'long', ttl=500)
    claim = queue.take(ttl=300, grace=60)
    hand.move(250)
    assert queue.renew(claim.id, ttl=300, grace=100)
    assert [item.ttl for item in queue.get(one, two)] == [400, 400]
    hand.before(400)
    assert ids(queue.get(one, two)) == [one, two]
    hand.at_last()
    assert queue.get(one, two) == []


def test_a_renewal_leaves_lives_that_are_long_enough(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x', ttl=600)
    claim = queue.take(ttl=300)
    hand.move(300 - 1)
    assert queue.renew(claim.id, ttl=301)
    assert queue.get(one)[0].ttl == 600


def test_a_renewal_at_the_same_moment_with_the_same_terms_is_one(
    queue: Probe,
) -> None:
    queue.post('a')
    claim = queue.take()
    assert queue.renew(claim.id)
    assert queue.renew(claim.id)


def test_a_renewal_reaches_only_its_own_claim(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', 'b')
    first, second = queue.take(1, ttl=60), queue.take(1, ttl=60)
    hand.move(30)
    queue.renew(first.id, ttl=60)
    hand.move(30)
    assert queue.claimed(second.id) is None
    assert bodies(queue.take().messages) == ['b']


def test_neither_a_lapsed_nor_an_unknown_claim_is_renewed(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a')
    claim = queue.take(ttl=60)
    assert not queue.renew(token())
    hand.move(60)
    assert not queue.renew(claim.id)
    assert bodies(queue.take().messages) == ['a']


def test_a_released_claim_is_not_renewed(queue: Probe) -> None:
    queue.post('a')
    claim = queue.take()
    queue.release(claim.id)
    assert not queue.renew(claim.id)
    assert bodies(queue.walk()) == ['a']


def test_a_lapsed_claim_takes_nothing_back_from_the_next(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a')
    old = queue.take(ttl=60)
    hand.move(60)
    new = queue.take(ttl=60)
    assert not queue.renew(old.id)
    queue.release(old.id)
    assert queue.claimed(new.id) == new
    assert queue.claim() is None


def test_a_release_frees_at_once_and_in_the_old_place(
    queue: Probe,
) -> None:
    queue.post('a', 'b')
    claim = queue.take(1)
    queue.post('c')
    queue.release(claim.id)
    assert bodies(queue.walk()) == ['a', 'b', 'c']
    assert queue.claimed(claim.id) is None
    assert bodies(queue.take(1).messages) == ['a']


def test_a_release_of_what_is_no_claim_is_fine(
    queue: Probe, hand: Hand
) -> None:
    queue.release(token())
    queue.post('a')
    claim = queue.take(ttl=60)
    queue.release(claim.id)
    queue.release(claim.id)
    again = queue.take(ttl=60)
    hand.move(60)
    queue.release(again.id)
    assert bodies(queue.walk()) == ['a']
