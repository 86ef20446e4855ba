# SPDX-License-Identifier: Apache-2.0
"""A lock that threads and event loops get in the order of their coming."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable


class FairLock:
    """Lets one user at a time have something, in the order of their coming.

    An event loop, which may not block, is called when it is its turn.
    """

    def __init__(self) -> None:
        #: Nobody calls anything that waits while holding it.
        self._mutex = threading.Lock()
        self._is_taken = False
        self._waiting: deque[Callable[[], object]] = deque()

    def take(self, call: Callable[[], object]) -> bool:
        """Take it now, or have a function called once it is taken for us.

        :param call: raises RuntimeError if its loop has ended
        :returns: whether it is ours now
        """
        with self._mutex:
            if self._is_taken:
                self._waiting.append(call)
                return False
            self._is_taken = True
            return True

    def take_within(self, seconds: float) -> bool:
        """Wait for it in a thread; tell whether it is ours."""
        turn = threading.Lock()
        turn.acquire()
        call = turn.release
        if self.take(call) or turn.acquire(timeout=seconds):
            return True
        with self._mutex:
            if call in self._waiting:
                self._waiting.remove(call)
                return False
        # It has become ours meanwhile.
        return True

    def give_back(self) -> None:
        """Let the next one have it."""
        while True:
            with self._mutex:
                if not self._waiting:
                    self._is_taken = False
                    return
                call = self._waiting.popleft()
            with contextlib.suppress(RuntimeError):
                call()
                return
