# SPDX-License-Identifier: Apache-2.0
"""Threads for what would block an event loop, shared by lanes.

A lane is a store, or a project: what hangs has its own callers wait, and no
others. A store is called by no more threads than it may have callers.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from zaqar.daemon_threads import DaemonThreads
from zaqar.greenlets_stalled_on_stores import (
    CHECK_INTERVAL,
    Greenlet,
    Silence,
    wake,
)

#: Threads of all lanes together. A lane has at most half of what the others
#: leave.
MOST_THREADS = 128


class WaitingGreenlet(Greenlet, Protocol):
    """A greenlet that can wait."""

    def wait(self, token: object) -> None: ...


class _Call:
    """A call that a greenlet waits for.

    :ivar one: the greenlet; None if it has gone on
    :ivar future: its result, once it is there
    :ivar failure: why there will be none
    """

    __slots__ = ('call', 'failure', 'future', 'one')

    def __init__(self, one: WaitingGreenlet, call: Callable[[], Any]) -> None:
        self.one: WaitingGreenlet | None = one
        self.call = call
        self.future: Future[Any] | None = None
        self.failure: Exception | None = None


class _Lane:
    """The calls of one store or project.

    :ivar running: how many threads have
    :ivar queue: what waits for a thread
    :ivar calls: what waits, and what runs
    :ivar since: when the last one succeeded, or the first one came
    """

    __slots__ = ('calls', 'key', 'queue', 'running', 'silence', 'since')

    def __init__(self, key: object, since: float) -> None:
        self.key = key
        self.running = 0
        self.queue: collections.deque[_Call] = collections.deque()
        self.calls: dict[_Call, None] = {}
        self.silence = Silence(key)
        self.since = since


class OffloadLanes:
    """Calls functions in threads while greenlets wait.

    All is called in the loop.

    :param loop: where the greenlets wait
    :param call_in_loop: has a function called there, from any thread
    :param per_lane: threads of a lane, at most
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        call_in_loop: Callable[..., None],
        per_lane: int,
    ) -> None:
        self._loop = loop
        self._call_in_loop = call_in_loop
        self._per_lane = per_lane
        self._threads = DaemonThreads(MOST_THREADS, 'offloaded')
        self._lanes: dict[object, _Lane] = {}
        self._busy = 0
        self._is_timed = False

    def run(
        self, one: WaitingGreenlet, key: object, function: Callable[[], Any]
    ) -> Any:
        """Call a function in a thread, and return its result.

        :param one: the present greenlet, which waits meanwhile
        :param key: of the lane
        :raises RuntimeError: no thread can be started
        :raises StoreUnavailable: too many wait for the same, which is silent
        """
        now = time.monotonic()
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key, now)
        lane.silence.begin(one, lane.since, now)
        call = _Call(one, function)
        lane.queue.append(call)
        lane.calls[call] = None
        self._begin(lane)
        if not self._is_timed:
            self._is_timed = True
            self._loop.call_later(CHECK_INTERVAL, self._check)
        try:
            if call.failure is None:
                one.wait(call)
        finally:
            # Nobody waits for it any more.
            call.one = None
        if call.failure is not None:
            raise call.failure
        assert call.future is not None
        return call.future.result()

    def _begin(self, lane: _Lane) -> None:
        """Have threads do what a lane may have done."""
        while lane.queue and self._may_begin(lane):
            call = lane.queue.popleft()
            if call.one is None:
                del lane.calls[call]
                continue
            try:
                future = self._threads.submit(call.call)
            except RuntimeError as error:
                del lane.calls[call]
                call.failure = error
                # It may not wait yet.
                self._loop.call_soon(wake, call)
                continue
            lane.running += 1
            self._busy += 1
            end = functools.partial(self._call_in_loop, self._end, lane, call)
            future.add_done_callback(end)
        if not lane.calls:
            self._lanes.pop(lane.key, None)

    def _may_begin(self, lane: _Lane) -> bool:
        left = MOST_THREADS - self._busy + lane.running
        share = min(self._per_lane, max(left // 2, 1))
        return lane.running < share and self._busy < MOST_THREADS

    def _end(self, lane: _Lane, call: _Call, future: Future[Any]) -> None:
        was_full = self._busy == MOST_THREADS
        self._busy -= 1
        lane.running -= 1
        if future.exception() is None:
            # What fails may have waited in vain.
            lane.since = time.monotonic()
            lane.silence.is_noticed = False
        del lane.calls[call]
        self._begin(lane)
        if was_full:
            for other in [*self._lanes.values()]:
                self._begin(other)
        call.future = future
        wake(call)

    def _check(self) -> None:
        """Look for silence."""
        if not self._lanes:
            self._is_timed = False
            return
        self._loop.call_later(CHECK_INTERVAL, self._check)
        now = time.monotonic()
        for lane in [*self._lanes.values()]:
            lane.silence.check(lane.since, now, lane.calls)
