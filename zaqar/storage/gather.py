# SPDX-License-Identifier: Apache-2.0
"""Group commit: what arrives while a commit is under way goes together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar('Item')
Answer = TypeVar('Answer')

#: Queues share this many lanes.
LANES = 64

#: Messages, roughly, of one transaction.
MOST = 200


class _Ticket(Generic[Item, Answer]):
    __slots__ = ('answer', 'done', 'error', 'item', 'key')

    def __init__(self, key: str, item: Item) -> None:
        self.key = key
        self.item = item
        self.done = False
        self.answer: Answer | None = None
        self.error: BaseException | None = None


def key(qid: str, version: int | None) -> str:
    """Return the key of posts to a queue that may go together.

    Those with old metadata must not keep others from being stored.
    """
    return f'{qid} {version}'


def qid_of(key: str) -> str:
    """Return the queue of a key."""
    return key.partition(' ')[0]


class Gather(Generic[Item, Answer]):
    """Merges calls that are made at the same time for the same key.

    The first thread of a lane works at once. Those that come meanwhile queue
    up; when it is done, the next one does the work of all that share its key.

    :param work: does the work of several items of one key
    :param patience: seconds a caller waits for its lane before it works
        alone; 0 to never merge
    """

    def __init__(
        self,
        work: Callable[[str, Sequence[Item]], Sequence[Answer]],
        patience: float,
    ) -> None:
        self._work = work
        self._patience = patience
        self._busy = [threading.Lock() for _ in range(LANES)]
        self._waiting: list[list[_Ticket[Item, Answer]]] = [
            [] for _ in range(LANES)
        ]
        self._mutex = threading.Lock()

    def run(self, key: str, item: Item) -> Answer:
        """Have an item worked on, alone or with others."""
        lane = hash(key) % LANES
        ticket: _Ticket[Item, Answer] = _Ticket(key, item)
        if not self._patience:
            return self._work(key, [item])[0]
        with self._mutex:
            self._waiting[lane].append(ticket)
        busy = self._busy[lane]
        if not busy.acquire(timeout=self._patience):
            if self._withdraw(lane, ticket):
                return self._work(key, [item])[0]
            busy.acquire()
        try:
            if not ticket.done:
                self._serve(self._company(lane, ticket))
        finally:
            busy.release()
        if ticket.error is not None:
            raise ticket.error
        return ticket.answer  # type: ignore[return-value]

    def _withdraw(self, lane: int, ticket: _Ticket[Item, Answer]) -> bool:
        with self._mutex:
            if ticket in self._waiting[lane]:
                self._waiting[lane].remove(ticket)
                return True
        return False

    def _company(
        self, lane: int, ticket: _Ticket[Item, Answer]
    ) -> list[_Ticket[Item, Answer]]:
        with self._mutex:
            waiting = self._waiting[lane]
            others = [
                other
                for other in waiting
                if other.key == ticket.key and other is not ticket
            ]
            chosen = [ticket, *others[: MOST - 1]]
            self._waiting[lane] = [
                other for other in waiting if other not in chosen
            ]
        return chosen

    def _serve(self, tickets: Sequence[_Ticket[Item, Answer]]) -> None:
        items = [ticket.item for ticket in tickets]
        try:
            answers = self._work(tickets[0].key, items)
        except Exception as error:
            for ticket in tickets:
                ticket.error = error
        else:
            for ticket, answer in zip(tickets, answers, strict=True):
                ticket.answer = answer
        finally:
            for ticket in tickets:
                ticket.done = True
