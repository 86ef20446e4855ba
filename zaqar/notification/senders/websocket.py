# SPDX-License-Identifier: Apache-2.0
"""``websocket``: messages are handed to the server that has the connection.

That server has created the URI, ``websocket://<node>/<connection>``. It is
called directly if it runs in this process, else by a signed request.

:source: reference/websocket, "Pushes"
"""

import functools
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from zaqar.controllers.subscription_validation import SOCKET
from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.notification import notifier_request_signatures
from zaqar.notification.notifier_request_signatures import (
    NonceSource,
    RequestAuthenticator,
)
from zaqar.notification.sender_interface import Delivery, Outcome, Verdict
from zaqar.notification.senders.websocket_server_client import InternalClient
from zaqar.notification.settings import NotificationSettings
from zaqar.notification.websocket_node_directory import (
    LOCAL_NODES,
    Deliver,
    NodeDirectory,
)
from zaqar.storage.base import ManagementStore

#: Seconds after which a message for a connection that takes none is given up.
PATIENCE = 60

#: Maximum number of servers with idle connections, and with cached keys.
_SERVERS = 100

#: Meaning of statuses; any other one is a failure of the server.
_OUTCOMES = {
    204: Outcome(Verdict.DELIVERED),
    410: Outcome(Verdict.GONE, 'the connection is gone'),
    413: Outcome(Verdict.REFUSED, 'the message is too long'),
    429: Outcome(Verdict.RETRY, 'the connection takes nothing'),
}


class SocketSender:
    """Hands messages to WebSocket servers.

    :param secret: shared secret, None where each server has its own
    """

    schemes: tuple[str, ...] = (SOCKET,)

    def __init__(
        self,
        store: ManagementStore,
        secret: str | None,
        local: Mapping[str, Deliver] = LOCAL_NODES,
    ) -> None:
        self._directory = NodeDirectory(store)
        self._mac = (
            RequestAuthenticator.from_secret(secret) if secret else None
        )
        self._nonces = NonceSource()
        self._local = local
        self._clients: dict[str, InternalClient] = {}

    def send(self, delivery: Delivery, *, now: int) -> Outcome:
        parts = urlsplit(delivery.subscriber)
        node, connection = parts.netloc, parts.path.lstrip('/')
        try:
            outcome = self._attempt(node, connection, delivery.body)
        except StoreUnavailable:
            return Outcome(
                Verdict.RETRY, 'the management store is not responding'
            )
        is_over = now - delivery.first_at >= PATIENCE * 1000
        if outcome.verdict is Verdict.RETRY and is_over:
            return Outcome(Verdict.REFUSED, outcome.reason)
        return outcome

    def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _attempt(self, node: str, connection: str, body: bytes) -> Outcome:
        deliver = self._local.get(node)
        if deliver is not None:
            return _outcome(deliver(connection, body))
        lease = self._directory.find(node)
        if lease is None:
            return Outcome(Verdict.GONE, 'the server is gone')
        moment = str(int(time.time()))
        nonce = self._nonces.fresh()
        mac = self._mac or _mac(lease.secret)
        headers = {
            notifier_request_signatures.TIME: moment,
            notifier_request_signatures.NONCE: nonce,
            notifier_request_signatures.MAC: mac.sign(
                connection, moment, nonce, body
            ),
            'Content-Type': 'application/json',
        }
        try:
            status = self._client(lease.uri).post(connection, headers, body)
        except OSError:
            self._directory.invalidate(node)
            return Outcome(Verdict.RETRY, 'the server cannot be reached')
        return _outcome(status)

    def _client(self, uri: str) -> InternalClient:
        client = self._clients.get(uri)
        if client is None:
            if len(self._clients) >= _SERVERS:
                # Most of these servers have ended.
                self.close()
            client = self._clients.setdefault(uri, InternalClient(uri))
        return client


@functools.lru_cache(_SERVERS)
def _mac(secret: str) -> RequestAuthenticator:
    return RequestAuthenticator.from_secret(secret)


def create(settings: NotificationSettings) -> SocketSender:
    if settings.conf is None or settings.management is None:
        raise ConfigurationError('WebSocket servers need a management store')
    secret = notifier_request_signatures.secret_from_conf(settings.conf)
    return SocketSender(settings.management, secret)


def _outcome(status: int) -> Outcome:
    return _OUTCOMES.get(status) or Outcome(
        Verdict.RETRY, f'the server answers {status}'
    )
