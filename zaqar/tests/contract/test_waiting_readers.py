# SPDX-License-Identifier: Apache-2.0
"""Requests that wait to read what another process releases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from zaqar.objects import Scope
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.store_watch_interface import MAX_FREE
from zaqar.tests.contract.probe import ALICE, BOB, Probe
from zaqar.waiting.change_listener import ChangeListener
from zaqar.waiting.waiters import Ticket, Waiters
from zaqar.waiting.waiters_of_one_queue import READ_AGAIN_AFTER

JOBS = Scope('p', 'jobs')

#: Seconds for a busy machine; much less are taken.
PATIENCE = 60.0


class Nobody:
    """Watches nothing."""

    def begin(self, scope: Scope) -> None: ...

    def end(self, scope: Scope) -> None: ...

    def expire_at(self, until: float) -> None: ...


class List:
    """A request that waits for messages that others have posted."""

    def __init__(self, queue: Probe, waiters: Waiters) -> None:
        self._queue = queue
        self._ticket: Ticket = waiters.enter(JOBS, takes=False, seconds=300)
        self.attempts: list[float] = []
        self.is_answered = threading.Event()
        self._read()

    def _read(self) -> None:
        if self._ticket.is_over:
            return
        self.attempts.append(time.monotonic())
        page = self._queue.list(exclude_client=ALICE)
        if page.messages:
            self._ticket.served(len(page.messages))
            self.is_answered.set()
        elif self._ticket.emptied(page):
            self._ticket.park(self._read)

    def read(self, times: int) -> None:
        """Return when it has read so often."""
        end = time.monotonic() + PATIENCE
        while len(self.attempts) < times:
            assert not self.is_answered.wait(0.05)
            assert time.monotonic() < end


Waiting = Callable[[], List]


@pytest.fixture
def waiting(queue: Probe) -> Iterator[Waiting]:
    """Have a request wait for the queue."""
    waiters = Waiters(Nobody())
    listener = ChangeListener(queue.store, waiters)
    listener.start()

    def begin() -> List:
        request = List(queue, waiters)
        listener.add(queue.qid, JOBS)
        return request

    yield begin
    waiters.close()
    listener.close()
    listener.join()


@pytest.mark.parametrize('number', [MAX_FREE // 2, MAX_FREE + 20])
def test_a_release_by_another_process_ends_a_wait(
    queue: Probe, beside: MessageStore, waiting: Waiting, number: int
) -> None:
    queue.post('a', 'b', client=BOB)
    elsewhere = Probe(beside, queue.hand, queue.qid)
    one, other = elsewhere.take(1), elsewhere.take(1)
    queue.post(*range(number), client=ALICE)
    request = waiting()
    # Once more when it is looked at first, then while a look tells nothing.
    request.read(2 if number < MAX_FREE else 4)
    elsewhere.release(other.id)
    assert request.is_answered.wait(PATIENCE)
    seconds = time.monotonic() - request.attempts[0]
    assert len(request.attempts) <= 4 + seconds / READ_AGAIN_AFTER
    elsewhere.release(one.id)


def test_readers_cost_nothing_where_nothing_is_claimed(
    queue: Probe, waiting: Waiting
) -> None:
    queue.post(*range(MAX_FREE + 20), client=ALICE)
    request = waiting()
    request.read(2)
    assert not request.is_answered.wait(3)
    assert len(request.attempts) <= 3
