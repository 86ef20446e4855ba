# SPDX-License-Identifier: Apache-2.0
"""Whether pools answer, as this process observes it.

A queue in a pool that is down fails for as long as the pool does. Hence a pool
is pinged before it gets a queue, every few seconds and by one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from zaqar.errors import StoreUnavailable
from zaqar.storage.base import MessageStore

#: Seconds for which the result of a ping is used.
FRESH = 5.0


class _Observation:
    """The last ping of a pool.

    :ivar until: when to ping again
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.answers: bool | None = None
        self.until = -1.0


class PoolHealth:
    """Pings pools and remembers which of them answer.

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
        self._observed: dict[str, _Observation] = {}

    def answers(self, name: str) -> bool:
        """Tell whether a pool answers."""
        with self._lock:
            last = self._observed.setdefault(name, _Observation())
        if self._timer() < last.until:
            return bool(last.answers)
        # Other threads use the last answer, and wait only for the first one.
        if last.lock.acquire(blocking=last.answers is None):
            try:
                if self._timer() >= last.until:
                    last.answers = self._ping(name)
                    last.until = self._timer() + FRESH
            finally:
                last.lock.release()
        return bool(last.answers)

    def forget(self, name: str) -> None:
        """Ping a pool again: it is gone or has another address."""
        with self._lock:
            self._observed.pop(name, None)

    def _ping(self, name: str) -> bool:
        try:
            self._opened(name).ping()
        except StoreUnavailable:
            return False
        return True
