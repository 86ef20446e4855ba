# SPDX-License-Identifier: Apache-2.0
"""The WebSocket server of a process: one loop, some threads, one lease."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping

from oslo_config import cfg

from zaqar.api.dispatch import Dispatcher
from zaqar.errors import ConfigurationError
from zaqar.notification import internal_auth, websocket_nodes
from zaqar.notification.internal_auth import RequestAuthenticator
from zaqar.storage.base import ManagementStore
from zaqar.transport import listening_socket
from zaqar.transport.websocket import settings as options
from zaqar.transport.websocket.access import Access
from zaqar.transport.websocket.actions import Desk, Trace
from zaqar.transport.websocket.hub import Hub
from zaqar.transport.websocket.internal_server import STATUS, InternalServer
from zaqar.transport.websocket.node import Node
from zaqar.transport.websocket.wire import Factory
from zaqar.transport.websocket.workers import Workers

LOG = logging.getLogger(__name__)

#: Seconds that requests under way and close frames have for their end.
GRACE = 30.0

#: Seconds in which a server that is to end has ended.
PREDECESSOR = GRACE + 10.0

#: Seconds between two looks at whether all is quiet.
_LOOK = 0.05

#: Seconds between two looks at whether the parent is there.
_WATCH = 0.5

#: Seconds that a delivery from a thread of this process waits for the loop.
_HANDED = 5.0

#: How much longer the JSON of a message may be than what was posted, where
#: that was MessagePack: "\u0000" for one byte.
_GROWTH = 6

BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket for clients.

    :raises ConfigurationError: the address cannot be had
    """
    return listening_socket.listen(host, port, BACKLOG, options.GROUP)


class Server:
    """Serves clients, and whoever has messages for them.

    :param watch: is told how many connections there are, when that changes
    :param trace: makes the calls of actions, where they are traced
    :raises ConfigurationError: it cannot work like this
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        dispatcher: Dispatcher,
        store: ManagementStore,
        watch: Callable[[int], None] | None = None,
        trace: Trace | None = None,
    ) -> None:
        limits = dispatcher.limits
        self._store = store
        self._settings = options.from_conf(conf, limits)
        self._shared = internal_auth.secret_from_conf(conf)
        self._own = '' if self._shared else internal_auth.new_secret()
        access = Access.from_conf(
            conf,
            limits,
            dispatcher.signer,
            self._settings.http_prefix.rstrip('/'),
        )
        self._desk = Desk(dispatcher, access, self._settings.node_id, trace)
        self._max_body = self._settings.max_frame_size * _GROWTH
        self._hub: Hub | None = None
        self._watch = watch

    def facts(self) -> Mapping[str, int]:
        """Return what there is to tell of this server."""
        return {'connections': len(self._hub) if self._hub else 0}

    def serve(self, listener: socket.socket) -> None:
        """Serve until SIGTERM; finish what is under way, then return."""
        endpoint = self._endpoint()
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(self._serve(listener, endpoint))

    def _endpoint(self) -> socket.socket:
        """Listen for other processes.

        A server that we take over from has the same port until it has ended.

        :raises ConfigurationError: the address cannot be had even then
        """
        end = time.monotonic() + PREDECESSOR
        is_waiting = False
        while True:
            try:
                return listening_socket.listen(
                    self._settings.notification_bind,
                    self._settings.notification_port,
                    BACKLOG,
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
        self, listener: socket.socket, inner: socket.socket
    ) -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        workers = Workers(self._settings.worker_threads, loop)
        hub = self._hub = Hub(
            self._desk, self._settings, workers, loop, self._watch
        )
        node = self._node(inner, hub, loop)
        await loop.run_in_executor(None, node.renew)
        node.start()
        secret = self._shared or self._own
        mac = RequestAuthenticator.from_secret(secret)
        internal_server = InternalServer(hub, mac, self._max_body)
        await internal_server.start(inner)
        websocket_nodes.LOCAL_NODES.join(
            self._settings.node_id, _Local(hub, loop)
        )
        server = await loop.create_server(
            Factory(hub, loop), sock=listener, backlog=BACKLOG
        )
        # What has been made until now stays: no need to look at it again.
        gc.freeze()
        await _until_told(stopped)
        server.close()
        hub.drain()
        await _until_quiet(hub)
        websocket_nodes.LOCAL_NODES.leave(self._settings.node_id)
        # Before the port is free for a server of the same name.
        await loop.run_in_executor(None, node.stop)
        await internal_server.stop()
        await loop.run_in_executor(None, workers.close, GRACE)

    def _node(
        self, inner: socket.socket, hub: Hub, loop: asyncio.AbstractEventLoop
    ) -> Node:
        host, port = inner.getsockname()[:2]
        if host in ('0.0.0.0', '::'):
            host = socket.gethostname()
        elif ':' in host:
            host = f'[{host}]'
        return Node(
            self._store,
            self._settings.node_id,
            f'http://{host}:{port}',
            self._own,
            functools.partial(_call, loop, hub.renew),
        )


class _Local:
    """The way to our connections for threads of this process."""

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop

    def __call__(self, connection: str, text: bytes) -> int:
        future = asyncio.run_coroutine_threadsafe(
            self._hub.push(connection, text), self._loop
        )
        try:
            return STATUS[future.result(_HANDED)]
        except TimeoutError:
            future.cancel()
            return 503


def _call(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(what)


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    found: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return found


async def _until_told(stopped: asyncio.Event) -> None:
    """Return when told to stop, or when the parent has gone unheard."""
    parent = os.getppid()
    while not stopped.is_set() and os.getppid() == parent:
        try:
            async with asyncio.timeout(_WATCH):
                await stopped.wait()
        except TimeoutError:
            continue


async def _until_quiet(hub: Hub) -> None:
    end = time.monotonic() + GRACE
    while not hub.is_quiet and time.monotonic() < end:
        await asyncio.sleep(_LOOK)
