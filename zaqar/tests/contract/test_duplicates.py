# SPDX-License-Identifier: Apache-2.0
"""Duplicates of messages, and posts that repeat others."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import pytest

from zaqar.errors import (
    QueueFull,
    QueueGone,
    StoreUnavailable,
    TokenReused,
)
from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import OUTBOX
from zaqar.storage.ids_of_repeated_posts import RepeatedIds
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.harnesses import Feature
from zaqar.tests.contract.probe import (
    Hand,
    Probe,
    bodies,
    ids,
    message,
    token,
)

WINDOW = 300

#: Every character that it may have, in texts of the greatest length.
ALPHABET = ''.join(map(chr, range(33, 127)))
LONGEST = (ALPHABET + ALPHABET[:34], ALPHABET + ALPHABET[:33] + '~')

DAY = 86_400_000


def post(queue: Probe, *names: str | None, **options: Any) -> Sequence[str]:
    """Post messages with these ids; each body names its place."""
    return queue.send(
        [message(place, dedup_id=name) for place, name in enumerate(names)],
        **{'dedup_window': WINDOW, **options},
    )


def test_a_duplicate_is_not_stored_and_has_the_id_of_the_first(
    queue: Probe,
) -> None:
    first = post(queue, 'a')
    assert post(queue, 'a') == first
    assert queue.everything() == [0]
    assert queue.stats().total == 1


def test_a_duplicate_in_a_larger_post_has_the_firsts_id_at_its_place(
    queue: Probe,
) -> None:
    (first,) = post(queue, 'b')
    posted = post(queue, 'a', 'b', None, 'c')
    assert posted[1] == first
    assert len(set(posted)) == 4
    assert bodies(queue.walk()) == [0, 0, 2, 3]
    assert ids(queue.walk()) == [first, posted[0], posted[2], posted[3]]
    later = post(queue, None)
    assert ids(queue.walk())[-1:] == list(later)


def test_of_the_same_in_one_post_the_first_counts(queue: Probe) -> None:
    posted = post(queue, 'a', None, 'a', 'b', 'a', None)
    assert posted[0] == posted[2] == posted[4]
    assert bodies(queue.walk()) == [0, 1, 3, 5]
    assert ids(queue.walk()) == [posted[place] for place in (0, 1, 3, 5)]


def test_ids_differ_by_every_character(queue: Probe) -> None:
    names = [*LONGEST, *ALPHABET, 'A b'.replace(' ', ''), 'AB', 'aB']
    assert len(set(post(queue, *names))) == len(names)
    assert post(queue, *names) == ids(queue.walk())
    assert queue.stats().total == len(names)


def test_duplicates_are_of_one_queue(queue: Probe, another: Probe) -> None:
    assert post(queue, 'a') != post(another, 'a')
    assert another.everything() == [0]


def test_without_a_window_ids_are_ignored(queue: Probe) -> None:
    post(queue, 'a', 'a', dedup_window=0)
    post(queue, 'a')
    post(queue, 'a', dedup_window=0)
    assert queue.everything() == [0, 1, 0, 0]


def test_a_window_ends_where_it_was_said_to_end(
    queue: Probe, hand: Hand
) -> None:
    first = post(queue, 'a')
    hand.before(WINDOW)
    assert post(queue, 'a') == first
    hand.at_last()
    second = post(queue, 'a')
    assert second != first
    # A duplicate has not made it longer; the next window is whole.
    hand.before(WINDOW)
    queue.sweep()
    assert post(queue, 'a') == second
    assert queue.stats().total == 2


@pytest.mark.parametrize('ending', ['delete', 'purge', 'pop', 'expiry'])
def test_a_window_outlives_the_message(
    queue: Probe, hand: Hand, ending: str
) -> None:
    (first,) = queue.post('x', dedup_id='a', window=7 * 86_400, ttl=60)
    if ending == 'delete':
        queue.delete(first)
    elif ending == 'purge':
        queue.purge()
    elif ending == 'pop':
        queue.pop()
    else:
        hand.move(61)
    queue.sweep()
    assert post(queue, 'a') == [first]
    assert queue.everything() == []
    hand.before(7 * 86_400 - 61)
    queue.sweep()
    assert post(queue, 'a') == [first]


def test_a_purge_of_a_queue_with_messages_keeps_every_window(
    queue: Probe,
) -> None:
    first = post(queue, 'a', 'b')
    queue.purge()
    queue.purge()
    queue.sweep()
    assert list(post(queue, 'b', 'a', 'c'))[:2] == [first[1], first[0]]
    assert queue.everything() == [2]


def test_a_dropped_queue_takes_no_more(queue: Probe, another: Probe) -> None:
    post(queue, 'a')
    queue.drop()
    queue.sweep()
    with pytest.raises(QueueGone):
        post(queue, 'a')


def test_eight_producers_with_the_same_ids_store_each_once(
    eight: list[Probe],
) -> None:
    names = [f'name {number % 7}'.replace(' ', '-') for number in range(21)]

    def produce(queue: Probe) -> list[Sequence[str]]:
        return [post(queue, *names[at : at + 3]) for at in range(19)]

    results = each(produce, eight)
    first = results[0]
    assert all(result == first for result in results)
    stored = ids(eight[0].walk())
    assert len(stored) == 7
    assert {one for some in first for one in some} == set(stored)


def test_a_lost_answer_is_repeated_with_all_its_ids(queue: Probe) -> None:
    (first,) = post(queue, 'a')
    name = token()
    posted = post(queue, 'b', 'a', None, token=name)
    assert post(queue, 'b', 'a', None, token=name) == posted
    assert posted[1] == first
    assert queue.stats().total == 3


def test_a_post_of_duplicates_alone_is_remembered(queue: Probe) -> None:
    first = post(queue, 'a', 'b')
    own: dict[str, Any] = {
        'token': token(),
        'fingerprint': 'f',
        'token_lifetime': DAY,
        'dedup_window': WINDOW,
    }
    messages = [message(0, dedup_id='b'), message(1, dedup_id='a')]
    # As a driver sends it again whose first answer was lost.
    for _ in range(2):
        again = queue.send(messages, **own)
        assert again == [first[1], first[0]]
        assert not isinstance(again, RepeatedIds)
    repeated = post(queue, 'b', 'a', **own)
    assert repeated == again
    assert isinstance(repeated, RepeatedIds)
    assert queue.everything() == [0, 1]


def test_duplicates_need_no_room(queue: Probe) -> None:
    first = post(queue, 'a', 'b', limit=2)
    assert post(queue, 'a', 'b', limit=2) == first
    with pytest.raises(QueueFull):
        post(queue, 'c', limit=2)
    assert post(queue, 'a', 'b', limit=2) == first
    queue.pop(1)
    assert post(queue, 'a', 'c', limit=2)[0] == first[0]
    assert queue.everything() == [1, 1]


def test_a_refused_post_is_not_remembered(queue: Probe) -> None:
    queue.post('x')
    with pytest.raises(QueueFull):
        post(queue, 'a', limit=1)
    post(queue, 'a')
    assert queue.everything() == ['x', 0]


def test_a_dead_letter_is_no_duplicate(
    queue: Probe, another: Probe, hand: Hand
) -> None:
    (old,) = post(another, 'a')
    post(queue, 'a')
    (taken,) = another.pop()
    letter = taken.to_post(hand.now)
    assert letter.dedup_id is None
    assert queue.send([letter], dedup_window=WINDOW) == [old]
    assert queue.stats().total == 2


def test_only_stored_messages_are_noticed(queue: Probe) -> None:
    noticed: list[list[int]] = []
    marker = secrets.token_hex(8)
    outbox = Probe(queue.store, queue.hand, OUTBOX)

    def notice(places: Sequence[int]) -> NewMessage:
        noticed.append(list(places))
        return message([marker, list(places)], ttl=86_400)

    def stored() -> list[list[int]]:
        every = bodies(outbox.walk())
        # Within a millisecond their order is that of chance.
        return sorted(item[1] for item in every if item[:1] == [marker])

    post(queue, 'a', 'b', notice=notice)
    assert stored() == [[0, 1]]
    name = token()
    for _ in range(2):
        post(queue, 'c', 'a', None, 'c', notice=notice, token=name)
        assert stored() == [[0, 1], [0, 2]]
    noticed.clear()
    post(queue, 'a', 'b', notice=notice)
    assert stored() == [[0, 1], [0, 2]]
    epoch = queue.store.subscribed_epoch(queue.qid, now=queue.hand.now)
    assert queue.store.unmark_subscribed(queue.qid, epoch, now=queue.hand.now)
    post(queue, 'd', 'a', notice=notice)
    queue.store.mark_subscribed(queue.qid, now=queue.hand.now)
    post(queue, 'd', 'e', notice=notice)
    assert stored() == [[0, 1], [0, 2], [1]]


def test_a_duplicate_leaves_the_notice_that_its_first_could_not(
    queue: Probe,
) -> None:
    marker = secrets.token_hex(8)
    outbox = Probe(queue.store, queue.hand, OUTBOX)

    def lost(_: Sequence[int]) -> NewMessage:
        raise StoreUnavailable

    def notice(places: Sequence[int]) -> NewMessage:
        return message([marker, list(places)], ttl=86_400)

    def stored() -> list[list[int]]:
        every = bodies(outbox.walk())
        return sorted(item[1] for item in every if item[:1] == [marker])

    # Where it is not one step with the post, the messages are stored.
    with pytest.raises(StoreUnavailable):
        post(queue, 'a', 'b', notice=lost)
    post(queue, 'a', notice=notice)
    assert stored() == [[0]]
    post(queue, 'b', 'a', 'c', notice=notice)
    post(queue, 'c', 'a', 'b', notice=notice)
    assert stored() == [[0], [0, 2]]
    assert queue.stats().total == 3


def test_duplicates_keep_their_own_fields(queue: Probe) -> None:
    each_message = [
        message('a', dedup_id='a', extras=b'1'),
        message('b', dedup_id='a', extras=b'2', delay=60),
        message('c', extras=b'3'),
        message('d', dedup_id='d', delay=60, extras=b'4'),
    ]
    queue.send(each_message, dedup_window=WINDOW)
    assert [item.extras for item in queue.walk()] == [b'1', b'3']
    queue.hand.move(60)
    assert [item.extras for item in queue.pop()] == [b'1', b'3', b'4']


def repeat(
    queue: Probe, name: str, *texts: Any, print: str = 'f', **options: Any
) -> Sequence[str]:
    """Post under a token with a fingerprint, with new random halves."""
    return queue.send(
        [message(text) for text in texts],
        token=name,
        fingerprint=print,
        token_lifetime=DAY,
        **options,
    )


def test_a_post_with_a_fingerprint_is_repeated_for_a_day(
    queue: Probe, hand: Hand
) -> None:
    name = token()
    first = repeat(queue, name, 'a', 'b')
    assert repeat(queue, name, 'a', 'b') == first
    queue.pop()
    hand.before(DAY / 1000)
    queue.sweep()
    assert repeat(queue, name, 'a', 'b') == first
    assert queue.everything() == []
    hand.at_last()
    assert repeat(queue, name, 'c') != first
    assert queue.everything() == ['c']


def test_a_purge_leaves_posts_with_fingerprints(queue: Probe) -> None:
    name = token()
    first = repeat(queue, name, 'a')
    queue.purge()
    queue.sweep()
    assert repeat(queue, name, 'a') == first
    assert queue.everything() == []


def test_another_fingerprint_is_refused(queue: Probe) -> None:
    name = token()
    first = repeat(queue, name, 'a')
    with pytest.raises(TokenReused):
        repeat(queue, name, 'b', print='g')
    with pytest.raises(TokenReused):
        repeat(queue, name, 'b', print='g', limit=1)
    assert repeat(queue, name, 'a', limit=1) == first
    assert queue.everything() == ['a']


def test_a_token_is_of_one_queue(queue: Probe, another: Probe) -> None:
    name = token()
    repeat(queue, name, 'a')
    repeat(another, name, 'b', print='g')
    assert another.everything() == ['b']


def test_eight_repetitions_at_once_store_one_post(eight: list[Probe]) -> None:
    name = token()
    results = each(lambda one: repeat(one, name, 'a', 'b'), eight)
    assert all(result == results[0] for result in results)
    assert eight[0].everything() == ['a', 'b']


def test_a_repeated_post_has_one_notice(queue: Probe) -> None:
    marker = secrets.token_hex(8)
    outbox = Probe(queue.store, queue.hand, OUTBOX)

    def notice(_: Sequence[int]) -> NewMessage:
        return message(marker, ttl=7 * 86_400)

    name = token()
    for _ in range(3):
        repeat(queue, name, 'a', notice=notice)
        # Longer than tokens of other posts are remembered.
        queue.hand.move(3000)
        queue.sweep()
    assert bodies(outbox.walk()).count(marker) == 1


def test_a_repeated_post_with_duplicates_has_its_first_ids(
    queue: Probe, hand: Hand
) -> None:
    options = {'fingerprint': 'f', 'token_lifetime': DAY}
    (old,) = post(queue, 'a')
    name = token()
    first = post(queue, 'a', 'b', token=name, **options)
    hand.move(WINDOW + 1)
    assert post(queue, 'a', 'b', token=name, **options) == first
    assert first[0] == old
    assert queue.stats().total == 2


@pytest.mark.needs(Feature.GROUPS)
def test_duplicates_leave_no_gap_in_groups(queue: Probe) -> None:
    names = [('a', 'g'), ('b', 'h'), ('a', 'g'), ('c', 'g'), ('b', 'g')]
    for _ in range(2):
        queue.send(
            [
                message(place, dedup_id=name, group=group)
                for place, (name, group) in enumerate(names)
            ],
            dedup_window=WINDOW,
        )
    first = queue.take(1)
    assert bodies(first.messages) == [0]
    second = queue.take()
    assert [(item.group, item.body) for item in second.messages] == [
        ('h', b'1')
    ]
    queue.release(first.id)
    rest = queue.take()
    assert [(item.group, item.body) for item in rest.messages] == [
        ('g', b'0'),
        ('g', b'3'),
    ]
