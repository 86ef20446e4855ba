# SPDX-License-Identifier: Apache-2.0
"""A cache of the queues whose records were read lately."""

import contextlib
import math
from collections.abc import Callable

from zaqar.bounded_cache import BoundedCache
from zaqar.objects import Queue, Scope

#: Seconds for which a record is cached, and the most records; the oldest are
#: evicted.
FRESH = 5.0
CACHED = 10_000

#: Seconds between two looks for records that are not fresh any more.
FORGETTING = 0.5


class QueueRecordCache(BoundedCache[Scope, tuple[Queue, float]]):
    """Queues, each with the time until which it is fresh.

    :param timer: seconds by a clock that never goes back
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        super().__init__(CACHED)
        self._timer = timer
        self._next_look = -math.inf

    def add(self, queue: Queue) -> Queue:
        now = self._timer()
        # At the end, so that those come first that have been read longest ago.
        self.pop(queue.scope, None)
        self[queue.scope] = queue, now + FRESH
        if now >= self._next_look:
            self._next_look = now + FORGETTING
            self._forget_stale(now)
        return queue

    def _forget_stale(self, now: float) -> None:
        """Forget queues that are not fresh: their metadata may be large."""
        # Other threads may add or remove some meanwhile.
        with contextlib.suppress(KeyError, RuntimeError, StopIteration):
            while self[scope := next(iter(self))][1] <= now:
                self.pop(scope, None)
