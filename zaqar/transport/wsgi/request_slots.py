# SPDX-License-Identifier: Apache-2.0
"""How many requests of a process run at a time; the others wait in order.

granian's threads read headers and bodies, too. If a request waited in its pool
it would wait twice, and requests that wait for a store that does not respond
would keep all others from being read, and from being refused in time.
"""

import collections
import logging
import threading
from collections.abc import Callable

LOG = logging.getLogger(__name__)

#: Bytes of all requests that wait, among them those whose clients have gone.
MAX_WAITING_BYTES = 64 * 1024 * 1024

#: Requests that wait before clients may lose patience.
MANY = 100

Work = Callable[[], None]


class RequestSlots:
    """Runs work in the threads that bring it, or that finish other work.

    What was woken takes turns with the rest: a message may wake thousands.

    :param count: how much runs at a time
    """

    def __init__(self, count: int) -> None:
        self._count = count
        #: The threads that have one each: work that ends often brings work,
        #: and would take all slots for a single thread.
        self._threads: set[int] = set()
        self._lock = threading.Lock()
        self._waiting: collections.deque[tuple[Work, int]] = (
            collections.deque()
        )
        self._woken: collections.deque[Work] = collections.deque()
        self._was_woken = False
        self._held = 0

    @property
    def are_crowded(self) -> bool:
        """Tell whether what comes now waits for long."""
        return len(self._waiting) >= MANY

    def run(
        self,
        work: Work,
        size: Callable[[], int] = lambda: 0,
        *,
        is_woken: bool = False,
    ) -> bool:
        """Run work, now or in its turn.

        What a thread brings that has a slot runs after its current work.

        :param size: returns the bytes that it holds meanwhile, 0 for what is
            never refused
        :param is_woken: whether it has waited for messages before
        :returns: False if nothing was done, since too much waits
        """
        thread = threading.get_ident()
        with self._lock:
            if len(self._threads) == self._count or thread in self._threads:
                if is_woken:
                    self._woken.append(work)
                    return True
                held = size()
                is_too_much = self._held + held > MAX_WAITING_BYTES
                if held and self._waiting and is_too_much:
                    return False
                self._waiting.append((work, held))
                self._held += held
                return True
            self._threads.add(thread)
        following: Work | None = work
        while following is not None:
            try:
                following()
            except BaseException:
                # The slot must not be lost with it.
                LOG.exception('A request failed')
            following = self._following(thread)
        return True

    def _following(self, thread: int) -> Work | None:
        """Return what waits, or free the slot of a thread."""
        with self._lock:
            if self._woken and not (self._waiting and self._was_woken):
                self._was_woken = True
                return self._woken.popleft()
            self._was_woken = False
            if not self._waiting:
                self._threads.remove(thread)
                return None
            work, size = self._waiting.popleft()
            self._held -= size
            return work
