# SPDX-License-Identifier: Apache-2.0
"""The WebSocket server of a process."""

import asyncio
import contextlib
import functools
import gc
import logging
import signal
import socket
import time
from collections.abc import Callable, Mapping

from oslo_config import cfg

from zaqar import parent_exit_watch
from zaqar.api.dispatch import Dispatcher
from zaqar.controllers.websocket_connection_quota import Sockets
from zaqar.errors import ConfigurationError
from zaqar.event_loop_greenlets import Hub
from zaqar.notification.settings import socket_secrets
from zaqar.socket_pushes import (
    signed_push_channel,
    websocket_node_directory,
)
from zaqar.socket_pushes.signed_push_channel import Key
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.transport import listening_socket
from zaqar.transport.large_page_fairness import Job
from zaqar.transport.websocket import settings as options
from zaqar.transport.websocket.api_requests_over_http import HttpRequests
from zaqar.transport.websocket.autobahn_factory import Factory
from zaqar.transport.websocket.connection_manager import Connections
from zaqar.transport.websocket.frame_authentication import Authenticator
from zaqar.transport.websocket.frame_greenlets import FrameGreenlets
from zaqar.transport.websocket.frame_handler import FrameHandler, Trace
from zaqar.transport.websocket.message_pushes import MessagePushes
from zaqar.transport.websocket.node_registration import NodeRegistration
from zaqar.transport.websocket.notifier_endpoint import NotifierEndpoint
from zaqar.transport.websocket.queue_feeds import QueueFeeds
from zaqar.transport.websocket.server_sent_event_streams import Streams
from zaqar.transport.websocket.worker_threads import Workers
from zaqar.transport.wsgi_types import App

LOG = logging.getLogger(__name__)

#: Seconds that requests in progress and close frames have at shutdown.
GRACE = 30.0

#: Seconds in which a server that is to end has ended.
PREDECESSOR = GRACE + 10.0

#: Seconds between two checks whether all work is finished.
_LOOK = 0.05

#: Seconds between two checks of the parent process.
_WATCH = 0.5

#: How much longer the JSON of a message may be than what was posted, where
#: that was MessagePack: "\u0000" for one byte.
_GROWTH = 6


class Server:
    """Serves clients, and notifiers with messages for them.

    :param http: answers the requests that need no WebSocket
    :param longest: bytes of the longest body of those
    :param watch: called with the number of connections when it changes
    :param trace: runs actions in a trace
    :param waits_in_greenlets: whether the loop may answer frames itself
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        dispatcher: Dispatcher,
        store: ManagementStore,
        http: App,
        longest: int,
        watch: Callable[[int], None] | None = None,
        trace: Trace | None = None,
        *,
        waits_in_greenlets: bool = False,
    ) -> None:
        limits = dispatcher.limits
        self._store = store
        self._settings = options.from_conf(conf, limits)
        self._shared = socket_secrets(conf)
        self._own = '' if self._shared else signed_push_channel.new_secret()
        mount = self._settings.http_prefix.rstrip('/')
        authenticator = Authenticator.from_conf(
            conf, limits, dispatcher.signer, mount
        )
        self._sockets = Sockets(
            dispatcher.quotas, store, self._settings.node_id
        )
        self._handler = FrameHandler(
            dispatcher,
            authenticator,
            self._settings.node_id,
            trace,
            # Sooner than connections are closed for it.
            self._settings.max_unsent_per_project // 2,
            self._sockets,
        )
        self._mount, self._http, self._longest = mount, http, longest
        assert dispatcher.waiters is not None
        self._waiters = dispatcher.waiters
        self._max_body = self._settings.max_frame_size * _GROWTH
        self._connections: Connections | None = None
        self._feeds: QueueFeeds | None = None
        self._watch = watch
        self._waits_in_greenlets = waits_in_greenlets

    def facts(self) -> Mapping[str, int]:
        connections = len(self._connections) if self._connections else 0
        streams = len(self._feeds) if self._feeds else 0
        return {'connections': connections, 'streams': streams}

    def serve(
        self, listener: socket.socket, loaded: Callable[[], None]
    ) -> None:
        """Serve until SIGTERM; finish requests in progress, then return.

        :param loaded: called when all is prepared, before anything is written
        """
        endpoint = self._endpoint()
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(self._serve(listener, endpoint, loaded))

    def _endpoint(self) -> socket.socket:
        """Listen for other processes.

        A server that we take over from has the same port until it has ended.
        """
        end = time.monotonic() + PREDECESSOR
        is_waiting = False
        while True:
            try:
                return listening_socket.listen(
                    self._settings.notification_bind,
                    self._settings.notification_port,
                    options.BACKLOG,
                    options.GROUP,
                    'notification_bind, notification_port',
                )
            except ConfigurationError as error:
                if time.monotonic() > end:
                    raise
                if not is_waiting:
                    LOG.info('Waiting for a port: %s', error)
                is_waiting = True
                time.sleep(_LOOK)

    async def _serve(
        self,
        listener: socket.socket,
        inner: socket.socket,
        loaded: Callable[[], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        workers = Workers(self._settings.worker_threads, loop)
        connections = self._connections = Connections(
            self._handler, self._settings, workers, loop, self._watch
        )
        count = self._settings.loop_requests
        if self._waits_in_greenlets and count:
            hub = Hub(loop, self._settings.worker_threads)
            connections.greenlets = FrameGreenlets(hub, count)
        feeds = QueueFeeds(
            self._waiters,
            workers,
            loop,
            self._longest,
            self._handler.dispatcher.throttle,
        )
        connections.feeds = self._feeds = feeds
        streams = Streams(feeds, loop, self._settings.max_stream_age)
        # Requests are woken by whoever has messages for them.
        self._handler.turns.later = functools.partial(_soon, loop)
        self._handler.turns.after = loop.call_later
        connections.http = HttpRequests(
            self._http,
            workers,
            self._handler.turns,
            loop,
            self._longest,
            self._mount,
            streams,
            self._sockets,
        )
        node = self._node(inner, connections, loop)
        key = Key(*(self._shared or [self._own]))
        pushes = MessagePushes(connections)
        notifiers = NotifierEndpoint(pushes, key, self._max_body)
        await notifiers.start(inner)
        # All objects so far are permanent: exclude them from collections.
        gc.freeze()
        loaded()
        await loop.run_in_executor(None, node.renew)
        node.start()
        server = await loop.create_server(
            Factory(connections, loop), sock=listener, backlog=options.BACKLOG
        )
        await _until_stopped(stopped)
        server.close()
        self._waiters.close()
        streams.close()
        connections.drain()
        await _until_quiet(connections)
        # Before the port is free for a server of the same name.
        await loop.run_in_executor(None, node.stop)
        await notifiers.stop()
        await loop.run_in_executor(None, workers.close, GRACE)

    def _node(
        self,
        inner: socket.socket,
        connections: Connections,
        loop: asyncio.AbstractEventLoop,
    ) -> NodeRegistration:
        host, port = inner.getsockname()[:2]
        if host in ('0.0.0.0', '::'):
            host = socket.gethostname()
        elif ':' in host:
            host = f'[{host}]'
        return NodeRegistration(
            self._store,
            self._settings.node_id,
            f'{websocket_node_directory.SCHEME}//{host}:{port}',
            self._own,
            functools.partial(loop.call_soon_threadsafe, connections.renew),
            self._sockets,
        )


def _soon(loop: asyncio.AbstractEventLoop, job: Job) -> None:
    """Do a job of a request that is woken by any thread."""
    # When the loop has ended nobody waits for an answer.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(job)


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def _until_stopped(stopped: asyncio.Event) -> None:
    """Return on SIGTERM, or when the parent process has died."""
    has_parent_ended = parent_exit_watch.watch()
    while not (stopped.is_set() or has_parent_ended()):
        try:
            async with asyncio.timeout(_WATCH):
                await stopped.wait()
        except TimeoutError:
            continue


async def _until_quiet(connections: Connections) -> None:
    end = time.monotonic() + GRACE
    while not connections.is_quiet and time.monotonic() < end:
        await asyncio.sleep(_LOOK)
