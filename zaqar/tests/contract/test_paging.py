# SPDX-License-Identifier: Apache-2.0
"""Paging by marker: nothing skipped, nothing repeated."""

from __future__ import annotations

import pytest

from zaqar.objects import Message
from zaqar.tests.contract.probe import (
    ALICE,
    BOB,
    WEEK,
    Hand,
    Probe,
    bodies,
    ids,
    token,
)

#: What no server ever gave out.
UNREADABLE = ['', 'x', '0', 'ä' * 16, 'Z' * 32, '\0', "' OR 1=1 --", ' ' * 16]


def test_limit_1_walks_the_whole_queue_without_repeating(
    queue: Probe,
) -> None:
    posted = queue.post(*range(50))
    assert ids(queue.walk(1)) == posted


@pytest.mark.parametrize('limit', [2, 3, 7, 25, 49, 50, 51])
def test_any_limit_walks_the_whole_queue(queue: Probe, limit: int) -> None:
    posted = queue.post(*range(50))
    assert ids(queue.walk(limit)) == posted


def test_a_full_page_resumes_behind_its_last_message(queue: Probe) -> None:
    queue.post('a', 'b', 'c', 'd')
    page = queue.list(2)
    assert page.resume == page.messages[-1].marker
    rest = queue.list(2, marker=page.resume)
    assert bodies(rest.messages) == ['c', 'd']
    # Full again, although nothing is left.
    assert rest.resume == rest.messages[-1].marker
    end = queue.list(2, marker=rest.resume)
    assert (list(end.messages), end.resume) == ([], None)


def test_a_page_resumes_nowhere_at_the_end(queue: Probe) -> None:
    queue.post('a', 'b', 'c')
    page = queue.list(2)
    assert queue.list(2, marker=page.resume).resume is None


def test_the_id_of_a_message_is_a_marker_too(queue: Probe) -> None:
    one, two, _ = queue.post('a', 'b', 'c')
    assert bodies(queue.list(marker=one).messages) == ['b', 'c']
    assert bodies(queue.list(marker=two).messages) == ['c']


def test_each_message_carries_its_marker(queue: Probe) -> None:
    queue.post('a', 'b', 'c')

    def check(message: Message, rest: list[str]) -> None:
        page = queue.list(marker=message.marker, include_claimed=True)
        assert bodies(page.messages) == rest

    for message, rest in zip(
        queue.walk(), (['b', 'c'], ['c'], []), strict=True
    ):
        check(message, rest)
        check(queue.get(message.id)[0], rest)
    claim = queue.take(1)
    check(claim.messages[0], ['b', 'c'])
    check(queue.pop(1)[0], ['c'])


def test_a_marker_is_made_of_letters_digits_dashes(queue: Probe) -> None:
    queue.post('a')
    marker = queue.list(1).resume
    assert marker is not None
    assert marker.replace('-', '').replace('_', '').isalnum()


@pytest.mark.parametrize('gone', ['deleted', 'popped', 'purged', 'expired'])
@pytest.mark.parametrize('kind', ['marker', 'id'])
def test_a_marker_outlives_its_message(
    queue: Probe, hand: Hand, gone: str, kind: str
) -> None:
    queue.post('a', ttl=60)
    (message,) = queue.walk()
    marker = message.marker if kind == 'marker' else message.id
    if gone == 'deleted':
        queue.delete(message.id)
    elif gone == 'popped':
        queue.pop()
    elif gone == 'purged':
        queue.purge()
    else:
        hand.move(60)
        queue.sweep()
    queue.post('b')
    assert bodies(queue.walk(1, marker=marker)) == ['b']


def test_a_marker_survives_an_idle_week(queue: Probe, hand: Hand) -> None:
    queue.post('a', 'b', ttl=3600)
    marker = queue.list(2).resume
    hand.move(WEEK)
    queue.sweep()
    assert list(queue.walk(marker=marker)) == []
    queue.post('c')
    assert bodies(queue.walk(1, marker=marker)) == ['c']


def test_a_marker_of_the_end_shows_what_comes_later(queue: Probe) -> None:
    queue.post('a')
    marker = queue.list().messages[-1].marker
    assert list(queue.walk(marker=marker)) == []
    queue.post('b')
    assert bodies(queue.walk(marker=marker)) == ['b']


def test_a_message_that_is_claimed_while_paging_hides_no_other(
    queue: Probe,
) -> None:
    queue.post('a', 'b', 'c', 'd')
    page = queue.list(2)
    queue.take(3)
    assert bodies(queue.walk(2, marker=page.resume)) == ['d']


def test_a_page_ends_at_messages_that_come_back_behind_it(
    queue: Probe,
) -> None:
    queue.post('a', 'b', 'c')
    claim = queue.take(1)
    page = queue.list(1)
    assert bodies(page.messages) == ['b']
    queue.release(claim.id)
    # Its place is before the marker: no repetition, no return.
    assert bodies(queue.walk(1, marker=page.resume)) == ['c']


def test_the_marker_of_a_dead_letter_outlives_it(
    queue: Probe, another: Probe
) -> None:
    (old,) = another.post('letter')
    queue.post('a')
    queue.letter('letter', old)
    queue.post('b')
    assert bodies(queue.walk(marker=old)) == ['b']
    marker = queue.get(old)[0].marker
    queue.delete(old)
    assert bodies(queue.walk(marker=marker)) == ['b']


@pytest.mark.parametrize('marker', UNREADABLE)
def test_an_unreadable_marker_gives_an_empty_page(
    queue: Probe, marker: str
) -> None:
    queue.post('a')
    page = queue.list(marker=marker)
    assert (list(page.messages), page.resume) == ([], None)


def test_a_claim_id_is_no_marker_of_messages(queue: Probe) -> None:
    queue.post('a')
    name = 'z' * 32
    queue.take(claim_id=name)
    queue.post('b')
    assert list(queue.list(marker=name).messages) == []


def test_the_last_of_all_numbers_is_a_marker_of_nothing(
    queue: Probe,
) -> None:
    queue.post('a')
    for marker in ('f' * 16, '7' + 'f' * 15, 'f' * 32):
        page = queue.list(marker=marker)
        assert (list(page.messages), page.resume) == ([], None)


def test_paging_across_filtered_messages_loses_none(queue: Probe) -> None:
    for number in range(30):
        queue.post(number, client=BOB if number % 5 == 4 else ALICE)
    wanted = [4, 9, 14, 19, 24, 29]
    for limit in (1, 2, 5, 6, 7):
        assert bodies(queue.walk(limit, exclude_client=ALICE)) == wanted


def test_posts_between_pages_are_seen_once(queue: Probe) -> None:
    queue.post('a', 'b')
    first = queue.list(1)
    queue.post('c', token=token())
    assert bodies(queue.walk(1, marker=first.resume)) == ['b', 'c']


def test_numbers_go_on_although_the_clock_went_back(
    queue: Probe, hand: Hand
) -> None:
    queue.post('a')
    marker = queue.list(1).resume
    hand.move(-300)
    queue.purge()
    queue.post('b')
    assert bodies(queue.walk(marker=marker)) == ['b']
