# SPDX-License-Identifier: Apache-2.0
"""Posting: order, wholeness, tokens, ids, limits."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import pytest

from zaqar.errors import QueueFull
from zaqar.tests.contract.probe import (
    ALICE,
    BOB,
    Hand,
    Probe,
    bodies,
    ids,
    message,
    token,
)

#: The time for which a token is remembered, in seconds.
REMEMBERED = 600


def test_ids_come_back_in_the_order_of_the_post(queue: Probe) -> None:
    posted = queue.post('a', 'b', 'c')
    assert posted == ids(queue.walk())
    assert bodies(queue.walk()) == ['a', 'b', 'c']


def test_an_id_is_32_hex_digits_and_ends_in_the_callers_half(
    queue: Probe,
) -> None:
    halves = [secrets.token_hex(8) for _ in range(3)]
    posted = queue.send([message('x', rnd=half) for half in halves])
    assert all(re.fullmatch('[0-9a-f]{32}', one) for one in posted)
    assert [one[16:] for one in posted] == halves


def test_later_posts_stand_behind_earlier_ones(queue: Probe) -> None:
    queue.post('a', 'b')
    queue.post('c')
    assert bodies(queue.walk()) == ['a', 'b', 'c']


@pytest.mark.parametrize('minutes', [-5, 5])
def test_the_order_is_that_of_posts_whatever_their_clocks_say(
    queue: Probe, hand: Hand, minutes: int
) -> None:
    queue.post('a')
    hand.move(minutes * 60)
    queue.post('b')
    hand.move(-minutes * 60)
    queue.post('c')
    assert bodies(queue.walk()) == ['a', 'b', 'c']


def test_a_message_keeps_what_it_was_posted_with(
    queue: Probe, hand: Hand
) -> None:
    (one,) = queue.post('x', ttl=77, client=BOB, checksum='MD5:' + 'f' * 32)
    hand.move(5)
    (message,) = queue.get(one)
    assert message.id == one
    assert message.ttl == 77
    assert message.client == BOB
    assert message.checksum == 'MD5:' + 'f' * 32
    assert message.created_at == hand.now - 5000
    assert message.expires_at == hand.now + 72_000
    assert (message.claim_id, message.claim_count) == (None, 0)


def test_a_message_without_a_checksum_has_none(queue: Probe) -> None:
    queue.post('x')
    assert queue.list().messages[0].checksum is None


def test_a_client_id_is_any_text_of_36_characters(queue: Probe) -> None:
    client = 'Ärger \N{SNOWMAN}\N{PILE OF POO} '.ljust(35, 'x') + ' '
    assert len(client) == 36
    queue.post('x', client=client)
    assert queue.list().messages[0].client == client


def test_5000_messages_fit_into_one_post(
    queue: Probe, many: Callable[[int], int]
) -> None:
    posted = queue.post(*range(many(5000)))
    assert len(set(posted)) == many(5000)
    assert bodies(queue.walk()) == list(range(many(5000)))


def test_a_token_seen_before_stores_nothing_and_returns_the_old_ids(
    queue: Probe,
) -> None:
    name = token()
    posted = queue.post('a', 'b', token=name)
    assert queue.post('a', 'b', token=name) == posted
    assert queue.everything() == ['a', 'b']


def test_a_token_seen_before_takes_no_place(queue: Probe) -> None:
    name = token()
    queue.post('a', token=name)
    queue.post('b')
    queue.post('a', token=name)
    assert queue.everything() == ['a', 'b']
    assert queue.stats().total == 2


def test_a_token_is_good_for_ten_minutes(queue: Probe, hand: Hand) -> None:
    name = token()
    posted = queue.post('a', token=name, ttl=60)
    hand.before(REMEMBERED)
    assert queue.post('a', token=name) == posted
    assert queue.everything() == []


def test_a_sweep_forgets_no_token_within_ten_minutes(
    queue: Probe, hand: Hand
) -> None:
    name = token()
    posted = queue.post('a', token=name, ttl=60)
    hand.before(REMEMBERED)
    queue.sweep()
    assert queue.post('a', token=name) == posted


def test_a_token_outlives_the_deletion_of_its_messages(queue: Probe) -> None:
    name = token()
    posted = queue.post('a', token=name)
    queue.pop()
    assert queue.post('a', token=name) == posted
    assert queue.everything() == []


def test_a_token_of_another_queue_is_another_token(
    queue: Probe, another: Probe
) -> None:
    name = token()
    first = queue.post('a', token=name)
    assert another.post('b', token=name) != first
    assert (queue.everything(), another.everything()) == (['a'], ['b'])


def test_a_token_may_have_64_characters(queue: Probe) -> None:
    name = 'a' * 63
    first = queue.post('a', token=name + '1')
    second = queue.post('b', token=name + '2')
    assert queue.post('a', token=name + '1') == first
    assert queue.post('b', token=name + '2') == second


def test_tokens_differ_by_case(queue: Probe) -> None:
    queue.post('a', token='Token')
    queue.post('b', token='token')
    assert queue.everything() == ['a', 'b']


def test_a_dead_letter_is_found_by_the_id_it_brought(
    queue: Probe, another: Probe
) -> None:
    (old,) = another.post('x')
    assert queue.letter('x', old) == [old]
    assert bodies(queue.get(old)) == ['x']
    assert ids(queue.walk()) == [old]


def test_a_dead_letter_takes_the_last_place(
    queue: Probe, another: Probe
) -> None:
    (old,) = another.post('old')
    queue.post('a')
    queue.letter('old', old)
    queue.post('b')
    assert bodies(queue.walk()) == ['a', 'old', 'b']
    assert bodies(queue.take().messages) == ['a', 'old', 'b']


def test_a_dead_letter_that_comes_again_is_stored_once(
    queue: Probe, another: Probe
) -> None:
    (old,) = another.post('x')
    queue.letter('x', old)
    queue.letter('x', old)
    assert queue.everything() == ['x']


def test_the_token_of_a_dead_letter_lives_as_long_as_it_does(
    queue: Probe, another: Probe, hand: Hand
) -> None:
    (old,) = another.post('x')
    queue.letter('x', old, ttl=7200)
    hand.before(7200)
    queue.sweep()
    queue.letter('x', old)
    assert queue.everything() == ['x']


def test_a_claim_prolongs_a_dead_letter_and_its_token(
    queue: Probe, another: Probe, hand: Hand
) -> None:
    (old,) = another.post('x')
    queue.letter('x', old, ttl=700)
    hand.move(650)
    queue.take(ttl=300, grace=60)
    hand.move(100)
    queue.sweep()
    queue.letter('x', old)
    assert queue.everything() == ['x']


def test_a_dead_letter_can_be_claimed_and_deleted_by_its_id(
    queue: Probe, another: Probe
) -> None:
    (old,) = another.post('x')
    queue.letter('x', old)
    claim = queue.take()
    assert ids(claim.messages) == [old]
    queue.delete(old, claim.id)
    assert queue.everything() == []


def test_dead_letters_of_one_post_are_known_by_the_ids_they_brought(
    queue: Probe, another: Probe
) -> None:
    old = another.post('a', 'b', 'c')
    letters = [
        message(body, id=one, rnd=one[16:])
        for body, one in zip('abc', old, strict=True)
    ]
    name = token()
    for _ in range(2):
        assert queue.send(letters, token=name) == old
    assert ids(queue.walk()) == old
    assert bodies(queue.get(*old)) == ['a', 'b', 'c']
    queue.delete(old[1])
    # The post is remembered, although one of its messages is gone.
    assert queue.send(letters, token=name) == old
    assert queue.everything() == ['a', 'c']
    assert ids(queue.pop()) == [old[0], old[2]]


def test_what_was_popped_can_be_put_back_under_its_ids(queue: Probe) -> None:
    posted = queue.post('a', 'b')
    popped = queue.pop()
    queue.post('c')
    now = queue.hand.now
    queue.send([item.to_post(now) for item in popped])
    assert ids(queue.walk())[1:] == posted
    assert queue.everything() == ['c', 'a', 'b']


def test_a_dead_letter_has_no_second_id(queue: Probe, another: Probe) -> None:
    (old,) = another.post('x')
    queue.post('before')
    queue.letter('x', old)
    # What its id would be, had it not brought one.
    native = list(queue.walk())[1].marker + old[16:]
    assert native != old
    assert queue.get(native) == []
    queue.delete(native)
    assert queue.everything() == ['before', 'x']


def test_a_post_may_fill_a_queue_to_its_limit_and_no_further(
    queue: Probe,
) -> None:
    queue.post(1, 2, limit=3)
    queue.post(3, limit=3)
    with pytest.raises(QueueFull):
        queue.post(4, limit=3)
    assert queue.everything() == [1, 2, 3]


def test_a_post_that_would_pass_the_limit_stores_nothing(
    queue: Probe,
) -> None:
    queue.post(1, limit=3)
    with pytest.raises(QueueFull):
        queue.post(2, 3, 4, limit=3)
    assert queue.everything() == [1]
    queue.post(2, 3, limit=3)


def test_a_limit_counts_what_was_posted_without_one(queue: Probe) -> None:
    queue.post(1, 2, 3)
    with pytest.raises(QueueFull):
        queue.post(4, limit=3)
    queue.post(4, limit=0)
    with pytest.raises(QueueFull):
        queue.post(5, limit=4)
    queue.post(5, limit=5)


def test_live_messages_in_every_state_count(queue: Probe) -> None:
    queue.post('claimed')
    queue.take()
    queue.post('delayed', delay=600)
    queue.post('free')
    with pytest.raises(QueueFull):
        queue.post('more', limit=3)


def test_expired_messages_do_not_count(queue: Probe, hand: Hand) -> None:
    queue.post(1, ttl=60, limit=1)
    hand.before(60)
    with pytest.raises(QueueFull):
        queue.post(2, limit=1)
    hand.at_last()
    queue.post(2, limit=1)
    with pytest.raises(QueueFull):
        queue.post(3, limit=1)


def test_each_message_that_expires_makes_room_at_once(
    queue: Probe, hand: Hand
) -> None:
    queue.post(1, ttl=60, limit=2)
    hand.move(0.5)
    queue.post(2, ttl=60, limit=2)
    hand.move(59.5)
    queue.post(3, limit=2)
    with pytest.raises(QueueFull):
        queue.post(4, limit=2)
    hand.move(0.5)
    queue.post(4, limit=2)
    assert queue.everything() == [3, 4]


def test_what_is_deleted_or_popped_makes_room(queue: Probe) -> None:
    one, two, _ = queue.post(1, 2, 3, limit=3)
    queue.delete(one)
    queue.post(4, limit=3)
    queue.delete_many(two)
    queue.post(5, limit=3)
    queue.pop(1)
    queue.post(6, limit=3)
    claim = queue.take(1)
    queue.delete(claim.messages[0].id, claim.id)
    queue.post(7, limit=3)
    with pytest.raises(QueueFull):
        queue.post(8, limit=3)
    assert queue.everything() == [5, 6, 7]


def test_a_purge_makes_room(queue: Probe) -> None:
    queue.post(1, 2, limit=2)
    queue.purge()
    queue.post(3, 4, limit=2)
    with pytest.raises(QueueFull):
        queue.post(5, limit=2)


def test_what_was_swept_is_not_taken_off_twice(
    queue: Probe, hand: Hand
) -> None:
    queue.post(1, 2, ttl=60, limit=2)
    hand.move(60)
    queue.post(3, 4, limit=2)
    queue.sweep()
    with pytest.raises(QueueFull):
        queue.post(5, limit=2)


def test_a_repeated_post_to_a_queue_that_it_filled_is_fine(
    queue: Probe,
) -> None:
    name = token()
    posted = queue.post(1, 2, limit=2, token=name)
    assert queue.post(1, 2, limit=2, token=name) == posted


def test_a_repeated_dead_letter_does_not_count_twice(
    queue: Probe, another: Probe
) -> None:
    (old,) = another.post('x')
    queue.post(1, limit=3)
    queue.letter('x', old)
    queue.letter('x', old)
    queue.post(2, limit=3)
    with pytest.raises(QueueFull):
        queue.post(3, limit=3)


def test_a_refused_post_may_be_tried_again_with_its_token(
    queue: Probe,
) -> None:
    name = token()
    queue.post(1, limit=1)
    with pytest.raises(QueueFull):
        queue.post(2, limit=1, token=name)
    queue.pop()
    queue.post(2, limit=1, token=name)
    assert queue.everything() == [2]


def test_a_message_of_one_post_may_differ_from_the_next(
    queue: Probe, hand: Hand
) -> None:
    queue.send(
        [
            message('short', ttl=60, client=ALICE),
            message('late', ttl=3600, delay=90, client=BOB),
            message('plain', ttl=3600),
        ]
    )
    assert bodies(queue.walk()) == ['short', 'plain']
    hand.move(60)
    assert bodies(queue.walk()) == ['plain']
    hand.move(30)
    assert bodies(queue.walk()) == ['late', 'plain']
