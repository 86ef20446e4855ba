# SPDX-License-Identifier: Apache-2.0
"""Explanations of messages, and guarantees of servers."""

from __future__ import annotations

from zaqar.objects import Act, Message, Settlement
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.store_guarantees import Order
from zaqar.tests.contract.probe import Hand, Probe


def inspected(queue: Probe, message_id: str) -> Message | None:
    """Return the message of an inspection."""
    inspection = queue.store.inspect(queue.qid, message_id, now=queue.hand.now)
    return None if inspection is None else inspection.message


def test_what_is_absent_cannot_be_inspected(queue: Probe, hand: Hand) -> None:
    assert inspected(queue, '0' * 32) is None
    assert inspected(queue, 'no id') is None
    (one,) = queue.post('a', ttl=60)
    assert inspected(queue, one) is not None
    hand.move(60)
    assert inspected(queue, one) is None


def test_a_free_message_is_inspected_as_it_is_read(queue: Probe) -> None:
    (one,) = queue.post('a')
    message = inspected(queue, one)
    assert [message] == queue.get(one)
    assert message is not None
    assert (message.claim_id, message.claim_ends_at) == (None, None)


def test_a_claimed_message_shows_its_claim_and_when_that_ends(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('a')
    claim = queue.take(ttl=60)
    end = hand.now + 60_000
    message = inspected(queue, one)
    assert message is not None
    assert (message.claim_id, message.claim_ends_at) == (claim.id, end)
    assert list(claim.messages) == [message]
    hand.move(30)
    queue.renew(claim.id, ttl=90)
    message = inspected(queue, one)
    assert message is not None
    assert message.claim_ends_at == hand.now + 90_000
    hand.before(90)
    message = inspected(queue, one)
    assert message is not None
    assert message.claim_id == claim.id
    hand.at_last()
    message = inspected(queue, one)
    assert message is not None
    assert (message.claim_id, message.claim_ends_at) == (None, None)


def test_a_released_message_shows_no_end_of_a_claim(queue: Probe) -> None:
    (one,) = queue.post('a')
    queue.release(queue.take().id)
    message = inspected(queue, one)
    assert message is not None
    assert (message.claim_id, message.claim_ends_at) == (None, None)


def test_a_popped_message_shows_no_end_of_a_claim(queue: Probe) -> None:
    queue.post('a')
    (message,) = queue.pop()
    assert (message.claim_id, message.claim_ends_at) == (None, None)


def test_a_delayed_message_shows_when_its_delay_ends(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('a', delay=60)
    message = inspected(queue, one)
    assert message is not None
    assert message.visible_at == hand.now + 60_000
    assert message.claim_ends_at is None


def test_a_dead_letter_is_inspected_by_its_own_id(
    queue: Probe, another: Probe
) -> None:
    (old,) = another.post('letter')
    queue.letter('letter', old)
    message = inspected(queue, old)
    assert message is not None
    assert message.id == old


def test_a_driver_tells_what_its_server_promises(
    queue: Probe, store: MessageStore
) -> None:
    queue.post('a')
    shown = store.guarantees(queue.qid)
    assert shown is not None
    assert shown.order in list(Order)
    assert shown.store
    assert shown.because
    assert all(isinstance(line, str) and line for line in shown.because)
    assert shown == store.guarantees(queue.qid)


def test_each_message_shows_the_end_of_its_own_hold(
    queue: Probe, hand: Hand
) -> None:
    one, two, three = queue.post('a', 'b', 'c')
    claim = queue.take(ttl=60)
    queue.settle(
        claim.id,
        Settlement(one, Act.EXTEND, seconds=600),
        Settlement(two, Act.RELEASE, seconds=90),
    )
    extended, delayed, other = (
        inspected(queue, name) for name in (one, two, three)
    )
    assert extended is not None
    assert delayed is not None
    assert other is not None
    assert extended.claim_ends_at == hand.now + 600_000
    assert other.claim_ends_at == hand.now + 60_000
    assert (delayed.claim_id, delayed.claim_ends_at) == (None, None)
    assert delayed.visible_at == hand.now + 90_000
    assert queue.stats().delayed == 1
    hand.move(60)
    other = inspected(queue, three)
    assert other is not None
    assert other.claim_id is None
    extended = inspected(queue, one)
    assert extended is not None
    assert extended.claim_id == claim.id
