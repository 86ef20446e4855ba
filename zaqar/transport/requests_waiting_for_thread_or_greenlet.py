# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for their turn to be begun, in a thread or greenlet.

Projects take turns, so that one with many requests does not hold up the
others.
"""

import collections
import threading
from collections.abc import Callable

#: Bytes of all requests that wait, among them those whose clients have gone;
#: beyond them a project may have its share still.
MAX_WAITING_BYTES = 64 * 1024 * 1024

#: How much more than that they hold, whoever they are of.
_MOST = 2

#: Requests that wait before clients may lose patience.
MANY = 100

Work = Callable[[], None]


class HeldBytes:
    """The bytes of all requests of a worker that wait, in whatever line."""

    def __init__(self) -> None:
        # The lines of threads and of greenlets have it in common.
        self._lock = threading.Lock()
        #: How many requests of each owner wait, and their bytes.
        self._owned: dict[str, tuple[int, int]] = {}
        self._total = 0

    def add(self, owner: str, size: int) -> bool:
        """Note a request, if there is room for it.

        :param size: bytes that it holds, 0 for what is never refused
        """
        with self._lock:
            count, own = self._owned.get(owner, (0, 0))
            own += size
            total = self._total + size
            if size and self._owned and total > MAX_WAITING_BYTES:
                others = len(self._owned) - (count > 0)
                share = MAX_WAITING_BYTES // (others + 1)
                if own > share or total > _MOST * MAX_WAITING_BYTES:
                    return False
            self._owned[owner] = count + 1, own
            self._total = total
            return True

    def subtract(self, owner: str, size: int) -> None:
        """Note that a request does not wait any more."""
        with self._lock:
            count, own = self._owned[owner]
            if count == 1:
                del self._owned[owner]
            else:
                self._owned[owner] = count - 1, own - size
            self._total -= size


class RequestLine:
    """The requests that wait, for use by one thread at a time.

    What was woken takes turns with the rest: a message may wake thousands.

    :param held: counts their bytes, and those of other lines
    :ivar count: how much waits, without what was woken
    """

    def __init__(self, held: HeldBytes | None = None) -> None:
        self.held = held or HeldBytes()
        #: By owners, the one whose turn it is first.
        self._waiting: dict[str, collections.deque[tuple[Work, int]]] = {}
        self.count = 0
        self._woken: collections.deque[Work] = collections.deque()
        self._was_woken = False

    def add_woken(self, work: Work) -> None:
        """Have work wait that has waited for messages before."""
        self._woken.append(work)

    def add(self, work: Work, size: int, owner: str) -> bool:
        """Have work wait for its turn, if there is room for it.

        :param size: bytes that it holds, 0 for what is never refused
        :param owner: whose turn it needs, '' where that is not known
        """
        if not self.held.add(owner, size):
            return False
        items = self._waiting.get(owner)
        if items is None:
            items = self._waiting[owner] = collections.deque()
        items.append((work, size))
        self.count += 1
        return True

    def take(self) -> Work | None:
        """Take the work whose turn it is, if any waits."""
        if self._woken and not (self._waiting and self._was_woken):
            self._was_woken = True
            return self._woken.popleft()
        self._was_woken = False
        if not self._waiting:
            return None
        owner = next(iter(self._waiting))
        items = self._waiting.pop(owner)
        work, size = items.popleft()
        if items:
            # Behind all others.
            self._waiting[owner] = items
        self.held.subtract(owner, size)
        self.count -= 1
        return work
