# SPDX-License-Identifier: Apache-2.0
"""Marks of queues with subscribers, and the notices posts leave."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from zaqar.errors import QueueFull, QueueGone
from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import OUTBOX, MessageStore
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import Hand, Probe, message, token


class NoticedQueue:
    """Posts that want notices, and the notices that came of them."""

    def __init__(self, queue: Probe) -> None:
        self.queue = queue
        self.name = secrets.token_hex(8)
        self.made = 0
        self.outbox = Probe(queue.store, queue.hand, OUTBOX)

    def by(self, store: MessageStore) -> NoticedQueue:
        """Return the same queue as another process sees it."""
        other = NoticedQueue(Probe(store, self.queue.hand, self.queue.qid))
        other.name = self.name
        return other

    def post(
        self, *bodies: Any, token: str | None = None, limit: int = 0
    ) -> list[str]:
        """Post messages whose notice names the first of them."""

        def notice(_: Sequence[int]) -> NewMessage:
            self.made += 1
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
        payloads = map(json.loads, map(_body, self.outbox.walk()))
        return [body[1] for body in payloads if body[0] == self.name]

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


def _body(message: Any) -> bytes:
    return bytes(message.body)


@pytest.fixture
def noticed(queue: Probe) -> NoticedQueue:
    """A new queue whose posts want notices."""
    return NoticedQueue(queue)


def test_a_queue_never_seen_is_marked(noticed: NoticedQueue) -> None:
    assert noticed.subscribed_epoch() == 1


def test_the_first_post_of_a_queue_leaves_a_notice(
    noticed: NoticedQueue,
) -> None:
    noticed.post('a', 'b')
    assert noticed.notices() == ['a']
    assert noticed.queue.everything() == ['a', 'b']
    assert noticed.subscribed_epoch() == 1


def test_every_post_to_a_marked_queue_leaves_one_notice(
    noticed: NoticedQueue,
) -> None:
    for number in range(5):
        noticed.post(number, 'more')
    assert sorted(noticed.notices()) == [0, 1, 2, 3, 4]
    assert noticed.made == 5


def test_a_post_that_wants_no_notice_leaves_none(
    noticed: NoticedQueue,
) -> None:
    noticed.queue.post('a')
    noticed.mark()
    noticed.queue.post('b')
    assert noticed.notices() == []


def test_a_post_to_a_silent_queue_leaves_no_notice(
    noticed: NoticedQueue,
) -> None:
    noticed.silence()
    assert noticed.post('a')
    assert noticed.post('b', 'c')
    assert noticed.notices() == []
    assert noticed.subscribed_epoch() == 0
    assert noticed.queue.everything() == ['a', 'b', 'c']


def test_a_store_that_knows_a_silent_queue_asks_for_no_notice(
    noticed: NoticedQueue,
) -> None:
    noticed.silence()
    noticed.post('a')
    before = noticed.made
    noticed.post('b')
    assert noticed.made == before


def test_a_mark_is_seen_by_the_next_post_through_another_process(
    noticed: NoticedQueue, beside: MessageStore
) -> None:
    other = noticed.by(beside)
    noticed.silence()
    other.post('unheard')
    other.post('unheard again')
    noticed.mark()
    other.post('heard')
    assert noticed.notices() == ['heard']


def test_a_silence_is_seen_by_the_next_post_through_another_process(
    noticed: NoticedQueue, beside: MessageStore
) -> None:
    other = noticed.by(beside)
    other.post('heard')
    noticed.silence()
    other.post('unheard')
    assert noticed.notices() == ['heard']


def test_every_mark_is_a_generation_of_its_own(noticed: NoticedQueue) -> None:
    seen = [noticed.subscribed_epoch()]
    for _ in range(3):
        seen.append(noticed.mark())
        assert noticed.unmark(seen[-1])
        assert noticed.subscribed_epoch() == 0
    seen.append(noticed.mark())
    assert len(set(seen)) == 5
    assert min(seen) > 0


def test_only_the_present_generation_is_cleared(noticed: NoticedQueue) -> None:
    noticed.post('a')
    old = noticed.subscribed_epoch()
    new = noticed.mark()
    assert noticed.unmark(old) is False
    assert noticed.subscribed_epoch() == new
    noticed.post('b')
    assert sorted(noticed.notices()) == ['a', 'b']
    assert noticed.unmark(new) is True
    assert noticed.unmark(new) is False
    assert noticed.unmark(0) is False
    assert noticed.subscribed_epoch() == 0


def test_a_repeated_post_makes_one_notice(noticed: NoticedQueue) -> None:
    name = token()
    posted = noticed.post('a', token=name)
    assert noticed.post('a', token=name) == posted
    assert noticed.notices() == ['a']


def test_a_post_repeated_after_a_mark_is_not_announced_twice(
    noticed: NoticedQueue,
) -> None:
    name = token()
    noticed.post('a', token=name)
    noticed.mark()
    noticed.post('a', token=name)
    assert noticed.notices() == ['a']


def test_a_purge_keeps_the_mark_and_the_silence(noticed: NoticedQueue) -> None:
    epoch = noticed.mark()
    noticed.queue.purge()
    assert noticed.subscribed_epoch() == epoch
    noticed.post('a')
    assert noticed.unmark(epoch)
    noticed.queue.purge()
    assert noticed.subscribed_epoch() == 0
    noticed.post('b')
    assert noticed.notices() == ['a']


def test_notices_outlive_a_purge_and_a_drop_of_their_queue(
    noticed: NoticedQueue,
) -> None:
    noticed.post('a')
    noticed.queue.purge()
    noticed.post('b')
    noticed.queue.drop()
    assert sorted(noticed.notices()) == ['a', 'b']


def test_a_dropped_queue_has_no_mark_and_takes_none(
    noticed: NoticedQueue,
) -> None:
    noticed.post('a')
    noticed.queue.drop()
    for call in (
        noticed.subscribed_epoch,
        noticed.mark,
        partial(noticed.unmark, 1),
    ):
        with pytest.raises(QueueGone):
            call()
    with pytest.raises(QueueGone):
        noticed.post('b')
    assert noticed.notices() == ['a']


@pytest.mark.parametrize('marked', [True, False])
def test_a_limit_holds_with_notices_too(
    noticed: NoticedQueue, marked: bool
) -> None:
    if not marked:
        noticed.silence()
    noticed.post('a', 'b', limit=3)
    with pytest.raises(QueueFull):
        noticed.post('c', 'd', limit=3)
    assert noticed.notices() == (['a'] if marked else [])
    assert noticed.queue.everything() == ['a', 'b']


def test_a_dead_letter_is_announced_like_any_post(
    noticed: NoticedQueue, another: Probe, hand: Hand
) -> None:
    (one,) = another.post('x')
    letter = message('x', id=one, rnd=one[16:])
    for _ in range(2):
        noticed.queue.store.post(
            noticed.queue.qid,
            [letter],
            now=hand.now,
            token=one,
            notice=lambda _: message([noticed.name, 'x']),
        )
    assert noticed.notices() == ['x']


def test_notices_are_worked_like_any_messages(noticed: NoticedQueue) -> None:
    # The outbox of the shared place may hold those of other tests.
    for number in range(3):
        noticed.post(number)
    claim = noticed.outbox.take(limit=1000)
    own = {
        one.id: json.loads(one.body)[1]
        for one in claim.messages
        if json.loads(one.body)[0] == noticed.name
    }
    assert sorted(own.values()) == [0, 1, 2]
    first, *rest = own
    noticed.outbox.store.delete_many(
        OUTBOX, [first], now=noticed.queue.hand.now, claim_ids=[claim.id]
    )
    noticed.outbox.release(claim.id)
    assert sorted(noticed.notices()) == sorted(own[one] for one in rest)


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
    eight: list[Probe], few: Callable[[int], int]
) -> None:
    first = NoticedQueue(eight[0])
    crowd = [first, *(first.by(one.store) for one in eight[1:])]

    def post(one: tuple[int, NoticedQueue]) -> None:
        for number in range(few(25)):
            one[1].post([one[0], number])

    each(post, enumerate(crowd))
    expected = [[who, number] for who in range(8) for number in range(few(25))]
    assert sorted(first.notices()) == expected


def test_one_token_used_by_eight_at_once_makes_one_notice(
    eight: list[Probe],
) -> None:
    first = NoticedQueue(eight[0])
    crowd = [first, *(first.by(one.store) for one in eight[1:])]
    for step in range(10):
        name = token()
        each(lambda one, s=step, t=name: one.post(s, token=t), crowd)
    assert sorted(first.notices()) == list(range(10))


def test_no_post_after_a_mark_goes_without_a_notice(
    eight: list[Probe], few: Callable[[int], int]
) -> None:
    first = NoticedQueue(eight[0])
    first.silence()
    crowd = [first.by(one.store) for one in eight[1:]]
    marked = threading.Event()
    late: list[Any] = []

    def post(who: int) -> None:
        for number in range(few(40)):
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
    first = NoticedQueue(eight[0])
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
