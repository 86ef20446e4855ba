# SPDX-License-Identifier: Apache-2.0
"""Many who take messages at once, in one process and in several."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

import pytest

from zaqar.errors import MessageClaimed, QueueGone, StaleMetadata
from zaqar.objects import Claim, Message
from zaqar.storage.abstract_stores import MessageStore
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import Hand, Probe, bodies, ids, token


def drain(take: Callable[[], Sequence[Message]]) -> list[int]:
    """Take until nothing is left; return what was taken."""
    drained: list[int] = []
    while messages := take():
        drained += bodies(messages)
    return drained


def claim_all(limit: int, max_claims: int, queue: Probe) -> list[int]:
    """Claim until nothing is free."""

    def take() -> Sequence[Message]:
        claim = queue.claim(limit, max_claims=max_claims)
        return claim.messages if claim else []

    return drain(take)


def pop_all(limit: int, queue: Probe) -> list[int]:
    """Pop until nothing is left."""
    return drain(lambda: queue.pop(limit))


@pytest.mark.parametrize(('limit', 'max_claims'), [(3, 0), (10, 3)])
def test_eight_claimers_take_each_of_1000_messages_once(
    eight: list[Probe],
    queue: Probe,
    many: Callable[[int], int],
    limit: int,
    max_claims: int,
) -> None:
    count = many(1000)
    queue.post(*range(count))
    taken = each(partial(claim_all, limit, max_claims), eight)
    assert sorted(chain(*taken)) == list(range(count))
    assert queue.claim() is None
    assert queue.stats().claimed == count
    counts = {item.claim_count for item in queue.walk(include_claimed=True)}
    assert counts == {1}


def test_eight_poppers_take_each_of_1000_messages_once(
    eight: list[Probe], queue: Probe, many: Callable[[int], int]
) -> None:
    count = many(1000)
    queue.post(*range(count))
    taken = each(partial(pop_all, 7), eight)
    assert sorted(chain(*taken)) == list(range(count))
    assert queue.everything() == []


def test_claimers_and_poppers_share_no_message(
    eight: list[Probe], queue: Probe, many: Callable[[int], int]
) -> None:
    count = many(600)
    queue.post(*range(count))
    works = [partial(claim_all, 5, 0, one) for one in eight[:4]]
    works += [partial(pop_all, 5, one) for one in eight[4:]]
    taken = each(lambda work: work(), works)
    assert sorted(chain(*taken)) == list(range(count))


class Ledger:
    """Who holds which message, by what the claimers say."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.held: set[str] = set()
        self.done: list[str] = []
        #: Somebody's claim will never end.
        self.broken = False

    def take(self, claim: Claim) -> None:
        """Note a claim; no message may be held or done already."""
        taken = set(ids(claim.messages))
        with self._lock:
            assert not taken & self.held
            assert not taken & set(self.done)
            self.held |= taken

    def give_back(self, claim: Claim) -> None:
        """Note that a claim is about to end."""
        with self._lock:
            self.held -= set(ids(claim.messages))

    def finish(self, claim: Claim) -> None:
        """Note that the messages of a claim are about to be deleted."""
        with self._lock:
            self.done += ids(claim.messages)
        self.give_back(claim)


def work_through(ledger: Ledger, queue: Probe) -> None:
    """Claim, then renew, release or delete, until nothing is left."""
    chance = random.Random(id(queue))
    while queue.stats().total and not ledger.broken:
        claim = queue.claim(chance.randint(1, 12))
        if claim is None:
            continue
        ledger.take(claim)
        if chance.random() < 0.3:
            assert queue.renew(claim.id)
        if chance.random() < 0.4:
            ledger.give_back(claim)
            queue.release(claim.id)
        else:
            ledger.finish(claim)
            for one in ids(claim.messages):
                queue.delete(one, claim.id)


def test_no_two_live_claims_ever_hold_one_message(
    eight: list[Probe], queue: Probe, many: Callable[[int], int]
) -> None:
    posted = queue.post(*range(many(300)))
    ledger = Ledger()

    def work(one: Probe) -> None:
        try:
            work_through(ledger, one)
        except BaseException:
            ledger.broken = True
            raise

    each(work, eight)
    assert sorted(ledger.done) == sorted(posted)
    assert queue.everything() == []


def test_of_eight_claimers_at_a_lapse_each_message_has_one(
    eight: list[Probe],
    queue: Probe,
    hand: Hand,
    many: Callable[[int], int],
) -> None:
    count = many(200)
    queue.post(*range(count))
    queue.take(count, ttl=60)
    hand.move(60)
    taken = each(partial(claim_all, 7, 0), eight)
    assert sorted(chain(*taken)) == list(range(count))


def test_one_claim_id_used_by_eight_at_once_is_one_claim(
    eight: list[Probe], queue: Probe, many: Callable[[int], int]
) -> None:
    queue.post(*range(100))
    for step in range(many(10)):
        again = partial(Probe.take, limit=5, claim_id=token())
        claims = each(again, eight)
        assert len(claims[0].messages) == 5
        assert all(claim == claims[0] for claim in claims)
        assert queue.stats().claimed == 5 * step + 5


def test_deletions_of_the_same_messages_meet_without_a_failure(
    eight: list[Probe], queue: Probe, many: Callable[[int], int]
) -> None:
    for _ in range(many(5)):
        posted = list(queue.post(*range(40)))

        def delete(place: int, names: Sequence[str] = posted) -> None:
            eight[place].delete_many(*(names[::-1] if place % 2 else names))

        each(delete, range(8))
    assert queue.everything() == []


def test_of_a_release_and_deletions_each_message_has_one_end(
    eight: list[Probe], queue: Probe
) -> None:
    posted = queue.post(*range(40))
    claim = queue.take(40)

    def delete(one: Probe) -> None:
        for name in posted:
            try:
                one.delete(name)
            except MessageClaimed:
                continue

    works = [partial(eight[0].release, claim.id)]
    works += [partial(delete, one) for one in eight[1:]]
    each(lambda work: work(), works)
    left = queue.everything()
    assert bodies(queue.walk()) == left
    assert queue.stats().free == len(left)


def test_calls_to_several_queues_do_not_disturb_one_another(
    store: MessageStore, hand: Hand
) -> None:
    queues = [Probe(store, hand) for _ in range(4)]
    gone, stale = Probe(store, hand), Probe(store, hand)
    gone.drop()
    stale.require(5)

    def work(queue: Probe) -> None:
        for number in range(12):
            queue.post(number, number)
            taken: list[int] = []
            # MariaDB may skip rows that a claim of a neighbour has looked at.
            while len(taken) < 2:
                claim = queue.claim(2)
                for message in claim.messages if claim else ():
                    taken += bodies([message])
                    queue.delete(message.id, message.claim_id)
            assert taken == [number, number]

    def fail() -> None:
        for _ in range(12):
            with pytest.raises(QueueGone):
                gone.post('x')
            with pytest.raises(QueueGone):
                gone.claim(1)
            with pytest.raises(StaleMetadata):
                stale.post('x', version=4)
            with pytest.raises(MessageClaimed):
                held.delete(name)

    held = Probe(store, hand)
    (name,) = held.post('x')
    held.take(1)
    each(lambda call: call(), [*(partial(work, one) for one in queues), fail])
    assert [queue.everything() for queue in queues] == [[]] * 4
    assert held.stats().claimed == 1
