# SPDX-License-Identifier: Apache-2.0
"""Popping: take and delete in one step."""

from __future__ import annotations

from zaqar.tests.contract.probe import BOB, Hand, Probe, bodies, ids


def test_a_pop_takes_the_oldest_in_order(queue: Probe) -> None:
    posted = queue.post('a', 'b', 'c')
    assert ids(queue.pop(2)) == posted[:2]
    assert ids(queue.pop(2)) == posted[2:]
    assert queue.pop(2) == []


def test_a_popped_message_is_gone(queue: Probe) -> None:
    (one,) = queue.post('a')
    queue.pop()
    assert queue.get(one) == []
    assert queue.everything() == []
    assert queue.stats().total == 0
    assert queue.claim() is None


def test_a_popped_message_is_as_it_was_posted(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', ttl=77, client=BOB, checksum='MD5:0')
    hand.move(7)
    (message,) = queue.pop()
    assert (message.ttl, message.client, message.checksum) == (
        77,
        BOB,
        'MD5:0',
    )
    assert message.created_at == hand.now - 7000
    assert message.claim_id is None


def test_a_pop_skips_claimed_and_delayed_messages(queue: Probe) -> None:
    queue.post('claimed')
    queue.take()
    queue.post('delayed', delay=600)
    queue.post('free')
    assert bodies(queue.pop()) == ['free']
    assert queue.everything() == ['claimed', 'delayed']


def test_a_pop_keeps_the_order_across_lapsed_and_delayed_ones(
    queue: Probe, hand: Hand
) -> None:
    queue.post('lapsed')
    queue.take(ttl=60)
    queue.post('free')
    queue.post('woken', delay=60)
    queue.post('last')
    hand.move(60)
    assert bodies(queue.pop(3)) == ['lapsed', 'free', 'woken']
    assert bodies(queue.pop(3)) == ['last']


def test_a_pop_counts_as_no_claim(queue: Probe) -> None:
    queue.post('a')
    assert queue.pop()[0].claim_count == 0
    queue.post('b')
    queue.release(queue.take(max_claims=1).id)
    # Handed out as often as it may be, and popped all the same.
    (message,) = queue.pop()
    assert (message.claim_count, message.claim_id) == (1, None)


def test_a_pop_of_an_empty_queue_is_empty(queue: Probe) -> None:
    assert queue.pop() == []
