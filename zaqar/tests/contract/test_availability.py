# SPDX-License-Identifier: Apache-2.0
"""Availability: what queues offer to those that wait for messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.store_watch_interface import (
    MAX_FREE,
    MAX_LOOKED_AT,
    Availability,
)
from zaqar.tests.contract.harnesses import Feature
from zaqar.tests.contract.probe import Hand, Probe, message, token


def free(queue: Probe) -> int:
    """Return how many messages seem to be free."""
    return queue.availability().free


def due_in(queue: Probe) -> float | None:
    """Return the seconds until a claim or delay ends."""
    due = queue.availability().due
    return None if due is None else (due - queue.hand.now) / 1000


def test_a_queue_never_seen_offers_nothing(queue: Probe) -> None:
    assert queue.availability() == Availability(0, 0, None)


def test_no_queues_offer_nothing(store: MessageStore, hand: Hand) -> None:
    assert list(store.availability([], now=hand.now)) == []


def test_free_messages_are_counted(queue: Probe) -> None:
    queue.post('a', 'b')
    queue.post('c')
    assert free(queue) == 3


def test_free_messages_are_counted_up_to_a_limit(queue: Probe) -> None:
    queue.post(*range(MAX_FREE - 1))
    assert free(queue) == MAX_FREE - 1
    queue.post('a')
    assert free(queue) == MAX_FREE
    queue.post('b')
    assert free(queue) == MAX_FREE


def test_lapsed_messages_count_towards_the_same_limit(
    queue: Probe, hand: Hand
) -> None:
    queue.post(*range(MAX_FREE), delay=60)
    queue.post(*range(MAX_FREE // 2))
    assert free(queue) == MAX_FREE // 2
    hand.move(60)
    assert free(queue) == MAX_FREE


def test_claimed_messages_are_not_free(queue: Probe) -> None:
    queue.post(*range(5))
    claim = queue.take(3)
    assert free(queue) == 2
    queue.release(claim.id)
    assert free(queue) == 5


def test_a_message_is_free_at_the_end_of_its_claim(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', 'b')
    queue.take(1, ttl=60)
    assert (free(queue), due_in(queue)) == (1, 60)
    hand.before(60)
    assert free(queue) == 1
    assert due_in(queue) == 0.001
    hand.at_last()
    assert (free(queue), due_in(queue)) == (2, None)


def test_a_message_is_free_at_the_end_of_its_delay(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', delay=60)
    assert (free(queue), due_in(queue)) == (0, 60)
    hand.before(60)
    assert (free(queue), due_in(queue)) == (0, 0.001)
    hand.at_last()
    assert (free(queue), due_in(queue)) == (1, None)


def test_the_first_claim_or_delay_to_end_is_due(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a', 'b')
    queue.post('c', delay=90)
    queue.take(1, ttl=120)
    assert due_in(queue) == 90
    queue.take(1, ttl=60)
    assert due_in(queue) == 60
    hand.move(60)
    assert due_in(queue) == 30
    hand.move(30)
    assert due_in(queue) == 30
    hand.move(30)
    assert due_in(queue) is None


def test_a_renewed_claim_is_due_later(queue: Probe, hand: Hand) -> None:
    queue.post('a')
    claim = queue.take(ttl=60)
    hand.move(30)
    queue.renew(claim.id, ttl=60)
    assert due_in(queue) == 60


def test_a_released_claim_is_not_due(queue: Probe) -> None:
    queue.post('a')
    claim = queue.take(ttl=60)
    queue.release(claim.id)
    assert (free(queue), due_in(queue)) == (1, None)


def test_nothing_is_due_once_claimed_messages_are_deleted(
    queue: Probe,
) -> None:
    (one,) = queue.post('a')
    claim = queue.take(ttl=60)
    queue.delete(one, claim.id)
    assert (free(queue), due_in(queue)) == (0, None)


def test_expired_messages_are_not_free(queue: Probe, hand: Hand) -> None:
    queue.post('a', ttl=60)
    queue.post('b', ttl=3600)
    hand.before(60)
    assert free(queue) == 2
    hand.at_last()
    assert free(queue) == 1


def test_messages_before_the_free_ones_do_not_hide_them(
    queue: Probe, many: Callable[[int], int]
) -> None:
    queue.post(*range(many(300)))
    queue.post('free')
    for _ in range(many(300) // 20):
        queue.take(20, ttl=600)
    assert free(queue) == 1


def test_the_end_differs_after_every_post(queue: Probe) -> None:
    ends = [queue.availability().end]
    for body in 'abc':
        queue.post(body)
        ends.append(queue.availability().end)
    queue.post('delayed', delay=60)
    ends.append(queue.availability().end)
    queue.post('d', 'e')
    ends.append(queue.availability().end)
    assert len({*ends}) == len(ends)


def test_the_end_does_not_change_without_a_post(
    queue: Probe, hand: Hand
) -> None:
    name = token()
    queue.post(*range(5), token=name)
    end = queue.availability().end
    queue.post(*range(5), token=name)
    claim = queue.take(2)
    queue.pop(1)
    queue.release(claim.id)
    hand.move(3600)
    assert queue.availability().end == end


def test_a_post_after_a_purge_changes_the_end(queue: Probe) -> None:
    queue.post('a')
    end = queue.availability().end
    queue.purge()
    assert free(queue) == 0
    queue.post('b')
    assert free(queue) == 1
    assert queue.availability().end != end


def test_a_purge_leaves_nothing_due(queue: Probe) -> None:
    queue.post('a')
    queue.post('b', delay=60)
    queue.take(1)
    queue.purge()
    assert (free(queue), due_in(queue)) == (0, None)


def test_a_dropped_queue_offers_nothing(queue: Probe) -> None:
    queue.post('a')
    queue.post('b', delay=60)
    queue.drop()
    assert queue.availability() == Availability(0, 0, None)


def test_many_queues_are_looked_at_in_one_call(
    store: MessageStore, hand: Hand
) -> None:
    queues = [Probe(store, hand) for _ in range(7)]
    for number, queue in enumerate(queues):
        queue.post('claimed')
        queue.take(1, ttl=60 + number)
        if number:
            queue.post(*range(number))
    names = [queue.qid for queue in queues]
    unknown = [token() for _ in range(MAX_LOOKED_AT - len(names))]
    offers = store.availability(
        [*unknown[:3], *reversed(names), *unknown[3:]], now=hand.now
    )
    assert [offer.free for offer in offers] == [
        *[0] * 3,
        *reversed(range(7)),
        *[0] * (len(unknown) - 3),
    ]
    dues = [offer.due for offer in offers if offer.due is not None]
    assert dues == [
        hand.now + (60 + number) * 1000 for number in reversed(range(7))
    ]


def test_another_process_sees_the_same(
    queue: Probe, beside: MessageStore
) -> None:
    queue.post('a', 'b')
    queue.take(1)
    (offer,) = beside.availability([queue.qid], now=queue.hand.now)
    assert offer == queue.availability()


@pytest.mark.needs(Feature.GROUPS)
def test_a_queue_tells_that_it_has_groups(queue: Probe) -> None:
    queue.post('a')
    assert not queue.availability().grouped
    queue.send([message('b', group='g')])
    assert queue.availability().grouped
