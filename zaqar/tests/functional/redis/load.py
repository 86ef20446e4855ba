# SPDX-License-Identifier: Apache-2.0
"""Callers that go on through whatever happens, and keep books."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self, TypeVar

from zaqar.errors import StoreUnavailable
from zaqar.storage.abstract_stores import MessageStore
from zaqar.tests.contract.probe import Hand, Probe, bodies, token

T = TypeVar('T')

#: Seconds within which a caller must know.
BOUND = 5.0

#: Seconds for which a caller goes on asking.
PATIENCE = 60.0


class Load:
    """Posters and claimers of one queue.

    Each post and each claim is repeated under its token until it is answered;
    what is claimed is deleted.

    :ivar qid: the queue
    :ivar posted: numbers whose posts were acknowledged
    :ivar taken: numbers that were handed out
    :ivar slowest: seconds of the slowest call
    :ivar refusals: calls that found the store unavailable
    """

    def __init__(self, store: MessageStore, posters: int = 2) -> None:
        self._store = store
        self.qid = token()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._next = 0
        self.posted: list[int] = []
        self.taken: list[int] = []
        self.slowest = 0.0
        self.refusals = 0
        self._errors: list[BaseException] = []
        works = [*[self._post] * posters, self._claim, self._claim]
        self._threads = [
            threading.Thread(target=self._run, args=(work,)) for work in works
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Return when so many more posts have been acknowledged."""
        wanted = len(self.posted) + more
        end = time.monotonic() + PATIENCE
        while len(self.posted) < wanted and not self._errors:
            assert time.monotonic() < end, 'no post is acknowledged'
            time.sleep(0.01)

    def wait_for_refusal(self) -> None:
        """Return when a call has found the store unavailable."""
        wanted = self.refusals + 1
        end = time.monotonic() + PATIENCE
        while self.refusals < wanted and not self._errors:
            assert time.monotonic() < end, 'no call is refused'
            time.sleep(0.01)

    def go_on_with(self, store: MessageStore) -> None:
        """Let later calls use another store."""
        self._store = store

    def check(self) -> None:
        """Take the rest; everything must have been handed out once."""
        if self._errors:
            raise self._errors[0]
        queue = self._queue()
        self.taken += bodies(queue.pop(100_000))
        assert queue.stats().total == 0
        assert sorted(self.taken) == sorted(self.posted)
        assert self.slowest < BOUND

    def _run(self, work: Callable[[], None]) -> None:
        try:
            while not self._ended.is_set():
                work()
        except BaseException as error:
            self._errors.append(error)

    def _queue(self) -> Probe:
        return Probe(self._store, Hand(), self.qid)

    def _post(self) -> None:
        with self._lock:
            number, self._next = self._next, self._next + 1
        name = token()
        self._insist(lambda: self._queue().post(number, token=name))
        self.posted.append(number)

    def _claim(self) -> None:
        name = token()
        claim = self._insist(lambda: self._queue().claim(3, claim_id=name))
        if claim is None:
            time.sleep(0.005)
            return
        for message in claim.messages:
            self.taken += bodies([message])
            self._insist(
                lambda message=message: self._queue().delete(
                    message.id, claim.id
                )
            )

    def _insist(self, call: Callable[[], T]) -> T:
        end = time.monotonic() + PATIENCE
        while True:
            begun = time.monotonic()
            try:
                return call()
            except StoreUnavailable:
                self.refusals += 1
                assert time.monotonic() < end, 'the store stays unavailable'
            finally:
                took = time.monotonic() - begun
                self.slowest = max(self.slowest, took)
