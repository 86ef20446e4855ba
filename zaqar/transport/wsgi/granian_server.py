# SPDX-License-Identifier: Apache-2.0
"""HTTP for ``zaqar-server``: granian's worker around a WSGI application.

It is granian's ASGI worker without event loop and coroutines: a thread of its
pool starts a request, and the thread that completes the body runs it. That was
measured to be no slower than its WSGI worker.

granian's own supervisor gives up after two quick deaths of a worker, and lets
each worker listen by itself, so that connections in the backlog of a dead one
are lost. Here the supervisor listens, and every worker accepts from that one
socket. The worker class is not part of granian's documented interface, hence
the narrow requirement on its version.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import resource
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from granian import _granian
from granian.http import HTTP1Settings
from oslo_config import cfg

from zaqar import parent_exit_watch
from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.wsgi import asgi_adapter, epoll_descriptors
from zaqar.transport.wsgi.asgi_adapter import AsgiAdapter
from zaqar.transport.wsgi.request_buffering import (
    BodyLimits,
    Loop,
    RequestBuffer,
)
from zaqar.transport.wsgi.request_slots import RequestSlots
from zaqar.transport.wsgi_types import App

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
        default=8,
        min=1,
        help='Threads of each worker, which is the number of requests that it '
        'processes concurrently.',
    ),
    cfg.IntOpt(
        'backlog',
        default=1024,
        min=1,
        help='Connections that may wait to be accepted; more are refused by '
        'the system.',
    ),
    cfg.IntOpt(
        'max_connections',
        default=10000,
        min=1,
        help='Maximum number of connections of each worker; more wait to be '
        'accepted. The limit of open files of the process applies too.',
    ),
    cfg.FloatOpt(
        'header_timeout',
        default=30.0,
        min=0.1,
        help='Time limit in seconds for the request line and headers.',
    ),
    cfg.FloatOpt(
        'body_timeout',
        default=30.0,
        min=0.1,
        help='Time limit in seconds for the body of a request; after that the '
        'answer is 408. Reading a body occupies no thread.',
    ),
    cfg.IntOpt(
        'body_min_rate',
        default=500,
        min=0,
        help='Minimum rate in bytes per second, on average after the first '
        'five seconds, at which a body must arrive; a slower one is answered '
        'with 408. 0 means any rate.',
    ),
    cfg.IntOpt(
        'write_timeout',
        default=60,
        min=1,
        help='Seconds after which the connection of a client that reads '
        'nothing of its answer is closed.',
    ),
    cfg.IntOpt(
        'max_unread_per_project',
        default=32 * 1024 * 1024,
        min=0,
        help='Bytes of large answers that each worker holds for clients of '
        'a project that have not read them yet; beyond it requests of the '
        'project for further pages wait until they have. 0 means no limit.',
    ),
]

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

#: Threads for headers and parts of bodies while all others run requests.
_READING_THREADS = 2

#: Seconds after which an idle thread ends.
_IDLE = 30

#: Open files of a worker besides connections of clients.
_OTHER_FILES = 256

#: Bytes of a request that are buffered, hence the maximum of its headers.
_MAX_BUFFER = 512 * 1024


def serve(
    listener: socket.socket,
    app: App,
    settings: Any,
    longest: int,
    ready: Callable[[], None] = lambda: None,
    end_waits: Callable[[], None] = lambda: None,
) -> None:
    """Serve requests until SIGTERM; finish those in progress, then return.

    After SIGHUP, other processes accept connections, answers close theirs,
    and idle ones are closed after :data:`LINGER` seconds.

    :param settings: the options of the group
    :param longest: bytes of the longest body that is read
    :param ready: called when requests are about to be accepted
    :param end_waits: answers the requests that wait for messages
    """
    limits = BodyLimits(settings.body_timeout, settings.body_min_rate, longest)
    loop = Loop()
    buffer = RequestBuffer(limits, loop)
    # Whoever wakes a request must not have to run it.
    woken = ThreadPoolExecutor(settings.threads, 'woken-request')
    turns = Turns(
        settings.max_unread_per_project,
        later=lambda job: woken.submit(asgi_adapter.do, job),
    )
    slots = RequestSlots(settings.threads)
    adapter = AsgiAdapter(app, buffer, loop, turns, slots, longest)
    stop = _Stop(adapter, listener, end_waits)
    signal.signal(signal.SIGTERM, lambda *_: stop.request())
    signal.signal(signal.SIGHUP, lambda *_: stop.retire())
    # granian waits for a client to read without end. With this, which accepted
    # connections inherit, the kernel drops clients with a full window.
    timeout = settings.write_timeout * 1000
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)
    # It closes the descriptor.
    holder = _granian.SocketHolder(
        os.dup(listener.fileno()), False, settings.backlog
    )
    worker = _granian.ASGIWorker(
        worker_id=1,
        sock=(None, holder),
        ipc=None,
        threads=1,  # for the network
        py_threads=settings.threads + _READING_THREADS,
        py_threads_idle_timeout=_IDLE,
        backpressure=_connections(settings.max_connections),
        http1_opts=HTTP1Settings(
            header_read_timeout=int(settings.header_timeout * 1000),
            max_buffer_size=_MAX_BUFFER,
        ),
        metrics=(None, None),
    )
    buffer.start()
    # All objects so far are permanent: exclude them from collections.
    gc.freeze()
    # First, since threads inherit the priority of this one, which it restores.
    ready()
    worker.serve_mtr(_Scheduler(loop, adapter.handle), loop, stop.event)
    stop.wait()


def _connections(wanted: int) -> int:
    """Raise the limit of open files; return the connections it admits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + _OTHER_FILES
    if most != resource.RLIM_INFINITY:
        files = min(files, most)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return max(1, files - _OTHER_FILES)


def _stop_accepting(listener: socket.socket) -> None:
    """Leave a listening socket to the other processes that share it.

    granian can stop accepting only together with closing idle connections,
    so its event loop is made to forget the socket. Where the kernel does not
    show what that is, it goes on accepting until then.
    """
    inode = os.fstat(listener.fileno()).st_ino
    for poll, target in list(epoll_descriptors.watched()):
        with contextlib.suppress(OSError):
            if os.fstat(target).st_ino == inode:
                with select.epoll.fromfd(os.dup(poll)) as epoll:
                    epoll.unregister(target)


class _Scheduler(_granian.CallbackScheduler):  # type: ignore[misc]
    """Calls a function for each request, without coroutines."""

    def __new__(cls, loop: Loop, handle: Callable[[Any], None]) -> _Scheduler:
        """Create it without the arguments that only coroutines need."""
        scheduler: _Scheduler = super().__new__(
            cls, loop, None, None, None, None
        )
        return scheduler

    def __init__(self, loop: Loop, handle: Callable[[Any], None]) -> None:
        super().__init__()
        self._schedule_fn = handle


class _Stop:
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
        _stop_accepting(self._listener)
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
