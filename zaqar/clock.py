# SPDX-License-Identifier: Apache-2.0
"""What time it is, as the servers behind the stores see it.

Several API servers share a store; their own clocks may be minutes apart. All
lifetimes are therefore measured by the store's clock: ours plus an offset,
which is sampled from the server now and then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Seconds for which a sampled offset is good.
SAMPLE_INTERVAL = 60.0


def wall_ms() -> int:
    """Return this process's idea of now, in milliseconds."""
    return time.time_ns() // 1_000_000


class Clock:
    """The clock of a store.

    :param sample: asks the server for its time in milliseconds; None for a
        store that shares our machine, hence our clock
    :param wall: this process's clock, in milliseconds; tests pass their own
    """

    def __init__(
        self,
        sample: Callable[[], int] | None = None,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        self._sample = sample
        self._wall = wall
        self._offset = 0
        self._due = 0.0
        self._failure: Exception | None = None
        self._lock = threading.Lock()

    def now(self) -> int:
        """Return now in milliseconds.

        :raises StoreUnavailable: the offset is due and cannot be sampled
        """
        if self._sample is not None and time.monotonic() >= self._due:
            self._refresh(self._sample)
        return self._wall() + self._offset

    def _refresh(self, sample: Callable[[], int]) -> None:
        # One thread asks; the others go on with the old offset. Where there
        # is none yet they wait for it, unless the last who asked did so in
        # vain: then they are told, since they may have waited for a thread.
        known = self._failure
        is_first = self._due == 0.0
        if not self._lock.acquire(blocking=is_first and known is None):
            if is_first and known is not None:
                raise _afresh(known)
            return
        try:
            if time.monotonic() < self._due:
                return
            if self._failure is not None and self._failure is not known:
                # Somebody asked in vain while we waited. One after another
                # would wait for the same silence.
                raise _afresh(self._failure)
            before = self._wall()
            there = self._asked(sample)
            # The server looked at its clock about half way.
            self._offset = there - (before + self._wall()) // 2
            self._failure = None
            self._due = time.monotonic() + SAMPLE_INTERVAL
        finally:
            self._lock.release()

    def _asked(self, sample: Callable[[], int]) -> int:
        try:
            return sample()
        except Exception as error:
            self._failure = error
            raise


def _afresh(failure: Exception) -> Exception:
    """Return a failure to raise again.

    It does not keep what all others it was raised to had at hand.
    """
    return failure.with_traceback(None)
