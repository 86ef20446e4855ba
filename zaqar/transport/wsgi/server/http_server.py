# SPDX-License-Identifier: Apache-2.0
"""HTTP for ``zaqar-server``: an event loop, threads and answers put together.

The loop reads and writes all connections, in the main thread of a worker. A
complete request is answered there in a greenlet, if it waits for nothing but
Redis or SQLite, or handed to a thread once, and the answers that are there are
written together: to hand something from one thread to another costs more than
to parse it.

The supervisor listens, and every worker accepts from that one socket, so that
a worker that dies takes no connections of the backlog with it.
"""

import asyncio
import contextlib
import gc
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from zaqar.event_loop_greenlets import Hub
from zaqar.transport.wsgi.server.client_connections_and_limits import Clients
from zaqar.transport.wsgi.server.connection import ClientLimits
from zaqar.transport.wsgi.server.connection_acceptor import Acceptor
from zaqar.transport.wsgi.server.request_answering import (
    Answering,
    AnswerWriter,
)
from zaqar.transport.wsgi.server.request_greenlets import RequestGreenlets
from zaqar.transport.wsgi.server.request_threads import RequestThreads
from zaqar.transport.wsgi.server.worker_checks_and_shutdown import (
    WorkerShutdown,
)
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
        'processes concurrently, besides loop_requests.',
    ),
    cfg.IntOpt(
        'loop_requests',
        default=32,
        min=0,
        help='Requests that the event loop of each worker processes '
        'concurrently, without a thread. Applies where both stores are '
        'SQLite, or Redis without TLS and wait_replicas if hiredis is '
        'installed, to requests for messages, claims and single queues; '
        'threads have the others. 0 leaves all requests to threads.',
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

#: Open files of a worker besides connections of clients.
_OTHER_FILES = 256


def serve(
    listener: socket.socket,
    app: App,
    settings: Any,
    longest: int,
    ready: Callable[[], None] = lambda: None,
    end_waits: Callable[[], None] = lambda: None,
    counts: memoryview | None = None,
    number: int = 0,
    *,
    waits_in_greenlets: bool = False,
) -> None:
    """Serve requests until SIGTERM; finish those in progress, then return.

    After SIGHUP, other processes accept connections, answers close theirs,
    and idle ones are closed after
    :data:`.worker_checks_and_shutdown.LINGER` seconds.

    :param settings: the options of the group
    :param longest: bytes of the longest body that is read
    :param ready: called when requests are about to be accepted
    :param end_waits: answers the requests that wait for messages
    :param counts: the connections of each worker, shared by all of them
    :param number: of this worker among them
    :param waits_in_greenlets: whether the loop may answer requests itself
    """
    # Only processes that serve have it.
    import uvloop

    # A client that reads nothing of its answer: the kernel drops those with a
    # full window. Accepted connections inherit this.
    timeout = settings.write_timeout * 1000
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)
    limits = ClientLimits(
        settings.header_timeout,
        settings.body_timeout,
        settings.body_min_rate,
        longest,
    )
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    call_in_loop: Callable[[Callable[[], None]], object]
    call_in_loop = loop.call_soon_threadsafe
    threads: RequestThreads | RequestGreenlets
    threads = RequestThreads(settings.threads)
    if waits_in_greenlets and settings.loop_requests:
        hub = Hub(loop, settings.threads)
        threads = RequestGreenlets(hub, settings.loop_requests, threads)
        call_in_loop = hub.call
    writer = AnswerWriter(call_in_loop)
    answering = Answering(
        app, threads, writer.put, settings.max_unread_per_project
    )
    clients = Clients(
        listener.getsockname()[:2], limits, answering.handle, counts, number
    )
    acceptor = Acceptor(
        loop, listener, clients, _connections(settings.max_connections)
    )
    shutdown = WorkerShutdown(
        loop, answering, threads, clients, acceptor, end_waits
    )
    loop.add_signal_handler(signal.SIGTERM, shutdown.request)
    loop.add_signal_handler(signal.SIGHUP, shutdown.retire)
    # All objects so far are permanent: exclude them from collections.
    gc.freeze()
    # First, since threads inherit the priority of this one, which it restores.
    ready()
    threads.start()
    acceptor.go_on()
    shutdown.check()
    loop.run_forever()


def _connections(wanted: int) -> int:
    """Raise the limit of open files; return the connections it admits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + _OTHER_FILES
    if most != resource.RLIM_INFINITY:
        files = min(files, most)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return max(1, files - _OTHER_FILES)
