# SPDX-License-Identifier: Apache-2.0
"""Slots of requests: how many of a process run at a time; others wait.

granian's threads read headers and bodies, too. If a request waited in its pool
it would wait twice, and requests that wait for a store that does not respond
would keep all others from being read, and from being refused in time.

Projects take turns, so that one with many requests does not hold up the
others.
"""

import collections
import logging
import threading
from collections.abc import Callable

LOG = logging.getLogger(__name__)

#: Bytes of all requests that wait, among them those whose clients have gone;
#: beyond them a project may have its share still.
MAX_WAITING_BYTES = 64 * 1024 * 1024

#: How much more than that they hold, whoever they are of.
_MOST = 2

#: Requests that wait before clients may lose patience.
MANY = 100

Work = Callable[[], None]


class _Owned:
    """What waits for one owner, each with its bytes."""

    __slots__ = ('held', 'items')

    def __init__(self) -> None:
        self.items: collections.deque[tuple[Work, int]] = collections.deque()
        self.held = 0


class RequestSlots:
    """Runs work in the threads that bring it, or that finish other work.

    What was woken takes turns with the rest: a message may wake thousands.

    :param count: how much runs at a time
    :ivar waiting: how much waits
    """

    def __init__(self, count: int) -> None:
        self._count = count
        #: The threads that have one each: work that ends often brings work,
        #: and would take all slots for a single thread.
        self._threads: set[int] = set()
        self._lock = threading.Lock()
        #: By owners, the one whose turn it is first.
        self._waiting: dict[str, _Owned] = {}
        self.waiting = 0
        self._woken: collections.deque[Work] = collections.deque()
        self._was_woken = False
        self._held = 0

    @property
    def are_crowded(self) -> bool:
        """Tell whether what comes now waits for long."""
        return self.waiting >= MANY

    def run(
        self,
        work: Work,
        size: Callable[[], int] = lambda: 0,
        *,
        owner: Callable[[], str] = lambda: '',
        is_woken: bool = False,
    ) -> bool:
        """Run work, now or in its turn.

        What a thread brings that has a slot runs after its current work.

        :param size: returns the bytes that it holds meanwhile, 0 for what is
            never refused
        :param owner: returns whose turn it needs, '' where that is not known
        :param is_woken: whether it has waited for messages before
        :returns: False if nothing was done, since too much waits
        """
        thread = threading.get_ident()
        with self._lock:
            if len(self._threads) == self._count or thread in self._threads:
                if is_woken:
                    self._woken.append(work)
                    return True
                return self._wait(work, size(), owner())
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
            owner = next(iter(self._waiting))
            owned = self._waiting.pop(owner)
            work, size = owned.items.popleft()
            if owned.items:
                # Behind all others.
                self._waiting[owner] = owned
            owned.held -= size
            self._held -= size
            self.waiting -= 1
            return work

    def _wait(self, work: Work, size: int, owner: str) -> bool:
        """Have work wait for its turn, if there is room for it."""
        owned = self._waiting.get(owner)
        if size and self._waiting:
            total = self._held + size
            if total > MAX_WAITING_BYTES:
                others = len(self._waiting) - (owned is not None)
                share = MAX_WAITING_BYTES // (others + 1)
                own = size if owned is None else owned.held + size
                if own > share or total > _MOST * MAX_WAITING_BYTES:
                    return False
        if owned is None:
            owned = self._waiting[owner] = _Owned()
        owned.items.append((work, size))
        owned.held += size
        self._held += size
        self.waiting += 1
        return True
