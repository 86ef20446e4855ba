# SPDX-License-Identifier: Apache-2.0
"""Records of queues: what they hold, and a cache of those read lately."""

import contextlib
import math
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from zaqar.bounded_cache import BoundedCache
from zaqar.objects import Former, Queue, Record, Scope

#: Seconds for which a record is cached, and the most records; the oldest are
#: evicted.
FRESH = 5.0
CACHED = 10_000

#: Seconds between two looks for records that are not fresh any more.
FORGETTING = 0.5


def queue(scope: Scope, record: Record) -> Queue:
    """Return the queue of a record."""
    data = record.data
    former: tuple[Former, ...] = ()
    if data.get('former'):
        former = tuple(Former(*place) for place in data['former'])
    return Queue(
        scope,
        data['qid'],
        data.get('metadata') or {},
        record.version,
        data.get('pool') or '',
        former,
        data.get('created_at') or 0,
        data.get('changed_at') or 0,
        data.get('origin') or '',
    )


def fresh(scope: Scope, metadata: Mapping[str, Any], now: int) -> Queue:
    """Return a queue that is to be created."""
    qid = secrets.token_hex(16)
    return Queue(scope, qid, metadata, 1, created_at=now, changed_at=now)


def data(queue: Queue) -> dict[str, Any]:
    """Return what is recorded of a queue; what is not set takes no space."""
    recorded: dict[str, Any] = {
        'qid': queue.qid,
        'metadata': queue.metadata,
    }
    for name in ('created_at', 'changed_at', 'pool', 'origin'):
        if value := getattr(queue, name):
            recorded[name] = value
    if queue.former:
        recorded['former'] = [
            [place.pool, place.qid, place.until] for place in queue.former
        ]
    return recorded


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
