# SPDX-License-Identifier: Apache-2.0
"""The threads that may wait for a store, so that the loop need not.

Python runs one thread at a time, and threads that want to run at once cost
more than they bring: on Redis, sixteen answer a quarter fewer requests than
two. Two are often both at Redis while frames wait; four are not. So four work,
and another one for each that has been at the same thing for a moment, which is
then waiting rather than working.
"""

import asyncio
import collections
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from zaqar import request_deadline

LOG = logging.getLogger(__name__)

#: Threads that work at a time, not counting those that wait.
BUSY = 4

#: Seconds after which one counts as waiting, and between two looks at that.
MOMENT = 0.005

#: Results that are handed over together while there is more to do.
TOGETHER = 8

Work = Callable[[], Any]
Done = Callable[[Any], None]
#: With the time since which it waits.
Item = tuple[Work, Done | None, float]

#: The part of the threads that one owner never has.
_SHARE = 4


class Workers:
    """A bounded number of threads.

    Waking the loop costs as much as its part of a request. What has been done
    is handed over in one go, a few at a time while there is more to do.

    Owners of work take turns, and none has all the threads, so that one who
    asks for much at a time does not hold up the others.
    """

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._count = count
        #: What each owner has asked for, the one whose turn it is first.
        self._queued: dict[str, collections.deque[Item]] = {}
        self._most = count - count // _SHARE
        self._busy: collections.Counter[str] = collections.Counter()
        self._ended: collections.deque[tuple[Done, Any]] = collections.deque()
        self._lock = threading.Lock()
        self._allowed = min(BUSY, count)
        self._is_awake = False
        self._is_watched = False
        #: Each is called by its own queue: the one that has just gone to rest
        #: comes first, whose stack and connection are still at hand.
        self._calls: list[queue.SimpleQueue[bool]] = [
            queue.SimpleQueue() for _ in range(count)
        ]
        self._resting = list(range(count))
        #: When each has begun what it is at, 0 for those that do nothing.
        self._began = [0.0] * count
        self._threads = [
            threading.Thread(
                target=self._live,
                args=(number,),
                name=f'worker-{number}',
                daemon=True,
            )
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def _active(self) -> int:
        return self._count - len(self._resting)

    def submit(
        self, work: Work, done: Done | None = None, owner: str = ''
    ) -> None:
        """Have work done; its result is given to ``done``, on the loop.

        Called on the loop. An exception of the work is logged, and ends
        there.
        """
        called = None
        with self._lock:
            queued = self._queued.get(owner)
            if queued is None:
                queued = self._queued[owner] = collections.deque()
            queued.append((work, done, time.monotonic()))
            if self._active < self._allowed and self._has_room(owner):
                called = self._resting.pop()
        if called is not None:
            self._calls[called].put(True)
        if not self._is_watched:
            self._is_watched = True
            self._loop.call_later(MOMENT, self._watch)

    async def run(self, work: Work) -> Any:
        """Have work done, and return or raise what came of it."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def attempt() -> Any:
            try:
                return work(), None
            except Exception as error:
                return None, error

        def done(outcome: Any) -> None:
            if not future.cancelled():
                future.set_result(outcome)

        self.submit(attempt, done)
        result, error = await future
        if error is not None:
            raise error
        return result

    def close(self, patience: float) -> None:
        """Finish what was asked for, within so many seconds."""
        end = time.monotonic() + patience
        while self._active and time.monotonic() < end:
            self._hire()
            time.sleep(MOMENT)
        for calls in self._calls:
            calls.put(False)
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _watch(self) -> None:
        """Let others work while some wait, and take what they have done."""
        self._deliver_results()
        self._is_watched = self._hire()
        if self._is_watched:
            self._loop.call_later(MOMENT, self._watch)

    def _hire(self) -> bool:
        """Call threads if they are wanted; tell whether any is at work."""
        limit = time.monotonic() - MOMENT
        waiting = sum(0 < began < limit for began in self._began)
        with self._lock:
            self._allowed = min(BUSY + waiting, self._count)
            wanted = self._wanted(self._allowed - self._active)
            called = [self._resting.pop() for _ in range(wanted)]
            is_busy = bool(self._active)
        for number in called:
            self._calls[number].put(True)
        return is_busy

    def _wanted(self, most: int) -> int:
        """Return how many more threads would find work, up to a number."""
        wanted = 0
        for owner, queued in self._queued.items():
            if wanted >= most:
                break
            room = self._most - self._busy[owner] if owner else most
            wanted += min(len(queued), room)
        return max(0, min(wanted, most))

    def _has_room(self, owner: str) -> bool:
        """Tell whether one more thread may work for an owner."""
        # What has no owner is the server's own.
        return not owner or self._busy[owner] < self._most

    def _live(self, number: int) -> None:
        began = self._began
        while self._calls[number].get():
            owner: str | None = None
            while (item := self._next(number, owner)) is not None:
                began[number] = now = time.monotonic()
                owner, (work, done, since) = item
                request_deadline.note_waiting(now - since)
                try:
                    result = work()
                except Exception:
                    LOG.exception('A job of a worker thread failed')
                    continue
                if done is not None:
                    self._hand_over(done, result)

    def _next(self, number: int, last: str | None) -> tuple[str, Item] | None:
        """Return what to do next, and for whom; None to rest.

        :param last: whose work has just ended
        """
        with self._lock:
            if last is not None:
                self._busy[last] -= 1
                if not self._busy[last]:
                    del self._busy[last]
            if self._active <= self._allowed:
                for owner, queued in self._queued.items():
                    if self._has_room(owner):
                        return owner, self._take(owner, queued)
            # Under the lock, so that nobody calls it twice.
            self._began[number] = 0.0
            self._resting.append(number)
            return None

    def _take(self, owner: str, queued: collections.deque[Item]) -> Item:
        """Take the first of an owner's work, and let the others have turns."""
        self._busy[owner] += 1
        item = queued.popleft()
        del self._queued[owner]
        if queued:
            self._queued[owner] = queued
        return item

    def _hand_over(self, done: Done, result: Any) -> None:
        self._ended.append((done, result))
        if self._queued and len(self._ended) < TOGETHER:
            # The next one to end wakes the loop, or the next look.
            return
        if not self._is_awake:
            self._is_awake = True
            try:
                self._loop.call_soon_threadsafe(self._deliver_results)
            except RuntimeError:
                # The loop has ended; nobody wants to know any more.
                LOG.debug('A result came too late')

    def _deliver_results(self) -> None:
        # First, so that what ends from now on wakes the loop again.
        self._is_awake = False
        while self._ended:
            done, result = self._ended.popleft()
            done(result)
