# SPDX-License-Identifier: Apache-2.0
"""Workers who settle messages at once, and a book of what they hold."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

from zaqar.objects import Act, Claim, Settlement
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import (
    Hand,
    Probe,
    deleted,
    extended,
    ids,
    released,
)


class Book:
    """Until when who holds which message, by what the claimers say."""

    def __init__(self, hand: Hand) -> None:
        self._lock = threading.Lock()
        self._holds: dict[str, tuple[str, int]] = {}
        self._hand = hand
        self.done: set[str] = set()

    def take(self, claim: Claim) -> None:
        """Note a claim: nobody else holds its messages."""
        with self._lock:
            for name in ids(claim.messages):
                assert name not in self.done
                _, end = self._holds.get(name, ('', 0))
                assert end <= self._hand.now
                self._holds[name] = (claim.id, claim.expires_at)

    def let_go(self, item: Settlement) -> None:
        """Note that a message is about to be settled."""
        with self._lock:
            if item.act is not Act.EXTEND:
                self._holds.pop(item.message_id, None)
            if item.act is Act.DELETE:
                assert item.message_id not in self.done
                self.done.add(item.message_id)

    def extend(self, item: Settlement) -> None:
        """Note that a hold has another end."""
        with self._lock:
            owner, _ = self._holds[item.message_id]
            self._holds[item.message_id] = owner, item.end(self._hand.now)

    def held(self, claim_id: str) -> list[str]:
        """Return what a claim holds now."""
        now = self._hand.now
        with self._lock:
            return [
                name
                for name, (owner, end) in self._holds.items()
                if owner == claim_id and end > now
            ]


class Worker:
    """Claims and settles, and forgets some claims, as if it had died."""

    def __init__(self, queue: Probe, book: Book, seed: int) -> None:
        self._queue = queue
        self._book = book
        self._chance = random.Random(seed)
        self._claims: list[Claim] = []

    def work(self) -> None:
        """Do something at one moment."""
        chance = self._chance
        for claim in self._claims:
            self._settle(claim)
        claim = self._queue.claim(
            chance.randint(1, 8), ttl=chance.randint(2, 30)
        )
        if claim:
            self._book.take(claim)
            self._claims.append(claim)
            self._settle(claim)
        self._claims = [one for one in self._claims if chance.random() < 0.7]

    def _settle(self, claim: Claim) -> None:
        held = set(self._book.held(claim.id))
        names = [
            one for one in ids(claim.messages) if self._chance.random() < 0.6
        ]
        settlements = [self._settlement(name) for name in names]
        for item in settlements:
            if item.message_id in held:
                self._book.let_go(item)
        results = self._queue.settle(claim.id, *settlements)
        assert results == ([name in held for name in names] if held else None)
        for item in settlements:
            if item.message_id in held and item.act is Act.EXTEND:
                self._book.extend(item)

    def _settlement(self, name: str) -> Settlement:
        seconds = self._chance.randint(0, 9)
        return self._chance.choice(
            (
                deleted(name),
                released(name),
                released(name, seconds),
                extended(name, seconds + 1),
            )
        )


def settle_all(
    queues: Sequence[Probe], posted: Sequence[str], hand: Hand
) -> None:
    """Let a worker for each view of a queue work until all is deleted."""
    book = Book(hand)
    workers = [Worker(one, book, seed) for seed, one in enumerate(queues)]
    for _ in range(200):
        each(Worker.work, workers)
        if book.done == set(posted):
            break
        hand.move(3)
    assert book.done == set(posted)
    assert queues[0].everything() == []
