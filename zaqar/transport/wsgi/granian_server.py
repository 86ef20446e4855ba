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
import os
import resource
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from granian import _granian
from granian.http import HTTP1Settings
from oslo_config import cfg

from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.wsgi import asgi_adapter
from zaqar.transport.wsgi.asgi_adapter import AsgiAdapter
from zaqar.transport.wsgi.request_buffering import (
    BodyLimits,
    Loop,
    RequestBuffer,
)
from zaqar.transport.wsgi.request_slots import RequestSlots
from zaqar.transport.wsgi.worker_shutdown import WorkerShutdown
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
    and idle ones are closed after :data:`worker_shutdown.LINGER` seconds.

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
    shutdown = WorkerShutdown(adapter, listener, end_waits)
    signal.signal(signal.SIGTERM, lambda *_: shutdown.request())
    signal.signal(signal.SIGHUP, lambda *_: shutdown.retire())
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
    worker.serve_mtr(_Scheduler(loop, adapter.handle), loop, shutdown.event)
    shutdown.wait()


def _connections(wanted: int) -> int:
    """Raise the limit of open files; return the connections it admits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + _OTHER_FILES
    if most != resource.RLIM_INFINITY:
        files = min(files, most)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return max(1, files - _OTHER_FILES)


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
