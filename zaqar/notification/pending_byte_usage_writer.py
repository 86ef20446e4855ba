# SPDX-License-Identifier: Apache-2.0
"""Counts of the bytes of pending deliveries, which quotas are compared with.

What this notifier stores and deletes is summed up in memory, and written every
few seconds. A notifier that is killed loses what it has not written; whenever
a store has nothing pending, its counts begin anew.

:source: reference/delivery, "Quota of pending deliveries"
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from zaqar.controllers import pending_byte_usage
from zaqar.controllers.caller_and_services import Context
from zaqar.errors import StoreUnavailable

LOG = logging.getLogger(__name__)

#: Seconds between two writes.
INTERVAL = 5.0

#: Takes bytes that a project has more, or below zero less.
Count = Callable[[str, int], None]


def count_nothing(project: str, size: int) -> None:
    """Where nobody counts."""


class PendingByteCounter:
    """What this notifier adds to the counts, and takes from them.

    Pools are known by name, '' for the store that the configuration names.

    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self, ctx: Context, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = ctx.catalogue.management
        self._is_on = ctx.quotas.settings.are_on
        self._timer = timer
        self._lock = threading.Lock()
        self._changes: Counter[tuple[str, str]] = Counter()
        self._empty: set[str] = set()
        self._flush_at = 0.0

    def add(self, pool: str, project: str, size: int) -> None:
        """Count bytes of a project that are stored, or below zero deleted."""
        if self._is_on and size:
            with self._lock:
                self._changes[pool, project] += size

    def note_empty(self, pool: str) -> None:
        """Note that a pool has nothing pending."""
        if not self._is_on:
            return
        with self._lock:
            for key in [key for key in self._changes if key[0] == pool]:
                del self._changes[key]
            self._empty.add(pool)

    def flush(self, *, at_once: bool = False) -> None:
        """Write what was counted, if it is time; what fails is tried again."""
        if not self._is_on or (self._timer() < self._flush_at and not at_once):
            return
        self._flush_at = self._timer() + INTERVAL
        with self._lock:
            changes, self._changes = self._changes, Counter()
            empty, self._empty = self._empty, set()
        try:
            while empty:
                pending_byte_usage.reset(self._store, next(iter(empty)))
                empty.pop()
            while changes:
                (pool, project), change = next(iter(changes.items()))
                if change:
                    pending_byte_usage.add(self._store, pool, project, change)
                del changes[pool, project]
        except StoreUnavailable:
            LOG.warning('Pending bytes cannot be written; retrying later')
            with self._lock:
                self._changes.update(changes)
                self._empty |= empty
