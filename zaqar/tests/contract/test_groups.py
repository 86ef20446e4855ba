# SPDX-License-Identifier: Apache-2.0
"""Groups: lanes of order within a queue."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import pytest
from msgspec import structs

from zaqar.controllers.caller_and_services import Context
from zaqar.errors import InvalidRequest, MessageClaimed
from zaqar.microversion_constants import V2_1
from zaqar.objects import Act, Message, NewMessage, Settlement
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import MessageStore
from zaqar.tests.contract.caller import Caller
from zaqar.tests.contract.harnesses import Feature
from zaqar.tests.contract.probe import (
    Hand,
    Probe,
    bodies,
    ids,
    message,
    token,
)

pytestmark = pytest.mark.needs(Feature.GROUPS)

#: A queue's messages: of which group, and which.
Post = tuple[str | None, int]


def post(queue: Probe, *messages: Post, **fields: int) -> Sequence[str]:
    """Post messages, each with its group."""
    return queue.send(
        [message(body, group=group, **fields) for group, body in messages]
    )


def take(queue: Probe, limit: int = 100) -> list[int]:
    """Claim messages for five minutes; return what they say."""
    claim = queue.claim(limit)
    return bodies(claim.messages) if claim else []


def test_a_claim_takes_consecutive_messages_of_a_group(queue: Probe) -> None:
    post(queue, *(('a', number) for number in range(6)))
    claim = queue.take(4)
    assert bodies(claim.messages) == [0, 1, 2, 3]
    assert [one.group for one in claim.messages] == ['a'] * 4
    assert queue.claim() is None
    assert queue.pop() == []


def test_a_claim_takes_the_oldest_of_all(queue: Probe) -> None:
    post(queue, ('a', 0), (None, 1), ('b', 2), ('a', 3), (None, 4), ('b', 5))
    assert take(queue, 4) == [0, 1, 2, 3]
    # Of a group that is busy nothing is taken.
    assert take(queue) == [4]
    assert take(queue) == []


def test_messages_of_busy_groups_may_lie_between(queue: Probe) -> None:
    post(
        queue,
        *(('a' if one % 10 else f'b{one % 3}', one) for one in range(100)),
    )
    assert take(queue, 1) == [0]
    assert take(queue, 1) == [1]
    assert take(queue, 4) == [10, 20, 40, 50]
    assert take(queue) == []


def test_a_group_that_was_not_needed_stays_free(queue: Probe) -> None:
    post(queue, ('a', 0), ('a', 1), ('b', 2))
    assert take(queue, 2) == [0, 1]
    assert take(queue, 2) == [2]


def test_messages_without_group_are_as_ever(queue: Probe, hand: Hand) -> None:
    post(queue, ('a', 0), (None, 1), (None, 2))
    assert take(queue, 2) == [0, 1]
    assert bodies(queue.pop(1)) == [2]
    hand.move(300)
    assert take(queue) == [0, 1]


def test_a_released_group_goes_on_from_its_place(queue: Probe) -> None:
    post(queue, ('a', 0), ('a', 1), ('b', 2))
    claim = queue.take(1)
    queue.release(claim.id)
    assert take(queue, 2) == [0, 1]


def test_a_lapsed_group_goes_on_from_its_place(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), ('a', 1), ('a', 2))
    assert take(queue, 2) == [0, 1]
    hand.before(300)
    assert take(queue) == []
    hand.at_last()
    assert take(queue) == [0, 1, 2]


def test_a_group_is_busy_while_one_of_its_messages_is_held(
    queue: Probe,
) -> None:
    post(queue, ('a', 0), ('a', 1), ('a', 2), ('b', 3))
    claim = queue.take(2)
    queue.delete(claim.messages[0].id, claim.id)
    assert take(queue, 1) == [3]
    assert take(queue) == []
    queue.delete(claim.messages[1].id, claim.id)
    assert take(queue) == [2]


def test_a_deletion_of_any_of_those_held_frees_no_group(queue: Probe) -> None:
    post(queue, ('a', 0), ('a', 1), ('a', 2))
    claim = queue.take(2)
    queue.delete_many(claim.messages[1].id, claim_ids=[claim.id])
    assert take(queue) == []
    queue.delete_many(claim.messages[0].id)
    assert take(queue) == [2]


def test_a_renewed_claim_keeps_its_groups_busy(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), ('a', 1))
    claim = queue.take(1)
    hand.move(200)
    assert queue.renew(claim.id)
    hand.before(300)
    assert take(queue) == []
    hand.at_last()
    assert take(queue) == [0, 1]


def test_a_group_is_busy_while_a_released_message_waits(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), ('a', 1), ('a', 2), ('b', 3))
    claim = queue.take(2)
    first, second = claim.messages
    settled = queue.settle(
        claim.id,
        Settlement(first.id, Act.RELEASE, 60, failed=False),
        Settlement(second.id, Act.DELETE),
    )
    assert settled == [True, True]
    assert take(queue) == [3]
    assert queue.pop() == []
    hand.before(60)
    assert take(queue) == []
    hand.at_last()
    assert take(queue) == [0, 2]


def test_a_delay_counts_though_others_are_free(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), ('a', 1), ('a', 2))
    claim = queue.take(2)
    first, second = claim.messages
    queue.settle(
        claim.id,
        Settlement(first.id, Act.RELEASE),
        Settlement(second.id, Act.RELEASE, 60),
    )
    # Nor does the deletion of a free one shorten it.
    queue.delete(first.id)
    assert take(queue) == []
    hand.move(60)
    assert take(queue) == [1, 2]


def test_a_group_is_busy_until_the_last_hold_ends(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), ('a', 1), ('a', 2))
    claim = queue.take(2, ttl=60)
    queue.settle(claim.id, Settlement(claim.messages[1].id, Act.EXTEND, 120))
    hand.move(60)
    assert take(queue) == []
    hand.before(60)
    assert take(queue) == []
    hand.at_last()
    assert take(queue) == [0, 1, 2]


def test_settling_all_of_a_group_frees_it(queue: Probe) -> None:
    post(queue, ('a', 0), ('b', 1), ('a', 2), ('b', 3))
    claim = queue.take(2)
    first, second = claim.messages
    queue.settle(claim.id, Settlement(first.id, Act.DELETE))
    assert take(queue) == [2]
    queue.settle(claim.id, Settlement(second.id, Act.RELEASE, reason='no'))
    again = queue.take()
    assert bodies(again.messages) == [1, 3]
    assert again.messages[0].reason == 'no'


def test_a_claim_of_several_groups_frees_each_by_itself(queue: Probe) -> None:
    post(queue, ('a', 0), ('b', 1), ('a', 2), ('b', 3))
    claim = queue.take(2)
    queue.delete(claim.messages[1].id, claim.id)
    assert take(queue) == [3]
    queue.release(claim.id)
    assert take(queue) == [0, 2]


def test_a_pop_takes_no_message_of_a_busy_group(queue: Probe) -> None:
    post(queue, ('a', 0), ('b', 1), ('a', 2), ('b', 3))
    assert take(queue, 1) == [0]
    assert bodies(queue.pop(1)) == [1]
    assert bodies(queue.pop()) == [3]
    assert queue.everything() == [0, 2]


def test_a_group_is_free_after_a_pop(queue: Probe) -> None:
    post(queue, ('a', 0), ('a', 1), ('a', 2))
    popped = queue.pop(1)
    assert bodies(popped) == [0]
    assert popped[0].group == 'a'
    assert take(queue) == [1, 2]


def test_free_messages_can_be_deleted_out_of_a_group(queue: Probe) -> None:
    names = post(queue, *(('a', number) for number in range(5)))
    queue.delete(names[0])
    queue.delete_many(names[2], names[4])
    assert take(queue) == [1, 3]


def test_held_messages_of_a_group_need_their_claim(queue: Probe) -> None:
    names = post(queue, ('a', 0), ('a', 1))
    queue.take(1)
    with pytest.raises(MessageClaimed):
        queue.delete(names[0])
    queue.delete(names[1])
    assert queue.everything() == [0]


def test_a_group_can_come_again(queue: Probe) -> None:
    for number in range(3):
        post(queue, ('a', number))
        claim = queue.take()
        queue.delete(claim.messages[0].id, claim.id)
        assert queue.everything() == []
    post(queue, ('a', 3), ('a', 4))
    assert bodies(queue.pop(1)) == [3]
    assert take(queue) == [4]


def test_expired_messages_are_passed_over(queue: Probe, hand: Hand) -> None:
    post(queue, ('a', 0), ('b', 1), ttl=60)
    post(queue, ('a', 2), ('c', 3), ttl=600)
    hand.move(60)
    assert take(queue, 2) == [2, 3]


def test_expired_messages_are_swept_with_their_groups(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), ('b', 1), ttl=60)
    post(queue, ('a', 2), ttl=600)
    hand.move(60)
    queue.sweep()
    assert take(queue) == [2]
    hand.move(1000)
    queue.sweep()
    post(queue, ('b', 3), ('a', 4))
    assert take(queue) == [3, 4]


def test_groups_go_on_when_expired_messages_are_removed_to_count(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), ttl=60)
    post(queue, ('a', 1), ttl=600)
    hand.move(60)
    queue.store.held_bytes([queue.qid], now=hand.now)
    assert take(queue) == [1]


def test_a_group_goes_on_when_one_expires_that_waits(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), ttl=60)
    post(queue, ('a', 1), ttl=600)
    claim = queue.take(1, ttl=10, grace=0)
    queue.settle(claim.id, Settlement(claim.messages[0].id, Act.RELEASE, 300))
    hand.before(60)
    assert take(queue) == []
    hand.at_last()
    assert take(queue) == [1]


def test_lapsed_messages_of_busy_groups_hide_no_others(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), ('a', 1), ('a', 2), (None, 3))
    claim = queue.take(ttl=10)
    last = claim.messages[2]
    queue.settle(claim.id, Settlement(last.id, Act.EXTEND, 100))
    hand.move(10)
    assert take(queue, 1) == [3]
    assert take(queue) == []


def test_a_claim_prolongs_messages_of_a_group(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), ('a', 1), ttl=60)
    queue.take(1, ttl=300, grace=60)
    hand.move(310)
    queue.sweep()
    assert take(queue) == [0]


def test_a_queues_delay_holds_for_groups_too(queue: Probe, hand: Hand) -> None:
    post(queue, ('a', 0), ('b', 1), delay=60)
    hand.move(10)
    post(queue, ('a', 2), delay=60)
    assert take(queue) == []
    assert queue.list().messages == []
    shown = queue.list(include_delayed=True).messages
    assert bodies(shown) == [0, 1, 2]
    assert shown[2].visible_at == hand.now + 60_000
    hand.before(50)
    assert take(queue) == []
    hand.at_last()
    claim = queue.take()
    assert bodies(claim.messages) == [0, 1]
    for one in claim.messages:
        queue.delete(one.id, claim.id)
    assert take(queue) == []
    hand.move(10)
    assert take(queue) == [2]


def test_a_shorter_delay_lets_nothing_overtake(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0), delay=60)
    post(queue, ('a', 1), ('b', 2))
    assert take(queue) == [2]
    hand.move(60)
    assert take(queue) == [0, 1]


def test_delayed_messages_end_what_is_taken_of_a_group(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0))
    post(queue, ('a', 1), delay=60)
    post(queue, ('a', 2), ('b', 3))
    assert take(queue) == [0, 3]
    hand.move(300)
    assert take(queue) == [0, 1, 2, 3]


def test_exhausted_messages_leave_their_group(queue: Probe) -> None:
    post(queue, ('a', 0), ('a', 1), ('b', 2))
    claim = queue.take(1, max_claims=1)
    queue.release(claim.id)
    claim = queue.take(1, max_claims=1)
    assert (bodies(claim.messages), bodies(claim.exhausted)) == ([1], [0])
    queue.delete(claim.exhausted[0].id, claim.id)
    assert take(queue) == [2]
    queue.delete(claim.messages[0].id, claim.id)
    assert queue.everything() == [2]


def test_a_group_of_exhausted_messages_is_held_and_goes_on(
    queue: Probe,
) -> None:
    post(queue, ('a', 0))
    queue.release(queue.take(1, max_claims=1).id)
    post(queue, ('a', 1))
    claim = queue.take(5, max_claims=1)
    assert (bodies(claim.messages), bodies(claim.exhausted)) == ([1], [0])
    queue.delete_many(*ids(claim.exhausted), claim_ids=[claim.id])
    assert take(queue) == []
    queue.release(claim.id)
    claim = queue.take(5, max_claims=1)
    assert (bodies(claim.messages), bodies(claim.exhausted)) == ([], [1])


def test_a_repeated_claim_takes_nothing_more(queue: Probe) -> None:
    post(queue, ('a', 0), ('a', 1), ('b', 2))
    name = token()
    first = queue.take(2, claim_id=name)
    assert queue.take(2, claim_id=name) == first
    assert take(queue) == [2]
    assert queue.take(2, claim_id=name) == first


def test_a_repeated_post_stores_nothing_more(queue: Probe) -> None:
    posts = [message(number, group='a') for number in range(2)]
    name = token()
    first = queue.send(posts, token=name)
    assert list(queue.send(posts, token=name)) == list(first)
    assert take(queue) == [0, 1]


def test_lists_and_counts_know_no_groups(queue: Probe) -> None:
    post(queue, ('a', 0), (None, 1), ('a', 2), ('b', 3))
    queue.take(1)
    assert bodies(queue.walk(limit=2)) == [1, 2, 3]
    assert bodies(queue.walk(1, include_claimed=True)) == [0, 1, 2, 3]
    stats = queue.stats()
    assert (stats.free, stats.claimed) == (3, 1)
    page = queue.list(1)
    assert bodies(queue.walk(marker=page.resume)) == [2, 3]


def test_what_waits_for_its_group_is_counted_and_explained(
    queue: Probe, hand: Hand
) -> None:
    start = hand.now
    names = post(queue, ('a', 0), ('a', 1), ('a', 2))
    hand.move(1)
    post(queue, ('b', 3), ('b', 4))
    post(queue, ('c', 5), delay=900)
    stats = queue.stats()
    assert (stats.free, stats.delayed, stats.held_by_groups) == (6, 1, 0)
    assert stats.oldest_free_at == start
    claim = queue.take(1)
    stats = queue.stats()
    assert (stats.free, stats.claimed) == (5, 1)
    assert (stats.delayed, stats.held_by_groups) == (1, 2)
    assert stats.oldest_free_at == start + 1000
    held = queue.store.inspect(queue.qid, names[0], now=hand.now)
    assert held is not None
    assert held.group_busy_until is None
    behind = queue.store.inspect(queue.qid, names[1], now=hand.now)
    assert behind is not None
    assert behind.group_busy_until == claim.expires_at
    queue.release(claim.id)
    behind = queue.store.inspect(queue.qid, names[1], now=hand.now)
    assert behind is not None
    assert behind.group_busy_until is None


def test_a_purge_forgets_groups(queue: Probe, hand: Hand) -> None:
    post(queue, ('a', 0), ('a', 1))
    queue.take(1)
    queue.purge()
    queue.sweep()
    assert take(queue) == []
    post(queue, ('a', 2), ('a', 3))
    assert take(queue) == [2, 3]


def test_those_who_wait_learn_of_free_groups(queue: Probe, hand: Hand) -> None:
    start = hand.now
    post(queue, ('a', 0), ('a', 1), ('b', 2), (None, 3))
    assert queue.availability().free >= 3
    claim = queue.take(1)
    offer = queue.availability()
    assert offer.free == 2
    assert offer.due == start + 300_000
    queue.delete(claim.messages[0].id, claim.id)
    offer = queue.availability()
    assert (offer.free, offer.due) == (3, None)
    queue.take(4)
    assert queue.availability().free == 0
    hand.move(300)
    assert queue.availability().free >= 3


def test_those_who_wait_learn_of_delays_in_groups(
    queue: Probe, hand: Hand
) -> None:
    start = hand.now
    post(queue, ('a', 0), ('a', 1), delay=60)
    offer = queue.availability()
    assert (offer.free, offer.due) == (0, start + 60_000)
    hand.move(60)
    assert queue.availability().free >= 1


def test_limits_count_messages_of_groups(queue: Probe, hand: Hand) -> None:
    def send(body: int, ttl: int = 3600) -> None:
        queue.send([message(body, group='a', ttl=ttl)], limit=2)

    send(0, ttl=60)
    send(1)
    hand.move(60)
    send(2)
    claim = queue.take(1)
    assert bodies(claim.messages) == [1]
    queue.delete(claim.messages[0].id, claim.id)
    send(3)
    assert take(queue) == [2, 3]


def test_another_process_learns_that_a_queue_has_groups(
    queue: Probe, four: Sequence[MessageStore], hand: Hand
) -> None:
    one, two = (Probe(store, hand, queue.qid) for store in four[:2])
    one.post(0)
    # Both know the queue without groups.
    assert take(one, 1) == [0]
    assert take(two) == []
    post(one, ('a', 1), ('a', 2), (None, 3), ('a', 4))
    claim = two.take(1)
    assert bodies(claim.messages) == [1]
    assert take(one) == [3]
    one.release(claim.id)
    assert bodies(two.pop(1)) == [1]
    claim = one.take(1)
    two.delete(claim.messages[0].id, claim.id)
    assert take(two) == [4]


def test_dead_letters_leave_their_group(queue: Probe) -> None:
    post(queue, ('a', 0))
    (one,) = queue.take().messages
    letter: NewMessage = one.to_post(queue.hand.now)
    assert letter.group is None
    message: Message = one
    assert message.group == 'a'


def test_ids_of_groups_are_compared_byte_by_byte(queue: Probe) -> None:
    names = ['a', 'A', 'a~', '!' * 128, '%_', '\'\\"']
    post(queue, *((name, at) for at, name in enumerate(names)))
    post(queue, *((name, at + 10) for at, name in enumerate(names)))
    claim = queue.take(len(names))
    assert [one.group for one in claim.messages] == names
    assert take(queue) == []
    queue.delete(claim.messages[1].id, claim.id)
    assert take(queue) == [11]


def test_a_claim_of_more_groups_than_one_query_takes(queue: Probe) -> None:
    count = 250
    post(queue, *((secrets.token_hex(4), number) for number in range(count)))
    assert take(queue, count) == list(range(count))


def test_messages_with_a_group_are_refused_where_claims_ignore_it(
    ctx: Context, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(catalogue.messages), 'has_groups', False)
    ctx = structs.replace(ctx, version=V2_1)
    caller = Caller(ctx, 'q')

    with pytest.raises(InvalidRequest, match='group'):
        caller.post(1, group='a')
    # An invalid post changes nothing.
    assert catalogue.read(caller.scope) is None
    # A post would leave a notice to other tests.
    catalogue.ensure(caller.scope)
    with pytest.raises(InvalidRequest, match='group'):
        caller.post(1, group='a')


def test_what_waits_for_a_busy_group_is_not_the_oldest_free(
    queue: Probe, hand: Hand
) -> None:
    post(queue, *(('a', number) for number in range(3)))
    queue.take(ttl=10)
    hand.move(10)
    assert take(queue, 1) == [0]
    stats = queue.stats()
    assert (stats.free, stats.held_by_groups) == (2, 2)
    assert stats.oldest_free_at is None


def test_what_has_expired_in_a_group_is_not_counted(
    queue: Probe, hand: Hand
) -> None:
    post(queue, ('a', 0))
    post(queue, ('a', 1), ('b', 2), ttl=60)
    hand.move(30)
    later = hand.now
    post(queue, ('a', 3), ('b', 4))
    assert take(queue, 1) == [0]
    hand.move(30)
    stats = queue.stats()
    assert (stats.free, stats.held_by_groups) == (2, 1)
    assert stats.oldest_free_at == later
