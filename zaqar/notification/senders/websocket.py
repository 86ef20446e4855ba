# SPDX-License-Identifier: Apache-2.0
"""``websocket``: messages are handed to the server that has the connection.

That server has created the URI, ``websocket://<node>/<connection>``. It gets a
message once for all its connections.

:source: reference/websocket, "Pushes"
"""

import asyncio
import functools
from collections.abc import Sequence
from urllib.parse import urlsplit

from zaqar.controllers.subscription_validation import SOCKET
from zaqar.daemon_threads import DaemonThreads
from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.notification.sender_interface import Delivery, Outcome, Verdict
from zaqar.notification.settings import NotificationSettings, socket_secrets
from zaqar.socket_pushes.push_client import (
    PushClient,
    TooLong,
)
from zaqar.socket_pushes.signed_push_channel import Key
from zaqar.socket_pushes.websocket_node_directory import SCHEME, NodeDirectory
from zaqar.storage.abstract_stores import ManagementStore

#: Seconds after which a message for a connection that takes none is given up.
PATIENCE = 60

#: Threads that read records of servers.
THREADS = 2

#: Maximum number of servers with open connections, and with cached keys.
_SERVERS = 100

_TOO_LONG = Outcome(Verdict.REFUSED, 'the message is too long')
_UNKNOWN = Outcome(Verdict.RETRY, 'the server gives no reason')

#: Meaning of statuses; see ``STATUS`` of
#: ``zaqar.transport.websocket.notifier_endpoint``.
_OUTCOMES = (
    Outcome(Verdict.DELIVERED),
    Outcome(Verdict.GONE, 'the connection is gone'),
    Outcome(Verdict.RETRY, 'the connection takes nothing'),
)


#: What a server of an earlier release does not take another notifier of such
#: a release may deliver: so that is retried as long as the policy says.
_EARLIER = Outcome(Verdict.RETRY, 'the server is of an earlier release')

_UNREACHABLE = Outcome(Verdict.RETRY, 'the server cannot be reached')
_NO_STORE = Outcome(Verdict.RETRY, 'the management store is not responding')
_ENDED = Outcome(Verdict.GONE, 'the server is gone')


class SocketSender:
    """Hands messages to WebSocket servers.

    :param secret: shared secret, None where each server has its own
    """

    schemes: tuple[str, ...] = (SOCKET,)

    def __init__(self, store: ManagementStore, secret: str | None) -> None:
        self._directory = NodeDirectory(store)
        self._key = Key(secret) if secret else None
        self._clients: dict[str, PushClient] = {}
        self._threads = DaemonThreads(THREADS, 'nodes')

    async def send(self, delivery: Delivery, *, now: int) -> Outcome:
        parts = urlsplit(delivery.subscriber)
        result = await self.push(
            parts.netloc,
            [parts.path.lstrip('/')],
            [delivery.body],
            first_at=delivery.first_at,
            now=now,
        )
        return result if isinstance(result, Outcome) else result[0][0]

    async def push(
        self,
        node: str,
        connections: Sequence[str],
        texts: Sequence[bytes],
        *,
        first_at: int,
        now: int,
    ) -> Outcome | Sequence[Sequence[Outcome]]:
        """Hand messages, JSON texts, to connections of a server.

        :param connections: at most as many as a hand-over may have
        :param first_at: when they were first due, in milliseconds
        :returns: for each text an outcome for each connection; or one for
            all, of which the server has none
        """
        lease = self._directory.cached(node)
        if lease is None:
            try:
                lease = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._directory.read, node
                )
            except StoreUnavailable:
                return _NO_STORE
        if lease is None:
            return _ENDED
        if not lease.uri.startswith(SCHEME):
            return _EARLIER
        client = self._client(lease.uri, self._key or _key(lease.secret))
        try:
            results = await _exchange(client, connections, texts)
        except (OSError, TimeoutError):
            self._directory.invalidate(node)
            return _limited(_UNREACHABLE, first_at, now)
        return [
            [_limited(outcome, first_at, now) for outcome in outcomes]
            for outcomes in results
        ]

    def close(self) -> None:
        self._close_clients()
        self._threads.shutdown()

    def _close_clients(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _client(self, uri: str, key: Key) -> PushClient:
        client = self._clients.get(uri)
        if client is None:
            if len(self._clients) >= _SERVERS:
                # Most of these servers have ended.
                self._close_clients()
            client = self._clients[uri] = PushClient(uri, key)
        return client


async def _exchange(
    client: PushClient, connections: Sequence[str], texts: Sequence[bytes]
) -> Sequence[Sequence[Outcome]]:
    """Hand messages over: together if they are not too long."""
    try:
        statuses = await client.hand_over(connections, texts)
    except TooLong:
        if len(texts) == 1:
            return [[_TOO_LONG] * len(connections)]
        return [
            (await _exchange(client, connections, [text]))[0] for text in texts
        ]
    outcomes = [
        _OUTCOMES[status] if status < len(_OUTCOMES) else _UNKNOWN
        for status in statuses
    ]
    return [outcomes] * len(texts)


def _limited(outcome: Outcome, first_at: int, now: int) -> Outcome:
    """Return an outcome, or a refusal once nothing is retried any more."""
    is_over = now - first_at >= PATIENCE * 1000
    if outcome.verdict is Verdict.RETRY and is_over:
        return Outcome(Verdict.REFUSED, outcome.reason)
    return outcome


@functools.lru_cache(_SERVERS)
def _key(secret: str) -> Key:
    return Key(secret)


def create(settings: NotificationSettings) -> SocketSender:
    if settings.conf is None or settings.management is None:
        raise ConfigurationError('WebSocket servers need a management store')
    secrets = socket_secrets(settings.conf)
    return SocketSender(settings.management, secrets[0] if secrets else None)
