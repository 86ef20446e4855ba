# SPDX-License-Identifier: Apache-2.0
"""Group commit: requests that arrive during a commit share the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from zaqar import deadline
from zaqar.errors import StoreUnavailable

Item = TypeVar('Item')
Result = TypeVar('Result')

#: Locks that all keys share.
STRIPES = 64

#: Items of one batch.
MAX_BATCH = 200


class _Waiter(Generic[Item, Result]):
    __slots__ = ('done', 'error', 'item', 'key', 'result')

    def __init__(self, key: str, item: Item) -> None:
        self.key = key
        self.item = item
        self.done = False
        self.result: Result | None = None
        self.error: BaseException | None = None


def batch_key(qid: str, version: int | None) -> str:
    """Return the key of posts to a queue that may share a commit.

    Posts with stale metadata must not fail those with current metadata.
    """
    return f'{qid} {version}'


def qid_of(key: str) -> str:
    """Return the queue of a key."""
    return key.partition(' ')[0]


class Batcher(Generic[Item, Result]):
    """Merges concurrent calls with the same key.

    The first thread of a stripe works at once. Those that arrive meanwhile
    queue up; the next one to get the lock does the work of all with its key.

    :param work: processes several items of one key
    :param timeout: seconds a caller waits for its stripe before it works
        alone; 0 to never merge
    """

    def __init__(
        self,
        work: Callable[[str, Sequence[Item]], Sequence[Result]],
        timeout: float,
    ) -> None:
        self._work = work
        self._timeout = timeout
        self._locks = [threading.Lock() for _ in range(STRIPES)]
        self._waiting: list[list[_Waiter[Item, Result]]] = [
            [] for _ in range(STRIPES)
        ]
        self._mutex = threading.Lock()

    def run(self, key: str, item: Item) -> Result:
        """Process an item, alone or in a batch."""
        stripe = hash(key) % STRIPES
        waiter: _Waiter[Item, Result] = _Waiter(key, item)
        if not self._timeout:
            return self._work(key, [item])[0]
        with self._mutex:
            self._waiting[stripe].append(waiter)
        lock = self._locks[stripe]
        if not lock.acquire(timeout=self._timeout):
            if self._withdraw(stripe, waiter):
                return self._work(key, [item])[0]
            # Another thread works for us, within its own deadline.
            if not lock.acquire(timeout=deadline.left(threading.TIMEOUT_MAX)):
                raise StoreUnavailable
        try:
            if not waiter.done:
                self._run_batch(self._batch(stripe, waiter))
        finally:
            lock.release()
        if waiter.error is not None:
            raise waiter.error
        return waiter.result  # type: ignore[return-value]

    def _withdraw(self, stripe: int, waiter: _Waiter[Item, Result]) -> bool:
        with self._mutex:
            if waiter in self._waiting[stripe]:
                self._waiting[stripe].remove(waiter)
                return True
        return False

    def _batch(
        self, stripe: int, waiter: _Waiter[Item, Result]
    ) -> list[_Waiter[Item, Result]]:
        with self._mutex:
            waiting = self._waiting[stripe]
            others = [
                other
                for other in waiting
                if other.key == waiter.key and other is not waiter
            ]
            batch = [waiter, *others[: MAX_BATCH - 1]]
            self._waiting[stripe] = [
                other for other in waiting if other not in batch
            ]
        return batch

    def _run_batch(self, batch: Sequence[_Waiter[Item, Result]]) -> None:
        items = [waiter.item for waiter in batch]
        try:
            results = self._work(batch[0].key, items)
        except Exception as error:
            for waiter in batch:
                waiter.error = error
        else:
            for waiter, result in zip(batch, results, strict=True):
                waiter.result = result
        finally:
            for waiter in batch:
                waiter.done = True
