# SPDX-License-Identifier: Apache-2.0
"""Greenlets of an event loop: they wait in it, and hold no thread meanwhile.

What would block the loop, and with it all others, is done in another thread
by :func:`offload`, while the greenlet waits. Elsewhere it is done at once:
whoever calls it need not know where it runs. Threads are shared by lanes, see
:mod:`zaqar.blocking_call_threads`.

No lock of threads may be held by a greenlet that waits. Another one of the
same loop would wait for it in the loop's only thread, for ever. Hence what
calls a store while it holds a lock is done by :func:`offload` as a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from greenlet import getcurrent, greenlet
from oslo_context import context

from zaqar.blocking_call_threads import OffloadLanes
from zaqar.current_request import OF_THREAD, CurrentRequest
from zaqar.daemon_threads import DaemonThreads
from zaqar.errors import StoreUnavailable
from zaqar.greenlets_stalled_on_stores import StalledGreenlets

LOG = logging.getLogger(__name__)

A = TypeVar('A')
P = ParamSpec('P')
T = TypeVar('T')

#: What a greenlet does.
Work = Callable[[], object]

#: Threads that open connections, at most. They are not those for what blocks:
#: requests should not wait behind servers that hang. A server has one of them.
_OPENING = 32


class LoopGreenlet(greenlet):  # type: ignore[misc,unused-ignore]
    """A greenlet that does work again and again.

    :ivar hub: what it waits in
    :ivar on_stall: called once if it waits for what does not answer
    """

    def __init__(self, hub: Hub) -> None:
        super().__init__(self._live, hub.main)
        self.hub = hub
        self.on_stall: Callable[[], None] | None = None
        self._request = CurrentRequest(self)
        self._stalled_by: object = None

    def _live(self, work: Work) -> None:
        try:
            while True:
                OF_THREAD.request = self._request
                try:
                    work()
                except BaseException:
                    # Neither the greenlet nor the loop must be lost with it.
                    with contextlib.suppress(Exception):
                        LOG.exception('A request failed')
                if self._stalled_by is not None:
                    self.hub.stalled.remove(self._stalled_by)
                    self._stalled_by = None
                # What it holds is not needed while this rests.
                work = _nothing
                work = self.hub.rest(self)
        finally:
            # Whatever ends it, the loop goes on.
            self.hub.forget(self)
            OF_THREAD.request = self.hub.request

    def stall(self, store: object) -> bool:
        """Note that this waits for a store that does not answer.

        :returns: False if too many do, hence nothing was noted
        """
        if self._stalled_by is not None:
            # One at a time.
            return True
        if not self.hub.stalled.add(store):
            return False
        self._stalled_by = store
        on_stall, self.on_stall = self.on_stall, None
        if on_stall is not None:
            on_stall()
        return True

    def wait(self, token: object) -> None:
        """Let others run until this is switched to with a token.

        Called in this greenlet.

        :raises RuntimeError: it was switched to with something else, by
            mistake
        """
        if self.pause() is not token:
            raise RuntimeError('A greenlet was woken by mistake.')

    def pause(self) -> Any:
        """Let others run until this is switched to; return what it is given.

        Called in this greenlet.
        """
        OF_THREAD.request = self.hub.request
        try:
            return self.hub.main.switch()
        finally:
            OF_THREAD.request = self._request


class Hub:
    """The event loop of a thread, and its greenlets.

    Created in that thread, outside of any greenlet.

    :param loop: the event loop
    :param per_lane: threads of each lane, at most: see
        :mod:`zaqar.blocking_call_threads`
    :ivar main: what runs the loop
    :ivar request: what is known there of a request: nothing
    :ivar stalled: greenlets that wait for what does not answer
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, per_lane: int) -> None:
        self.loop = loop
        self.main = getcurrent()
        self.request = OF_THREAD.request
        self._thread = threading.get_ident()
        self.stalled = StalledGreenlets()
        self._lanes = OffloadLanes(loop, self.call, per_lane)
        self._opening = DaemonThreads(_OPENING, 'opening')
        self._resting: list[LoopGreenlet] = []

    @property
    def is_running(self) -> bool:
        """Whether the loop itself runs, no greenlet and no other thread."""
        return getcurrent() is self.main

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have a function called in the loop soon, from anywhere."""
        if threading.get_ident() == self._thread:
            # Without a system call to wake it.
            self.loop.call_soon(function, *arguments)
        else:
            self.loop.call_soon_threadsafe(function, *arguments)

    def begin(self, work: Work) -> None:
        """Do work in a greenlet, until it waits. Called in the loop."""
        resting = self._resting
        one = resting.pop() if resting else LoopGreenlet(self)
        one.switch(work)

    def rest(self, one: LoopGreenlet) -> Work:
        """Return the next work of a greenlet, which waits for it."""
        self._resting.append(one)
        while not callable(given := one.pause()):
            LOG.error('A greenlet was woken by mistake')
        work: Work = given
        return work

    def forget(self, one: LoopGreenlet) -> None:
        """Begin nothing more in a greenlet, which ends."""
        if one in self._resting:
            self._resting.remove(one)

    def begin_in_thread(
        self, function: Callable[..., object], *arguments: Any
    ) -> None:
        """Have a connection opened in a thread, which nobody waits for.

        :raises RuntimeError: no thread can be started
        """
        self._opening.submit(function, *arguments)

    def run_in_thread(
        self,
        lane: object,
        function: Callable[..., T],
        arguments: Any,
        options: Any,
    ) -> T:
        """Call a function in a thread, while the present greenlet waits.

        :param lane: see :func:`offload_to`
        :raises StoreUnavailable: its time was over before there was one
        """
        request, since = OF_THREAD.request, time.monotonic()
        logged = context.get_current()

        def call() -> T:
            now = time.monotonic()
            if of_thread.end == math.inf:
                # Its deadline is yet to begin.
                of_thread.waited += now - since
            elif now >= of_thread.end:
                raise StoreUnavailable
            own, OF_THREAD.request = OF_THREAD.request, of_thread
            if logged is not None:
                logged.update_store()
            try:
                return function(*arguments, **options)
            finally:
                OF_THREAD.request = own

        of_thread = request.in_thread()
        result: T = self._lanes.run(request.greenlet, lane, call)
        return result


class _Unable:
    """Stands for a greenlet while what it does may not wait."""

    @property
    def hub(self) -> Hub:
        raise RuntimeError('What is being done may not wait.')


_UNABLE = _Unable()


def run_without_waiting(
    request: CurrentRequest, function: Callable[[A], T], argument: A
) -> T:
    """Call a function for a request, whose greenlet waits for it.

    :raises RuntimeError: it has tried to wait itself, by mistake
    """
    own, OF_THREAD.request = OF_THREAD.request, request
    one, request.greenlet = request.greenlet, _UNABLE
    try:
        return function(argument)
    finally:
        request.greenlet = one
        OF_THREAD.request = own


def _nothing() -> None:
    """Do no work."""


def offload(
    function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs
) -> T:
    """Call a function that may block, and return its result.

    A greenlet waits meanwhile for a thread that does so: one of those that its
    project may have.
    """
    return offload_to(
        OF_THREAD.request.project, function, *arguments, **options
    )


def offload_to(
    lane: object,
    function: Callable[P, T],
    /,
    *arguments: P.args,
    **options: P.kwargs,
) -> T:
    """Do so by one of the threads that a lane may have.

    :param lane: what is called, if that may hang; equal ones share threads
    """
    one: LoopGreenlet | None = OF_THREAD.request.greenlet
    if one is None:
        return function(*arguments, **options)
    return one.hub.run_in_thread(lane, function, arguments, options)


def offloaded(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function that may block, for greenlets: see :func:`offload`."""

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        return offload(function, *arguments, **options)

    return call


def sleep(seconds: float) -> None:
    """Wait for some seconds, alone."""
    one: LoopGreenlet | None = OF_THREAD.request.greenlet
    if one is None:
        time.sleep(seconds)
        return
    token = object()
    one.hub.loop.call_later(seconds, one.switch, token)
    one.wait(token)
