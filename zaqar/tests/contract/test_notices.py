# SPDX-License-Identifier: Apache-2.0
"""Marks of queues with subscribers, and the notices posts leave."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from zaqar.errors import QueueFull, QueueGone
from zaqar.models import NewMessage
from zaqar.storage.base import OUTBOX, MessageStore
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import Hand, Probe, message, token


class Told:
    """Posts that want notices, and the notices that came of them."""

    def __init__(self, queue: Probe) -> None:
        self.queue = queue
        self.name = secrets.token_hex(8)
        self.asked = 0
        self.outbox = Probe(queue.store, queue.hand, OUTBOX)

    def by(self, store: MessageStore) -> Told:
        """Return the same queue as another process sees it."""
        other = Told(Probe(store, self.queue.hand, self.queue.qid))
        other.name = self.name
        return other

    def post(
        self, *bodies: Any, token: str | None = None, limit: int = 0
    ) -> list[str]:
        """Post messages whose notice names the first of them."""

        def notice() -> NewMessage:
            self.asked += 1
            return message([self.name, *bodies[:1]], ttl=86_400)

        return list(
            self.queue.store.post(
                self.queue.qid,
                [message(body) for body in bodies],
                now=self.queue.hand.now,
                token=token or secrets.token_hex(16),
                limit=limit,
                notice=notice,
            )
        )

    def notices(self) -> list[Any]:
        """Return what the notices of this test name."""
        found = map(json.loads, map(_body, self.outbox.walk()))
        return [body[1] for body in found if body[0] == self.name]

    def subscribed_epoch(self) -> int:
        return self.queue.store.subscribed_epoch(
            self.queue.qid, now=self.queue.hand.now
        )

    def mark(self) -> int:
        """Mark the queue; return the epoch."""
        self.queue.store.mark_subscribed(
            self.queue.qid, now=self.queue.hand.now
        )
        return self.subscribed_epoch()

    def unmark(self, epoch: int) -> bool:
        return self.queue.store.unmark_subscribed(
            self.queue.qid, epoch, now=self.queue.hand.now
        )

    def silence(self) -> None:
        assert self.unmark(self.mark())


def _body(found: Any) -> bytes:
    return bytes(found.body)


@pytest.fixture
def told(queue: Probe) -> Told:
    """A new queue whose posts want notices."""
    return Told(queue)


def test_a_queue_never_seen_is_marked(told: Told) -> None:
    assert told.subscribed_epoch() == 1


def test_the_first_post_of_a_queue_leaves_a_notice(told: Told) -> None:
    told.post('a', 'b')
    assert told.notices() == ['a']
    assert told.queue.everything() == ['a', 'b']
    assert told.subscribed_epoch() == 1


def test_every_post_to_a_marked_queue_leaves_one_notice(told: Told) -> None:
    for number in range(5):
        told.post(number, 'more')
    assert sorted(told.notices()) == [0, 1, 2, 3, 4]
    assert told.asked == 5


def test_a_post_that_wants_no_notice_leaves_none(told: Told) -> None:
    told.queue.post('a')
    told.mark()
    told.queue.post('b')
    assert told.notices() == []


def test_a_post_to_a_silent_queue_leaves_no_notice(told: Told) -> None:
    told.silence()
    assert told.post('a')
    assert told.post('b', 'c')
    assert told.notices() == []
    assert told.subscribed_epoch() == 0
    assert told.queue.everything() == ['a', 'b', 'c']


def test_a_store_that_knows_a_silent_queue_asks_for_no_notice(
    told: Told,
) -> None:
    told.silence()
    told.post('a')
    before = told.asked
    told.post('b')
    assert told.asked == before


def test_a_mark_is_seen_by_the_next_post_through_another_process(
    told: Told, beside: MessageStore
) -> None:
    other = told.by(beside)
    told.silence()
    other.post('unheard')
    other.post('unheard again')
    told.mark()
    other.post('heard')
    assert told.notices() == ['heard']


def test_a_silence_is_seen_by_the_next_post_through_another_process(
    told: Told, beside: MessageStore
) -> None:
    other = told.by(beside)
    other.post('heard')
    told.silence()
    other.post('unheard')
    assert told.notices() == ['heard']


def test_every_mark_is_a_generation_of_its_own(told: Told) -> None:
    seen = [told.subscribed_epoch()]
    for _ in range(3):
        seen.append(told.mark())
        assert told.unmark(seen[-1])
        assert told.subscribed_epoch() == 0
    seen.append(told.mark())
    assert len(set(seen)) == 5
    assert min(seen) > 0


def test_only_the_present_generation_is_cleared(told: Told) -> None:
    told.post('a')
    old = told.subscribed_epoch()
    new = told.mark()
    assert told.unmark(old) is False
    assert told.subscribed_epoch() == new
    told.post('b')
    assert sorted(told.notices()) == ['a', 'b']
    assert told.unmark(new) is True
    assert told.unmark(new) is False
    assert told.unmark(0) is False
    assert told.subscribed_epoch() == 0


def test_a_repeated_post_makes_one_notice(told: Told) -> None:
    name = token()
    posted = told.post('a', token=name)
    assert told.post('a', token=name) == posted
    assert told.notices() == ['a']


def test_a_post_repeated_after_a_mark_is_not_announced_twice(
    told: Told,
) -> None:
    name = token()
    told.post('a', token=name)
    told.mark()
    told.post('a', token=name)
    assert told.notices() == ['a']


def test_a_purge_keeps_the_mark_and_the_silence(told: Told) -> None:
    epoch = told.mark()
    told.queue.purge()
    assert told.subscribed_epoch() == epoch
    told.post('a')
    assert told.unmark(epoch)
    told.queue.purge()
    assert told.subscribed_epoch() == 0
    told.post('b')
    assert told.notices() == ['a']


def test_notices_outlive_a_purge_and_a_drop_of_their_queue(
    told: Told,
) -> None:
    told.post('a')
    told.queue.purge()
    told.post('b')
    told.queue.drop()
    assert sorted(told.notices()) == ['a', 'b']


def test_a_dropped_queue_has_no_mark_and_takes_none(told: Told) -> None:
    told.post('a')
    told.queue.drop()
    for call in (told.subscribed_epoch, told.mark, partial(told.unmark, 1)):
        with pytest.raises(QueueGone):
            call()
    with pytest.raises(QueueGone):
        told.post('b')
    assert told.notices() == ['a']


@pytest.mark.parametrize('marked', [True, False])
def test_a_limit_holds_with_notices_too(told: Told, marked: bool) -> None:
    if not marked:
        told.silence()
    told.post('a', 'b', limit=3)
    with pytest.raises(QueueFull):
        told.post('c', 'd', limit=3)
    assert told.notices() == (['a'] if marked else [])
    assert told.queue.everything() == ['a', 'b']


def test_a_dead_letter_is_announced_like_any_post(
    told: Told, another: Probe, hand: Hand
) -> None:
    (one,) = another.post('x')
    letter = message('x', id=one, rnd=one[16:])
    for _ in range(2):
        told.queue.store.post(
            told.queue.qid,
            [letter],
            now=hand.now,
            token=one,
            notice=lambda: message([told.name, 'x']),
        )
    assert told.notices() == ['x']


def test_notices_are_worked_like_any_messages(told: Told) -> None:
    # The outbox of the shared place may hold those of other tests.
    for number in range(3):
        told.post(number)
    claim = told.outbox.take(limit=1000)
    own = {
        one.id: json.loads(one.body)[1]
        for one in claim.messages
        if json.loads(one.body)[0] == told.name
    }
    assert sorted(own.values()) == [0, 1, 2]
    first, *rest = own
    told.outbox.store.delete_many(
        OUTBOX, [first], now=told.queue.hand.now, claim_ids=[claim.id]
    )
    told.outbox.release(claim.id)
    assert sorted(told.notices()) == sorted(own[one] for one in rest)


def test_a_delivery_can_be_put_beside_the_outbox(
    store: MessageStore, hand: Hand
) -> None:
    inner = Probe(store, hand, f'{OUTBOX}.{secrets.token_hex(4)}')
    inner.post('later', delay=60)
    inner.post('now')
    assert [bytes(one.body) for one in inner.take().messages] == [b'"now"']
    hand.move(60)
    assert [bytes(one.body) for one in inner.take().messages] == [b'"later"']


def test_eight_posters_leave_eight_times_as_many_notices(
    eight: list[Probe],
) -> None:
    first = Told(eight[0])
    crowd = [first, *(first.by(one.store) for one in eight[1:])]

    def post(one: tuple[int, Told]) -> None:
        for number in range(25):
            one[1].post([one[0], number])

    each(post, enumerate(crowd))
    expected = [[who, number] for who in range(8) for number in range(25)]
    assert sorted(first.notices()) == expected


def test_one_token_used_by_eight_at_once_makes_one_notice(
    eight: list[Probe],
) -> None:
    first = Told(eight[0])
    crowd = [first, *(first.by(one.store) for one in eight[1:])]
    for step in range(10):
        name = token()
        each(lambda one, s=step, t=name: one.post(s, token=t), crowd)
    assert sorted(first.notices()) == list(range(10))


def test_no_post_after_a_mark_goes_without_a_notice(
    eight: list[Probe],
) -> None:
    first = Told(eight[0])
    first.silence()
    crowd = [first.by(one.store) for one in eight[1:]]
    marked = threading.Event()
    late: list[Any] = []

    def post(who: int) -> None:
        for number in range(40):
            after = marked.is_set()
            crowd[who].post([who, number])
            if after:
                late.append([who, number])

    def mark() -> None:
        first.mark()
        marked.set()

    works: list[Callable[[], None]] = [
        mark,
        *(partial(post, who) for who in range(len(crowd))),
    ]
    each(lambda work: work(), works)
    post(0)
    noticed = first.notices()
    assert [one for one in late if one not in noticed] == []
    assert late


def test_a_mark_made_while_it_is_cleared_stays(eight: list[Probe]) -> None:
    first = Told(eight[0])
    crowd = [first.by(one.store) for one in eight]
    for _ in range(10):
        old = first.mark()
        done = each(
            lambda work: work(),
            [
                crowd[1].mark,
                *(partial(one.unmark, old) for one in crowd[2:5]),
            ],
        )
        assert done.count(True) <= 1
        assert first.subscribed_epoch() > 0
