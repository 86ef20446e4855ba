# SPDX-License-Identifier: Apache-2.0
"""HTTP for ``zaqar-server``: granian's worker around a WSGI application.

granian's own supervisor gives up after two quick deaths of a worker and lets
each worker listen by itself, so that what waits in a dead one's queue is
lost. Here the supervisor listens, and every worker accepts from that one
socket. The worker class is not part of granian's documented interface: hence
the narrow requirement on its version.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from granian import _granian
from granian._futures import _new_cbscheduler
from granian.http import HTTP1Settings
from oslo_config import cfg

from zaqar.transport import listening
from zaqar.transport.interface import App, Environ

LOG = logging.getLogger(__name__)

GROUP = 'drivers:transport:wsgi'

OPTS = [
    cfg.HostAddressOpt(
        'bind',
        default='127.0.0.1',
        help='Address on which zaqar-server listens for HTTP.',
    ),
    cfg.PortOpt(
        'port',
        default=8888,
        help='Port on which zaqar-server listens for HTTP.',
    ),
    cfg.IntOpt(
        'workers',
        default=0,
        min=0,
        help='Processes that answer HTTP. 0 means one per core.',
    ),
    cfg.IntOpt(
        'threads',
        default=4,
        min=1,
        help='Threads in each of them, hence requests that it works on at a '
        'time.',
    ),
    cfg.IntOpt(
        'backlog',
        default=1024,
        min=1,
        help='Connections that may wait to be accepted; more are refused by '
        'the system.',
    ),
]

#: Seconds that requests under way have for their end.
GRACE = 30.0

#: Seconds between two looks at whether to end.
_LOOK = 0.5

#: Seconds after which an idle thread ends.
_IDLE = 30

#: Requests of a worker that are read while others are answered.
_READ_AHEAD = 1024

#: Bytes of a request held at a time, its line and headers at least.
_MAX_BUFFER = 512 * 1024


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """Return a listening socket.

    :raises ConfigurationError: the address cannot be had
    """
    return listening.listen(host, port, backlog, GROUP)


def serve(
    listener: socket.socket, app: App, *, threads: int, backlog: int
) -> None:
    """Answer requests until SIGTERM; finish those under way, then return."""
    stop = _Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.ask())
    # It closes what it is given.
    holder = _granian.SocketHolder(os.dup(listener.fileno()), False, backlog)
    worker = _granian.WSGIWorker(
        worker_id=1,
        sock=(None, holder),
        ipc=None,
        threads=1,  # for the network
        py_threads=threads,
        py_threads_idle_timeout=_IDLE,
        backpressure=_READ_AHEAD,
        http1_opts=HTTP1Settings(max_buffer_size=_MAX_BUFFER),
        metrics=(None, None),
    )
    # It wants an event loop, which WSGI never runs.
    loop = asyncio.new_event_loop()
    # What has been made until now stays: no need to look at it again.
    gc.freeze()
    scheduler = _new_cbscheduler(loop, _callback(app), impl_asyncio=True)
    worker.serve_mtr(scheduler, loop, stop.event)
    stop.wait()


class _Stop:
    """The end of a worker: asked for once, and waited for."""

    def __init__(self) -> None:
        self.event = _granian.WorkerSignal()
        self._asked = threading.Event()
        self._ended = threading.Event()
        self.event.add_cb(self._ended.set)
        self._parent = os.getppid()

    def ask(self) -> None:
        """Accept no more, finish what is under way, for so long only."""
        if self._asked.is_set():
            return
        self._asked.set()
        limit = threading.Timer(GRACE, os._exit, (1,))
        limit.daemon = True
        limit.start()
        self.event.set()

    def wait(self) -> None:
        """Return when all is finished.

        Looks up now and then: a signal that another thread was given waits
        for this one to wake, and a parent may have gone without one.
        """
        while not self._ended.wait(_LOOK):
            if os.getppid() != self._parent:
                self.ask()


def _callback(app: App) -> Callable[[Any, Environ], int]:
    """Return what granian calls for each request.

    Unlike granian's own it does not mix the process's environment into the
    request's, where a variable would pass for a header.
    """
    base: Environ = {
        'SCRIPT_NAME': '',
        'SERVER_SOFTWARE': 'zaqar-server',
        'wsgi.errors': sys.stderr,
        'wsgi.input_terminated': True,
        'wsgi.multiprocess': True,
        'wsgi.multithread': True,
        'wsgi.run_once': False,
        'wsgi.version': (1, 0),
    }

    def call(protocol: Any, scope: Environ) -> int:
        status, headers = 500, []

        def start_response(
            line: str, found: list[tuple[str, str]], exc_info: Any = None
        ) -> None:
            nonlocal status, headers
            status, headers = int(line[:3]), found

        parts = app(base | scope, start_response)
        body = b''.join(parts)
        if hasattr(parts, 'close'):
            parts.close()
        protocol.response_bytes(status, headers, body)
        return status

    return call
