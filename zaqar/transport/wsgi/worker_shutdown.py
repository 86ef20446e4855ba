# SPDX-License-Identifier: Apache-2.0
"""Shutdown and retirement of a worker of granian."""

import math
import os
import socket
import threading
import time
from collections.abc import Callable

from granian import _granian

from zaqar import parent_exit_watch
from zaqar.transport.wsgi import epoll_descriptors
from zaqar.transport.wsgi.asgi_adapter import AsgiAdapter

#: Seconds that requests in progress have to finish at shutdown.
GRACE = 30.0

#: Seconds that idle connections stay open after SIGHUP, and those after which
#: each answer closes its connection.
LINGER = 2.0
RETIREMENT = 1.0

#: Seconds in which answers close connections at shutdown.
FAREWELL = 0.1

#: Seconds between two checks of signals and of the parent process.
_CHECK_INTERVAL = 0.5


class WorkerShutdown:
    """Shutdown of a worker, requested once and awaited.

    Handlers of signals run here, one within another: none may take a lock.

    :param end_waits: called in a thread of its own
    """

    def __init__(
        self,
        adapter: AsgiAdapter,
        listener: socket.socket,
        end_waits: Callable[[], None],
    ) -> None:
        self._adapter = adapter
        self._end_waits = end_waits
        self._listener = listener
        self._due = math.inf
        self.event = _granian.WorkerSignal()
        self._requested = threading.Event()
        self._ended = threading.Event()
        self.event.add_cb(self._ended.set)
        self._has_parent_ended = parent_exit_watch.watch()

    def retire(self) -> None:
        """Close connections with their answers, idle ones after a while.

        Other processes accept those that are new.
        """
        epoll_descriptors.forget(self._listener)
        self._adapter.retire(RETIREMENT)
        _later(0, self._end_waits)
        self._due = min(self._due, time.monotonic() + LINGER)

    def request(self) -> None:
        """Close connections, and finish requests in progress in time."""
        if self._requested.is_set():
            return
        self._requested.set()
        self._adapter.retire(0)
        _later(0, self._end_waits)
        # Clients that are about to send learn from an answer that theirs is
        # closed, not from an end without one.
        _later(FAREWELL, self.event.set)
        _later(GRACE, os._exit, 1)

    def wait(self) -> None:
        """Return when all requests are finished.

        Wakes regularly: a signal that another thread received is handled when
        this one wakes, and the parent may have died without a signal.
        """
        while not self._ended.wait(_CHECK_INTERVAL):
            if self._has_parent_ended() or time.monotonic() > self._due:
                self.request()


def _later(seconds: float, call: Callable[..., object], *args: int) -> None:
    timer = threading.Timer(seconds, call, args)
    timer.daemon = True
    timer.start()
