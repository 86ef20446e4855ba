# SPDX-License-Identifier: Apache-2.0
"""Checks of a worker, its retirement and shutdown, on its event loop."""

import asyncio
import os
import threading
from collections.abc import Callable

from zaqar import log_writer_thread, parent_exit_watch
from zaqar.transport.wsgi.server.client_connections_and_limits import Clients
from zaqar.transport.wsgi.server.connection_acceptor import Acceptor
from zaqar.transport.wsgi.server.request_answering import Answering
from zaqar.transport.wsgi.server.request_greenlets import RequestGreenlets
from zaqar.transport.wsgi.server.request_threads import RequestThreads

#: Seconds that requests in progress have to finish at shutdown.
GRACE = 30.0

#: Seconds that idle connections stay open after SIGHUP, and those after which
#: each answer closes its connection.
LINGER = 2.0
RETIREMENT = 1.0

#: Seconds in which answers close connections at shutdown.
FAREWELL = 0.1

#: Seconds between two checks of connections and of the parent process, and
#: of what is left at shutdown.
CHECK_INTERVAL = 0.5
_OFTEN = 0.02


class WorkerShutdown:
    """Shutdown of a worker.

    :param end_waits: answers the requests that wait for messages; called in a
        thread of its own
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answering: Answering,
        threads: RequestThreads | RequestGreenlets,
        clients: Clients,
        acceptor: Acceptor,
        end_waits: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._answering = answering
        self._threads = threads
        self._clients = clients
        self._acceptor = acceptor
        self._end_waits = end_waits
        self._is_requested = False
        self._has_parent_ended = parent_exit_watch.watch()

    def retire(self) -> None:
        """Close connections with their answers, idle ones after a while.

        Other processes accept those that are new.
        """
        self._acceptor.stop()
        self._clients.leave_to_others()
        self._answering.retire(RETIREMENT)
        _in_thread(self._end_waits)
        self._loop.call_later(LINGER, self.request)

    def request(self) -> None:
        """Close connections, and finish requests in progress in time."""
        if self._is_requested:
            return
        self._is_requested = True
        self._answering.retire(0)
        _in_thread(self._end_waits)
        # Clients that are about to send learn from an answer that theirs is
        # closed, not from an end without one.
        self._loop.call_later(FAREWELL, self._end)
        self._loop.call_later(GRACE, _give_up)

    def check(self) -> None:
        """Check connections and the parent process now and then."""
        interval = _OFTEN if self._clients.is_ending else CHECK_INTERVAL
        # First, whatever fails here.
        self._loop.call_later(interval, self.check)
        self._clients.check()
        if self._has_parent_ended():
            # It may have given no signal.
            self.request()
        is_ending = self._clients.is_ending
        if is_ending and not len(self._clients) and self._threads.are_idle:
            self._loop.stop()

    def _end(self) -> None:
        self._acceptor.stop()
        self._clients.is_ending = True
        self.check()


def _give_up() -> None:
    """End the process, whatever is left to be done."""
    log_writer_thread.flush()
    os._exit(1)


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
