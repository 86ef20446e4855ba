# SPDX-License-Identifier: Apache-2.0
"""Greenlets of an event loop that do work, a limited number at a time."""

import functools
from collections.abc import Callable

from zaqar.current_request import OF_THREAD
from zaqar.event_loop_greenlets import Hub, LoopGreenlet
from zaqar.transport.requests_waiting_for_thread_or_greenlet import (
    HeldBytes,
    RequestLine,
    Work,
)


class LimitedGreenlets:
    """Does work in greenlets; more waits, and projects take turns.

    Those that wait for a store which does not answer do not count: see
    :mod:`zaqar.greenlets_stalled_on_stores`. All is called in the loop.

    :param count: the greenlets
    :param held: counts the bytes of what waits, and of what does elsewhere
    :ivar hub: what they wait in
    :ivar waiting: what waits for one
    """

    def __init__(
        self, hub: Hub, count: int, held: HeldBytes | None = None
    ) -> None:
        self.hub = hub
        self._count = count
        self._under_way = self._stalled = 0
        self.waiting = RequestLine(held)

    @property
    def are_idle(self) -> bool:
        """Tell whether there is nothing to do."""
        return not self._under_way and not self._stalled

    def put(
        self, work: Work, size: Callable[[], int], owner: Callable[[], str]
    ) -> bool:
        """Have work done, now or in its turn.

        :param size: returns the bytes that it holds meanwhile, 0 for what is
            never refused
        :param owner: returns whose turn it needs, '' where that is not known
        :returns: False if nothing is done, since too much waits
        """
        if self._under_way == self._count:
            return self.waiting.add(work, size(), owner())
        self._under_way += 1
        self.hub.begin(functools.partial(self._do, work))
        return True

    def _do(self, work: Work) -> None:
        one: LoopGreenlet | None = OF_THREAD.request.greenlet
        assert one is not None
        one.on_stall = self._stall
        try:
            work()
        finally:
            if one.on_stall is None:
                self._stalled -= 1
            else:
                one.on_stall = None
                self._leave()

    def _stall(self) -> None:
        self._stalled += 1
        self._leave()

    def _leave(self) -> None:
        """Give a place to what waits for one."""
        if self.waiting.count:
            # Not at once: the loop has others to look after.
            self.hub.loop.call_soon(self._go_on)
        else:
            self._under_way -= 1

    def _go_on(self) -> None:
        """Begin what waits, in the place of what has ended."""
        work = self.waiting.take()
        if work is None:
            self._under_way -= 1
        else:
            self.hub.begin(functools.partial(self._do, work))
