# SPDX-License-Identifier: Apache-2.0
"""The time by the clocks of the servers behind the stores.

Several API servers share a store; their own clocks may be minutes apart, and
may be set while they run. All lifetimes are therefore measured by the store's
clock: its time at the last query, plus what a monotonic clock says has passed
since. The machine's own idea of the time is only a witness: when it
moves otherwise than the monotonic clock, it was set, or the machine slept, and
the store is queried again before any time is returned.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from zaqar import request_deadline
from zaqar.event_loop_greenlets import offload_to

#: Seconds for which a sample is good. Nothing here tells that a hypervisor
#: has paused the machine until its clock is set right.
SAMPLE_INTERVAL = 10.0

#: Seconds that the server has for its answer, at least.
LEAST_TIME = 1.2

#: Milliseconds by which the two clocks of the machine may come apart before a
#: sample is void: more than slewing does, less than anybody counts on.
STEP = 1000


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class _Sample(NamedTuple):
    """The times of three clocks at one moment, in milliseconds."""

    server: int
    timer: int
    wall: int


class Clock:
    """The clock of a store.

    :param sample: asks the server for its time in milliseconds; None for a
        store that shares our machine, hence our clock
    :param wall: this process's clock, in milliseconds; tests pass their own
    :param timer: milliseconds by a clock that nobody sets
    """

    def __init__(
        self,
        sample: Callable[[], int] | None = None,
        wall: Callable[[], int] = wall_ms,
        timer: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._sample = sample
        self._wall = wall
        self._timer = timer
        self._last: _Sample | None = None
        self._failure: Exception | None = None
        self._lock = threading.Lock()

    def now(self) -> int:
        """Return now in milliseconds.

        :raises StoreUnavailable: a sample is due and cannot be taken
        """
        if self._sample is None:
            return self._wall()
        last, timer = self._last, self._timer()
        # As _is_due() says, without its calls: each request comes by here.
        if (
            last is None
            or timer - last.timer >= SAMPLE_INTERVAL * 1000
            or not -STEP
            <= self._wall() - last.wall - timer + last.timer
            <= STEP
        ):
            last = offload_to(self, self._refreshed, self._sample)
            timer = self._timer()
        return last.server + timer - last.timer

    def server_now(self) -> int:
        """Query the server for its time, in milliseconds, before removals.

        :raises StoreUnavailable: it does not answer
        """
        if self._sample is None:
            return self._wall()
        return self._take(self._sample).server

    def _is_due(self, last: _Sample, timer: int) -> bool:
        age = timer - last.timer
        return age >= SAMPLE_INTERVAL * 1000 or self._is_void(last, timer)

    def _is_void(self, last: _Sample, timer: int) -> bool:
        """Tell whether our clock was set since, or the machine suspended."""
        drift = self._wall() - last.wall - (timer - last.timer)
        return abs(drift) > STEP

    def _refreshed(self, sample: Callable[[], int]) -> _Sample:
        # One thread queries; the others use the old sample. Without a good
        # one they wait, unless the last query failed: they may have waited
        # for a thread already.
        failure, last = self._failure, self._last
        is_good = last is not None and not self._is_void(last, self._timer())
        if not self._lock.acquire(blocking=not is_good and failure is None):
            if is_good and last is not None:
                return last
            if failure is not None:
                raise _afresh(failure)
        try:
            last = self._last
            if last is not None and not self._is_due(last, self._timer()):
                return last
            if self._failure is not None and self._failure is not failure:
                # Somebody asked in vain while we waited. One after another
                # would wait for the same silence.
                raise _afresh(self._failure)
            return self._take(sample)
        finally:
            self._lock.release()

    def _take(self, sample: Callable[[], int]) -> _Sample:
        before, wall = self._timer(), self._wall()
        try:
            # A failure counts for all that wait, who may have more time left
            # than the request that asks for them.
            left = request_deadline.left(request_deadline.REQUEST)
            with request_deadline.within(max(left, LEAST_TIME)):
                server = sample()
        except Exception as error:
            self._failure = error
            raise
        # The server looked at its clock about half way. The wall is that of
        # before, so that a machine that slept meanwhile asks again.
        half = (self._timer() - before) // 2
        self._last = last = _Sample(server, before + half, wall + half)
        self._failure = None
        return last


def _afresh(failure: Exception) -> Exception:
    """Return a failure to raise again, without earlier tracebacks."""
    return failure.with_traceback(None)
