# SPDX-License-Identifier: Apache-2.0
"""The threads that answer requests; what they have no time for waits in turn.

Projects take turns, so that one with many requests does not hold up the
others.
"""

import collections
import logging
import queue
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


class RequestThreads:
    """Runs work, a limited number at a time.

    What was woken takes turns with the rest: a message may wake thousands.

    :param count: the threads
    :ivar waiting: how much waits, without what was woken
    """

    def __init__(self, count: int) -> None:
        self._count = count
        #: The one that has just gone to rest comes first, whose stack and
        #: connections are still at hand.
        self._calls: list[queue.SimpleQueue[Work]] = [
            queue.SimpleQueue() for _ in range(count)
        ]
        self._resting = list(range(count))
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

    @property
    def are_idle(self) -> bool:
        """Tell whether there is nothing to do."""
        return len(self._resting) == self._count

    def start(self) -> None:
        for number in range(self._count):
            threading.Thread(
                target=self._run,
                args=(number,),
                name=f'request-{number}',
                daemon=True,
            ).start()

    def put(
        self,
        work: Work,
        size: Callable[[], int] = lambda: 0,
        owner: Callable[[], str] = lambda: '',
    ) -> bool:
        """Have work done, now or in its turn.

        :param size: returns the bytes that it holds meanwhile, 0 for what is
            never refused
        :param owner: returns whose turn it needs, '' where that is not known
        :returns: False if nothing is done, since too much waits
        """
        with self._lock:
            return self._begin(work) or self._wait(work, size(), owner())

    def put_woken(self, work: Work) -> None:
        """Have work done that has waited for messages before."""
        with self._lock:
            if not self._begin(work):
                self._woken.append(work)

    def work(self, number: int = 0, *, waits: bool = True) -> bool:
        """Do what a thread is called for, and what waits by then.

        :param waits: whether to wait for it
        :returns: whether there was something
        """
        try:
            work: Work | None = self._calls[number].get(waits)
        except queue.Empty:
            return False
        while work is not None:
            try:
                work()
            except BaseException:
                # The thread must not be lost with it.
                LOG.exception('A request failed')
            with self._lock:
                work = self._take()
                if work is None:
                    self._resting.append(number)
        return True

    def _run(self, number: int) -> None:
        while True:
            self.work(number)

    # With the lock held.

    def _begin(self, work: Work) -> bool:
        """Call a thread that rests, if there is one."""
        if not self._resting:
            return False
        self._calls[self._resting.pop()].put(work)
        return True

    def _take(self) -> Work | None:
        """Take the work whose turn it is."""
        if self._woken and not (self._waiting and self._was_woken):
            self._was_woken = True
            return self._woken.popleft()
        self._was_woken = False
        if not self._waiting:
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
