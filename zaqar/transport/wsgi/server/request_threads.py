# SPDX-License-Identifier: Apache-2.0
"""The threads that answer requests; others wait for one in turn.

What the event loop can answer itself is answered in :mod:`.request_greenlets`.
"""

import logging
import queue
import threading
from collections.abc import Callable

from zaqar.transport import requests_waiting_for_thread_or_greenlet
from zaqar.transport.requests_waiting_for_thread_or_greenlet import (
    RequestLine,
    Work,
)
from zaqar.transport.wsgi.server.request_parser import Request

LOG = logging.getLogger(__name__)


class RequestThreads:
    """Runs work, a limited number at a time.

    :param count: the threads
    :ivar waiting: what waits for one
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
        self.waiting = RequestLine()

    @property
    def are_crowded(self) -> bool:
        """Tell whether what comes now waits for long."""
        return (
            self.waiting.count >= requests_waiting_for_thread_or_greenlet.MANY
        )

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
        request: Request | None = None,
    ) -> bool:
        """Have work done, now or in its turn.

        :param size: returns the bytes that it holds meanwhile, 0 for what is
            never refused
        :param owner: returns whose turn it needs, '' where that is not known
        :param request: the request that it begins to answer; threads answer
            any
        :returns: False if nothing is done, since too much waits
        """
        with self._lock:
            return self._begin(work) or self.waiting.add(work, size(), owner())

    def put_woken(self, work: Work) -> None:
        """Have work done that has waited for messages before."""
        with self._lock:
            if not self._begin(work):
                self.waiting.add_woken(work)

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
                work = self.waiting.take()
                if work is None:
                    self._resting.append(number)
        return True

    def _run(self, number: int) -> None:
        while True:
            self.work(number)

    def _begin(self, work: Work) -> bool:
        """Call a thread that rests, if there is one; with the lock held."""
        if not self._resting:
            return False
        self._calls[self._resting.pop()].put(work)
        return True
