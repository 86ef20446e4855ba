# SPDX-License-Identifier: Apache-2.0
"""Groups, with many who take messages at once: the promises of order."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain

import pytest

from zaqar.errors import InvalidDeletion, MessageClaimed
from zaqar.objects import Act, Claim, Message, Settlement
from zaqar.storage.abstract_stores import MessageStore
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.harnesses import Feature
from zaqar.tests.contract.probe import (
    WEEK,
    Hand,
    Probe,
    bodies,
    ids,
    message,
    token,
)

pytestmark = pytest.mark.needs(Feature.GROUPS)

#: Groups of the queue; None for messages without one.
GROUPS = (None, 'a', 'b', 'c', 'd', 'e')


class Ledger:
    """Who holds which group, by what the claimers say."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, str] = {}
        self._held: set[str] = set()
        self._handed_out: dict[str, list[int]] = {}
        self._seen: set[str] = set()
        self.done: list[str] = []
        #: Somebody's claim will never end.
        self.broken = False

    def take(self, claim: Claim) -> None:
        """Note a claim: its groups are held by no other one."""
        with self._lock:
            for one in claim.messages:
                assert one.id not in self._held
                assert one.id not in self.done
                self._held.add(one.id)
                if one.group is not None:
                    self._note(one, one.group, claim.id)
            self._check_gaps(claim.messages)

    def _note(self, one: Message, group: str, claim_id: str) -> None:
        holder = self._holders.setdefault(group, claim_id)
        assert holder == claim_id, f'{group} is in two claims'
        if one.id not in self._seen:
            self._seen.add(one.id)
            self._handed_out.setdefault(group, []).append(_number(one))

    def _check_gaps(self, messages: Sequence[Message]) -> None:
        """Check that the messages of each group are consecutive."""
        for group in {one.group for one in messages if one.group}:
            numbers = [_number(one) for one in messages if one.group == group]
            step = len(GROUPS)
            assert numbers == [*range(numbers[0], numbers[-1] + step, step)], (
                group
            )

    def let_go(self, claim: Claim, messages: Iterable[Message]) -> None:
        """Note that a claim is about to lose messages."""
        with self._lock:
            self._held -= set(ids(messages))
            groups = {
                one.group for one in claim.messages if one.id in self._held
            }
            for group, holder in [*self._holders.items()]:
                if holder == claim.id and group not in groups:
                    del self._holders[group]

    def finish(self, claim: Claim, one: Message) -> None:
        """Note that a message is about to be deleted."""
        with self._lock:
            self.done.append(one.id)
        self.let_go(claim, [one])

    def check_order(self) -> None:
        """Check that each group was first handed out in its order."""
        for group, numbers in self._handed_out.items():
            assert numbers == sorted(numbers), group


def _number(one: Message) -> int:
    number: int = json.loads(one.body)
    return number


def post_all(queue: Probe, count: int) -> Sequence[str]:
    """Post numbers, in groups by turns."""
    return queue.send(
        [
            message(number, group=GROUPS[number % len(GROUPS)], ttl=WEEK)
            for number in range(count)
        ]
    )


def work_through(ledger: Ledger, queue: Probe) -> None:
    """Claim, then renew, release, delete or settle, until all is done."""
    chance = random.Random(id(queue))
    while queue.stats().total and not ledger.broken:
        claim = queue.claim(chance.randint(1, 6))
        if claim is None:
            continue
        ledger.take(claim)
        if chance.random() < 0.3:
            assert queue.renew(claim.id)
        count = len(claim.messages)
        done = list(claim.messages)
        if chance.random() < 0.4:
            done = done[: count // 2]
        if chance.random() < 0.5:
            settle(ledger, queue, claim, done)
            continue
        for one in done:
            ledger.finish(claim, one)
            queue.delete(one.id, claim.id)
        if len(done) < count:
            ledger.let_go(claim, claim.messages)
            queue.release(claim.id)


def settle(
    ledger: Ledger, queue: Probe, claim: Claim, done: Sequence[Message]
) -> None:
    """Delete these messages of a claim and release the others."""
    for one in done:
        ledger.finish(claim, one)
    ledger.let_go(claim, claim.messages)
    settlements = [Settlement(one.id, Act.DELETE) for one in done]
    settlements += [
        Settlement(one.id, Act.RELEASE, failed=False)
        for one in claim.messages[len(done) :]
    ]
    assert queue.settle(claim.id, *settlements) == [True] * len(settlements)


def test_no_group_is_in_two_live_claims_and_none_is_overtaken(
    eight: list[Probe], queue: Probe, many: Callable[[int], int]
) -> None:
    posted = post_all(queue, many(300))
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
    ledger.check_order()


def test_posts_and_claims_of_a_group_at_once_lose_nothing(
    eight: list[Probe], queue: Probe, few: Callable[[int], int]
) -> None:
    """A group that is about to have no messages may get one."""
    count = few(60)
    taken: list[list[int]] = []

    def produce(one: Probe) -> None:
        for number in range(count):
            one.send([message(number, group='a', ttl=WEEK)])

    def consume(one: Probe) -> None:
        own: list[int] = []
        taken.append(own)
        while len([*chain(*taken)]) < 4 * count:
            claim = one.claim(3)
            for item in claim.messages if claim else ():
                own.append(_number(item))
                one.delete(item.id, claim.id if claim else None)

    works = [partial(produce, one) for one in eight[:4]]
    works += [partial(consume, one) for one in eight[4:]]
    each(lambda work: work(), works)
    assert sorted(chain(*taken)) == sorted([*range(count)] * 4)
    assert queue.everything() == []


def test_poppers_and_claimers_share_no_group(
    eight: list[Probe], queue: Probe, many: Callable[[int], int]
) -> None:
    count = many(200)
    post_all(queue, count)
    first: list[int] = []

    def claim(one: Probe) -> Sequence[int]:
        own: list[int] = []
        while one.stats().total:
            taken = one.claim(4)
            if taken:
                own += bodies(taken.messages)
                one.delete_many(*ids(taken.messages), claim_ids=[taken.id])
        return own

    def pop(one: Probe) -> Sequence[int]:
        own: list[int] = []
        while one.stats().total:
            own += bodies(one.pop(4))
        return own

    works = [partial(claim, one) for one in eight[:4]]
    works += [partial(pop, one) for one in eight[4:]]
    taken = each(lambda work: work(), works)
    assert sorted([*first, *chain(*taken)]) == list(range(count))


def test_of_eight_claimers_at_a_lapse_each_group_has_one(
    eight: list[Probe],
    queue: Probe,
    hand: Hand,
    many: Callable[[int], int],
) -> None:
    count = many(120)
    queue.send(
        [
            message(number, group=f'g{number % 30}', ttl=WEEK)
            for number in range(count)
        ]
    )
    queue.take(count)
    hand.move(300)

    def take(one: Probe) -> list[Message]:
        own: list[Message] = []
        while claim := one.claim(7):
            own += claim.messages
        return own

    taken = each(take, eight)
    groups = [{one.group for one in own} for own in taken]
    assert len([*chain(*groups)]) == 30
    for own in taken:
        for group in {one.group for one in own}:
            numbers = [_number(one) for one in own if one.group == group]
            assert numbers == sorted(numbers)


def test_free_deletions_and_claims_of_a_group_meet_without_a_failure(
    eight: list[Probe], queue: Probe, many: Callable[[int], int]
) -> None:
    for _ in range(many(5)):
        names = queue.send(
            [message(n, group=f'g{n % 3}', ttl=WEEK) for n in range(30)]
        )

        def delete(one: Probe, names: Sequence[str] = names) -> None:
            for name in names:
                with contextlib.suppress(MessageClaimed, InvalidDeletion):
                    one.delete(name)

        def claim(one: Probe) -> None:
            while taken := one.claim(4):
                one.delete_many(*ids(taken.messages)[::-1])

        works = [partial(claim, one) for one in eight[:5]]
        works += [partial(delete, one) for one in eight[5:]]
        each(lambda work: work(), works)
        while left := queue.claim():
            queue.delete_many(*ids(left.messages))
        assert queue.everything() == []


def test_one_claim_id_used_by_eight_at_once_is_one_claim(
    eight: list[Probe], queue: Probe, many: Callable[[int], int]
) -> None:
    queue.send([message(n, group=f'g{n % 60}', ttl=WEEK) for n in range(120)])
    for _ in range(many(5)):
        again = partial(Probe.take, limit=3, claim_id=token())
        claims = each(again, eight)
        assert len(claims[0].messages) == 3
        assert all(claim == claims[0] for claim in claims)
        queue.delete_many(*ids(claims[0].messages))


def test_a_sweep_and_claims_at_once_keep_the_order(
    four: Sequence[MessageStore], queue: Probe, hand: Hand
) -> None:
    for start in range(0, 60, 3):
        queue.send([message(start, group='a', ttl=60)])
        queue.send([message(start + 1, group='a', ttl=WEEK)])
        queue.send([message(start + 2, group=f'b{start}', ttl=60)])
    hand.move(60)
    taken: list[int] = []

    def claim() -> None:
        while len(taken) < 20:
            held = queue.claim(2)
            if held:
                taken.extend(bodies(held.messages))
                queue.delete_many(*ids(held.messages))

    def sweep() -> None:
        for _ in range(5):
            four[1].sweep(now=hand.now, batch=10)

    each(lambda work: work(), [claim, sweep])
    assert taken == [*range(1, 60, 3)]
    assert queue.claim() is None
