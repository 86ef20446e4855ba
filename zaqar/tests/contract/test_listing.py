# SPDX-License-Identifier: Apache-2.0
"""Listing and looking up: which state is seen by which call."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zaqar.storage.abstract_stores import SCAN_LIMIT
from zaqar.tests.contract.probe import ALICE, BOB, Hand, Probe, bodies, ids

#: include_claimed, include_delayed and what is seen then.
VIEWS = [
    (False, False, ['free', 'free too']),
    (True, False, ['claimed', 'free', 'free too']),
    (False, True, ['free', 'delayed', 'free too']),
    (True, True, ['claimed', 'free', 'delayed', 'free too']),
]


@pytest.fixture
def mixed(queue: Probe) -> Probe:
    """A queue with messages in every state."""
    queue.post('claimed')
    queue.take(ttl=60)
    queue.post('free')
    queue.post('delayed', delay=60)
    queue.post('free too')
    return queue


@pytest.mark.parametrize(('claimed', 'delayed', 'seen'), VIEWS)
def test_a_list_shows_the_states_it_was_asked_for(
    mixed: Probe, claimed: bool, delayed: bool, seen: list[str]
) -> None:
    page = mixed.list(include_claimed=claimed, include_delayed=delayed)
    assert bodies(page.messages) == seen


@pytest.mark.parametrize(('claimed', 'delayed', '_'), VIEWS)
def test_lapsed_and_woken_ones_are_shown_in_every_view(
    mixed: Probe, hand: Hand, claimed: bool, delayed: bool, _: list[str]
) -> None:
    hand.move(60)
    page = mixed.list(include_claimed=claimed, include_delayed=delayed)
    assert bodies(page.messages) == VIEWS[-1][2]


@pytest.mark.parametrize(('claimed', 'delayed', 'seen'), VIEWS)
@pytest.mark.parametrize('limit', [1, 2, 3])
def test_pages_of_any_size_show_the_same(
    mixed: Probe, claimed: bool, delayed: bool, seen: list[str], limit: int
) -> None:
    walk = mixed.walk(limit, include_claimed=claimed, include_delayed=delayed)
    assert bodies(walk) == seen


def test_the_states_of_a_listed_message_are_shown(mixed: Probe) -> None:
    page = mixed.list(include_claimed=True, include_delayed=True)
    holders = [message.claim_id is not None for message in page.messages]
    assert holders == [True, False, False, False]


def test_a_client_may_be_left_out(queue: Probe) -> None:
    queue.post('a', client=ALICE)
    queue.post('b', client=BOB)
    queue.post('c', client=ALICE)
    assert bodies(queue.list(exclude_client=ALICE).messages) == ['b']
    assert bodies(queue.list(exclude_client=BOB).messages) == ['a', 'c']
    assert bodies(queue.list(exclude_client='x').messages) == ['a', 'b', 'c']


def test_clients_differ_by_case_and_blanks(queue: Probe) -> None:
    queue.post('x', client='client-one')
    for other in ('Client-one', 'client-one ', 'client-ön', 'client-on_'):
        assert bodies(queue.list(exclude_client=other).messages) == ['x']
    assert list(queue.walk(exclude_client='client-one')) == []


def test_leaving_out_a_client_touches_neither_get_nor_claim_nor_pop(
    queue: Probe,
) -> None:
    posted = queue.post('a', 'b', client=ALICE)
    assert list(queue.walk(exclude_client=ALICE)) == []
    assert ids(queue.get(*posted)) == posted
    assert ids(queue.take(1).messages) == posted[:1]
    assert ids(queue.pop()) == posted[1:]


@pytest.mark.parametrize('limit', [1, 3, 10])
def test_a_left_out_client_hides_nobody_behind_it(
    queue: Probe, many: Callable[[int], int], limit: int
) -> None:
    queue.post('first', client=BOB)
    queue.post(*range(many(2500)), client=ALICE)
    queue.post('second', 'third', client=BOB)
    walk = queue.walk(limit, exclude_client=ALICE)
    assert bodies(walk) == ['first', 'second', 'third']


def test_many_of_a_left_out_client_hide_no_free_one_before_a_delayed_one(
    queue: Probe,
) -> None:
    queue.post(*range(SCAN_LIMIT), client=ALICE)
    queue.post('free', client=BOB)
    queue.post('delayed', client=BOB, delay=600)
    walk = queue.walk(1, exclude_client=ALICE, include_delayed=True)
    assert bodies(walk) == ['free', 'delayed']


def test_many_of_a_left_out_client_hide_no_free_one_before_a_lapsed_one(
    queue: Probe, hand: Hand
) -> None:
    queue.post('lapsed', client=BOB)
    queue.post(*range(SCAN_LIMIT), client=ALICE)
    queue.post('free', client=BOB)
    queue.post('woken', client=BOB, delay=60)
    queue.take(1, ttl=60)
    hand.move(60)
    walk = queue.walk(1, exclude_client=ALICE)
    assert bodies(walk) == ['lapsed', 'free', 'woken']


def test_a_look_up_sees_every_live_state(mixed: Probe) -> None:
    everyone = ids(mixed.walk(include_claimed=True, include_delayed=True))
    messages = mixed.get(*everyone)
    assert ids(messages) == everyone
    assert [message.claim_id is not None for message in messages] == [
        True,
        False,
        False,
        False,
    ]


def test_a_look_up_answers_in_queue_order_each_once(queue: Probe) -> None:
    posted = queue.post('a', 'b', 'c')
    one, two, three = posted
    assert ids(queue.get(three, one, two, one, three)) == posted


def test_a_look_up_leaves_out_what_is_not_there(
    queue: Probe, hand: Hand
) -> None:
    (old,) = queue.post('old', ttl=60)
    gone, here = queue.post('gone', 'here')
    queue.delete(gone)
    hand.move(60)
    assert ids(queue.get(old, gone, '0' * 32, 'x', here)) == [here]
    assert queue.get(old, gone) == []
    assert queue.get() == []


def test_dead_letters_are_looked_up_among_others_in_queue_order(
    queue: Probe, another: Probe
) -> None:
    (letter,) = another.post('letter')
    (first,) = queue.post('first')
    queue.letter('letter', letter)
    (last,) = queue.post('last')
    assert ids(queue.get(last, letter, first)) == [first, letter, last]


def test_a_list_of_a_queue_never_seen_is_empty(queue: Probe) -> None:
    page = queue.list(include_claimed=True, include_delayed=True)
    assert (list(page.messages), page.resume) == ([], None)


def test_a_delayed_message_says_when_its_delay_ends(
    mixed: Probe, hand: Hand
) -> None:
    begun = hand.now
    page = mixed.list(include_claimed=True, include_delayed=True)
    unclaimed = mixed.list(include_delayed=True)
    looked_up = mixed.get(*ids(page.messages))
    for messages in (page.messages, unclaimed.messages, looked_up):
        for message in messages:
            is_delayed = bodies([message]) == ['delayed']
            end = begun + 60_000 if is_delayed else None
            assert message.visible_at == end
            assert message.claim_id is None or not is_delayed
    hand.move(60)
    page = mixed.list(include_claimed=True, include_delayed=True)
    for messages in (page.messages, mixed.get(*ids(page.messages))):
        assert [item.visible_at for item in messages] == [None] * 4
    claim = mixed.take()
    assert claim is not None
    assert {item.visible_at for item in claim.messages} == {None}
    popped = mixed.pop(limit=10)
    assert {item.visible_at for item in popped} <= {None}
