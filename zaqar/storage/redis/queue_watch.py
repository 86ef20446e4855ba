# SPDX-License-Identifier: Apache-2.0
"""Reports changes of queues as soon as servers publish them.

Whoever waits for a queue subscribes to its channel and sets a field of its
state. The scripts that post and release publish where they see the field, and
clear it when nobody is there any more: a queue that nobody waits for costs
nothing.
"""

import contextlib
import logging
import math
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Set

from zaqar.errors import StoreUnavailable
from zaqar.storage.redis import key_names
from zaqar.storage.redis.node_connection_pool import ConnectionLost, RedisNode
from zaqar.storage.redis.pubsub_connection import PubSubConnection
from zaqar.storage.redis.retrying_client import RedisClient
from zaqar.storage.store_watch_interface import OnChange, Watch

LOG = logging.getLogger(__name__)

#: Seconds after which servers are checked again for their role, queues for
#: their field, and after which those that are no longer wanted are left.
INTERVAL = 5.0

#: Seconds between two tries to reach a server: none before the first one, then
#: from the first of these up to the second.
MIN_PAUSE, MAX_PAUSE = 0.1, 5.0

#: Seconds to wait for the thread, which may be waiting for a server.
CLOSE_TIMEOUT = 5.0


class WatchOpener:
    """Opens watches of a deployment."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._is_refused = False

    def open(self, changed: OnChange) -> Watch | None:
        """Return a watch, None where we may not subscribe or publish."""
        client = self._client
        try:
            node = client.topology.node(key_names.of_server(client.prefix))
            with contextlib.closing(_connect(client, node)) as connection:
                refusal = connection.refusal()
        except ConnectionLost as error:
            client.topology.invalidate()
            raise StoreUnavailable from error
        if not refusal:
            return RedisWatch(client, changed)
        if not self._is_refused:
            LOG.warning(
                'Redis does not let us subscribe and publish, so requests '
                'that wait learn of messages later: %s. Grant the user the '
                'commands @pubsub and the channels %s:*.',
                refusal,
                client.prefix,
            )
        self._is_refused = True
        return None


class RedisWatch(Watch):
    """One thread, with a connection to each server that has a queue."""

    hears_own = True

    def __init__(self, client: RedisClient, changed: OnChange) -> None:
        self._client = client
        self._changed = changed
        self._lock = threading.Lock()
        self._wanted: set[str] = set()
        self._added: set[str] = set()
        self._is_closed = False
        self._connections: dict[RedisNode, PubSubConnection] = {}
        self._outage = _Outage()
        self._renew_at = time.monotonic() + INTERVAL
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringer = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread = threading.Thread(
            target=self._run, name='redis-watch', daemon=True
        )
        self._thread.start()

    def add(self, qid: str) -> None:
        with self._lock:
            self._wanted.add(qid)
            is_first = not self._added
            self._added.add(qid)
        if is_first:
            self._ring()

    def remove(self, qid: str) -> None:
        # Left a few seconds later, since many are soon added again.
        with self._lock:
            self._wanted.discard(qid)

    def close(self) -> None:
        self._is_closed = True
        self._ring()
        self._thread.join(CLOSE_TIMEOUT)
        self._ringer.close()

    def _ring(self) -> None:
        """Wake the thread, unless it has ended."""
        with contextlib.suppress(OSError):
            self._ringer.send(b'.')

    def _run(self) -> None:
        try:
            while not self._is_closed:
                self._read()
                self._subscribe()
                self._renew()
        finally:
            for connection in self._connections.values():
                connection.close()
            self._selector.close()
            self._bell.close()

    def _read(self) -> None:
        """Wait for something to do, and report what servers publish."""
        wake_at = min(self._renew_at, self._outage.retry_at)
        timeout = max(wake_at - time.monotonic(), 0)
        for key, _ in self._selector.select(timeout):
            node: RedisNode | None = key.data
            if node is None:
                self._bell.recv(4096)
            elif connection := self._connections.get(node):
                with self._losing(node):
                    for qid, count in connection.read():
                        self._changed(qid, count)
                self._move(connection)
        connections = self._connections.values()
        if all(one.is_confirmed for one in connections):
            self._outage.end()

    def _move(self, connection: PubSubConnection) -> None:
        """Subscribe on another server to queues whose slot has moved."""
        if connection.moved:
            self._client.topology.invalidate()
            with self._lock:
                self._added |= connection.moved
            connection.moved.clear()

    def _subscribe(self) -> None:
        """Subscribe to queues that were added, or whose connection broke."""
        with self._lock:
            qids = (self._added | self._outage.due()) & self._wanted
            self._added = set()
        by_node: dict[RedisNode, set[str]] = {}
        try:
            for qid in qids:
                key = key_names.of_state(self._client.prefix, qid)
                node = self._client.topology.node(key)
                by_node.setdefault(node, set()).add(qid)
        except ConnectionLost as error:
            self._outage.add(None, qids, error)
            return
        for node, some in by_node.items():
            if node in self._outage.nodes:
                self._outage.add(node, some)
                continue
            with self._losing(node, some):
                self._connection(node).subscribe(some)

    def _renew(self) -> None:
        """Check all servers and queues, and leave those not wanted."""
        if time.monotonic() < self._renew_at:
            return
        self._renew_at = time.monotonic() + INTERVAL
        with self._lock:
            wanted = {*self._wanted}
        for node, connection in [*self._connections.items()]:
            with self._losing(node):
                connection.renew(wanted)
            if not connection.qids:
                self._close(node)

    def _connection(self, node: RedisNode) -> PubSubConnection:
        if node not in self._connections:
            connection = _connect(self._client, node)
            self._connections[node] = connection
            self._selector.register(connection, selectors.EVENT_READ, node)
            if not self._outage.is_over:
                self._changed(None, 0)
        return self._connections[node]

    def _close(self, node: RedisNode) -> Set[str]:
        """Close the connection to a server and return its queues."""
        connection = self._connections.pop(node, None)
        if connection is None:
            return set()
        self._selector.unregister(connection)
        connection.close()
        return connection.qids

    @contextlib.contextmanager
    def _losing(
        self, node: RedisNode, qids: Set[str] = frozenset()
    ) -> Iterator[None]:
        """Try again later if the connection to a server breaks."""
        try:
            yield
        except ConnectionLost as error:
            self._client.topology.invalidate()
            self._outage.add(node, qids | self._close(node), error)


class _Outage:
    """Servers that were not reached, and their queues.

    :ivar nodes: the servers; None while they are unknown
    :ivar retry_at: when to try again, monotonic
    :ivar is_over: whether all is well
    """

    def __init__(self) -> None:
        self.nodes: set[RedisNode | None] = set()
        self.retry_at = math.inf
        self._qids: set[str] = set()
        self._pause = 0.0
        self.is_over = True

    def add(
        self,
        node: RedisNode | None,
        qids: Set[str],
        error: ConnectionLost | None = None,
    ) -> None:
        if self.is_over:
            LOG.warning(
                'Redis does not report new messages (%s); until it does, '
                'requests that wait learn of them up to a second later',
                error,
            )
            self.is_over = False
        self._qids |= qids
        self.nodes.add(node)
        if self.retry_at == math.inf:
            self.retry_at = time.monotonic() + self._pause
            self._pause = min(max(self._pause * 2, MIN_PAUSE), MAX_PAUSE)

    def due(self) -> Set[str]:
        """Return the queues to try again now."""
        if time.monotonic() < self.retry_at:
            return set()
        qids, self._qids = self._qids, set()
        self.nodes.clear()
        self.retry_at = math.inf
        return qids

    def end(self) -> None:
        """End the outage, if any: the servers that are left have answered."""
        if not self._qids:
            self._pause, self.is_over = 0.0, True


def _connect(client: RedisClient, node: RedisNode) -> PubSubConnection:
    return PubSubConnection(
        node, client.prefix, in_cluster=not client.is_single_server
    )
