# SPDX-License-Identifier: Apache-2.0
"""Which pools answer, as far as this process has seen.

A new queue stays where it is put: in a pool that is down it would fail for as
long as the pool does. Hence a pool is pinged before it gets a queue, once in a
few seconds and by one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from zaqar.errors import StoreUnavailable
from zaqar.storage.base import MessageStore

#: Seconds for which an answer, or its absence, is remembered.
FRESH = 5.0


class _Seen:
    """What is known of one pool.

    :ivar until: when to ping again
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.answers: bool | None = None
        self.until = -1.0


class PoolHealth:
    """Remembers which pools answer.

    :param opened: returns the open store of a pool
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        opened: Callable[[str], MessageStore],
        timer: Callable[[], float],
    ) -> None:
        self._opened = opened
        self._timer = timer
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    def answers(self, name: str) -> bool:
        """Tell whether a pool answers."""
        with self._lock:
            seen = self._seen.setdefault(name, _Seen())
        if self._timer() < seen.until:
            return bool(seen.answers)
        # Others go by what was known last, and wait only for a first answer.
        if seen.lock.acquire(blocking=seen.answers is None):
            try:
                if self._timer() >= seen.until:
                    seen.answers = self._pinged(name)
                    seen.until = self._timer() + FRESH
            finally:
                seen.lock.release()
        return bool(seen.answers)

    def forget(self, name: str) -> None:
        """Ping a pool again, which is gone or has another address."""
        with self._lock:
            self._seen.pop(name, None)

    def _pinged(self, name: str) -> bool:
        try:
            self._opened(name).ping()
        except StoreUnavailable:
            return False
        return True
