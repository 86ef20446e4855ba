# SPDX-License-Identifier: Apache-2.0
"""Deleting, with and without the claim that holds a message."""

from __future__ import annotations

import pytest

from zaqar.errors import InvalidDeletion, MessageClaimed
from zaqar.tests.contract.probe import Hand, Probe, bodies, ids, token


def test_a_free_message_is_deleted(queue: Probe) -> None:
    one, _ = queue.post('a', 'b')
    queue.delete(one)
    assert queue.everything() == ['b']


def test_a_delayed_message_is_deleted(queue: Probe) -> None:
    (one,) = queue.post('a', delay=600)
    queue.delete(one)
    assert queue.everything() == []


def test_a_free_message_is_in_no_live_claim(queue: Probe) -> None:
    queue.post('claimed')
    claim = queue.take()
    (one,) = queue.post('free')
    with pytest.raises(InvalidDeletion):
        queue.delete(one, claim.id)
    assert queue.everything() == ['claimed', 'free']


@pytest.mark.parametrize('name', ['0' * 32, 'x', '', '\0', 'ä', ' ', 'a' * 99])
def test_a_free_message_is_in_no_claim_that_is_none(
    queue: Probe, name: str
) -> None:
    (one,) = queue.post('a')
    with pytest.raises(InvalidDeletion):
        queue.delete(one, name)
    assert queue.everything() == ['a']


def test_a_claimed_message_needs_its_claim(queue: Probe) -> None:
    (one,) = queue.post('a')
    claim = queue.take()
    with pytest.raises(MessageClaimed):
        queue.delete(one)
    assert queue.everything() == ['a']
    queue.delete(one, claim.id)
    assert queue.everything() == []


def test_another_live_claim_will_not_do(queue: Probe) -> None:
    one, _ = queue.post('a', 'b')
    queue.take(1)
    other = queue.take(1)
    with pytest.raises(MessageClaimed):
        queue.delete(one, other.id)
    assert queue.everything() == ['a', 'b']


@pytest.mark.parametrize('name', ['0' * 32, 'x', '', '\0', 'ä', ' ', 'a' * 99])
def test_a_claimed_message_is_not_deleted_by_what_is_no_claim(
    queue: Probe, name: str
) -> None:
    (one,) = queue.post('a')
    queue.take()
    with pytest.raises(InvalidDeletion):
        queue.delete(one, name)
    assert queue.everything() == ['a']


def test_a_lapsed_claim_deletes_nothing(queue: Probe, hand: Hand) -> None:
    (one,) = queue.post('a')
    old = queue.take(ttl=60)
    hand.move(60)
    with pytest.raises(InvalidDeletion):
        queue.delete(one, old.id)
    new = queue.take(ttl=60)
    with pytest.raises(InvalidDeletion):
        queue.delete(one, old.id)
    queue.delete(one, new.id)


def test_a_released_claim_deletes_nothing(queue: Probe) -> None:
    (one,) = queue.post('a')
    claim = queue.take()
    queue.release(claim.id)
    with pytest.raises(InvalidDeletion):
        queue.delete(one, claim.id)
    assert queue.everything() == ['a']


def test_an_absent_message_is_deleted_whatever_the_claim(
    queue: Probe,
) -> None:
    queue.post('a')
    claim = queue.take()
    for name in (None, claim.id, token(), 'x'):
        queue.delete('0' * 32, name)
    assert queue.everything() == ['a']


def test_a_message_may_be_deleted_twice(queue: Probe) -> None:
    (one,) = queue.post('a')
    claim = queue.take()
    queue.delete(one, claim.id)
    queue.delete(one, claim.id)
    queue.delete(one)


def test_many_are_deleted_whatever_their_state(queue: Probe) -> None:
    (first,) = queue.post('claimed')
    queue.take()
    (second,) = queue.post('delayed', delay=600)
    third, _ = queue.post('free', 'kept')
    queue.delete_many(first, second, third, '0' * 32, third)
    assert queue.everything() == ['kept']


def test_deleting_none_is_fine(queue: Probe) -> None:
    queue.post('a')
    queue.delete_many()
    queue.delete_many('0' * 32, 'x', '')
    assert queue.everything() == ['a']


def test_claims_together_must_hold_what_is_deleted(queue: Probe) -> None:
    posted = queue.post('a', 'b', 'c')
    first, second = queue.take(2), queue.take(1)
    with pytest.raises(MessageClaimed):
        queue.delete_many(*posted, claim_ids=[first.id])
    assert queue.everything() == ['a', 'b', 'c']
    queue.delete_many(*posted, claim_ids=[first.id, second.id])
    assert queue.everything() == []


def test_a_free_message_stops_a_guarded_deletion(queue: Probe) -> None:
    posted = queue.post('a', 'b')
    claim = queue.take(1)
    with pytest.raises(MessageClaimed):
        queue.delete_many(*posted, claim_ids=[claim.id])
    assert queue.everything() == ['a', 'b']
    with pytest.raises(MessageClaimed):
        queue.delete_many(posted[1], claim_ids=[])
    assert queue.everything() == ['a', 'b']


@pytest.mark.parametrize('name', ['0' * 32, 'x', '', '\0', 'ä', ' ', 'a' * 99])
def test_what_is_no_claim_stops_a_guarded_deletion(
    queue: Probe, name: str
) -> None:
    posted = queue.post('a', 'b')
    claim = queue.take()
    with pytest.raises(InvalidDeletion):
        queue.delete_many(*posted, claim_ids=[claim.id, name])
    assert queue.everything() == ['a', 'b']


def test_a_lapsed_claim_stops_a_guarded_deletion(
    queue: Probe, hand: Hand
) -> None:
    posted = queue.post('a')
    claim = queue.take(ttl=60)
    hand.before(60)
    hand.at_last()
    with pytest.raises(InvalidDeletion):
        queue.delete_many(*posted, claim_ids=[claim.id])
    assert queue.everything() == ['a']


def test_absent_messages_do_not_stop_a_guarded_deletion(
    queue: Probe,
) -> None:
    one, two = queue.post('a', 'b')
    claim = queue.take()
    queue.delete(two, claim.id)
    queue.delete_many(one, two, 'x', claim_ids=[claim.id])
    assert queue.everything() == []


def test_a_deletion_leaves_the_others_of_the_claim(queue: Probe) -> None:
    one, two, three = queue.post('a', 'b', 'c')
    claim = queue.take()
    queue.delete_many(one, claim_ids=[claim.id])
    queue.delete(two, claim.id)
    stored = queue.claimed(claim.id)
    assert stored is not None
    assert ids(stored.messages) == [three]
    queue.release(claim.id)
    assert bodies(queue.walk()) == ['c']
