# SPDX-License-Identifier: Apache-2.0
"""Work that one thread does for all threads that want it."""

import threading
from collections.abc import Callable

from zaqar.event_loop_greenlets import offload_to
from zaqar.storage.redis.node_connection_pool import ConnectionLost


class SingleFlight:
    """Work that one thread does for all that want it done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._failure = ConnectionLost('')

    def run(
        self, work: Callable[[], None], is_done: Callable[[], bool]
    ) -> None:
        """Do work, or wait for the thread that does and share its result.

        In turn, all would wait for the same time-out.

        :raises ConnectionLost: it failed
        """
        offload_to(self, self._run, work, is_done)

    def _run(
        self, work: Callable[[], None], is_done: Callable[[], bool]
    ) -> None:
        seen = self._failures
        with self._lock:
            if is_done():
                return
            if self._failures != seen:
                failure = self._failure
                raise ConnectionLost(str(failure)) from failure
            try:
                work()
            except ConnectionLost as error:
                self._failures += 1
                self._failure = error
                raise

    def try_run(self, work: Callable[[], None]) -> None:
        """Do work unless another thread is at it; ignore a failure."""
        offload_to(self, self._try_run, work)

    def _try_run(self, work: Callable[[], None]) -> None:
        if self._lock.acquire(blocking=False):
            try:
                work()
            except ConnectionLost:
                return
            finally:
                self._lock.release()
