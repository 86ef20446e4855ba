# SPDX-License-Identifier: Apache-2.0
"""``websocket``: a message handed to the server that holds the connection.

The URI, ``websocket://<node>/<connection>``, is made by that server. Where it
runs in this process it is told directly, else by a signed request.

:source: websocket.md 6
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import urllib3

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.notification import nodes, socket_mac
from zaqar.notification.sender import Delivery, Outcome, Verdict
from zaqar.notification.settings import Settings
from zaqar.notification.socket_mac import SocketMac
from zaqar.storage.base import ManagementStore

SCHEME = 'websocket'

#: Seconds after which a message for a connection that takes none is given
#: up: who is slower should read the queue.
PATIENCE = 60

#: Seconds for connecting, and for an answer.
_TIMEOUT = urllib3.Timeout(connect=2, read=5)

#: Connections that are kept to each server.
_KEPT = 16

_DONE = Outcome(Verdict.DELIVERED)


class SocketSender:
    """Hands messages to WebSocket servers.

    :param store: where the servers have their leases
    :param secret: shared by all of the service, None where each server has
        its own
    """

    schemes: tuple[str, ...] = (SCHEME,)

    def __init__(
        self,
        store: ManagementStore,
        secret: str | None,
        here: nodes.Here = nodes.HERE,
    ) -> None:
        self._directory = nodes.Directory(store)
        self._mac = SocketMac.from_secret(secret) if secret else None
        self._here = here
        self._http = urllib3.PoolManager(
            maxsize=_KEPT, retries=False, timeout=_TIMEOUT
        )

    def send(self, delivery: Delivery, *, now: int) -> Outcome:
        """Make one attempt."""
        parts = urlsplit(delivery.subscriber)
        node, connection = parts.netloc, parts.path.lstrip('/')
        try:
            outcome = self._attempt(node, connection, delivery.body)
        except StoreUnavailable:
            return Outcome(Verdict.RETRY, 'the store is silent')
        is_over = now - delivery.first_at >= PATIENCE * 1000
        if outcome.verdict is Verdict.RETRY and is_over:
            return Outcome(Verdict.REFUSED, outcome.reason)
        return outcome

    def close(self) -> None:
        """Give back connections."""
        self._http.clear()

    def _attempt(self, node: str, connection: str, body: bytes) -> Outcome:
        deliver = self._here.find(node)
        if deliver is not None:
            return _outcome(deliver(connection, body))
        lease = self._directory.find(node)
        if lease is None:
            return Outcome(Verdict.GONE, 'the server is gone')
        moment = str(int(time.time()))
        mac = self._mac or SocketMac.from_secret(lease.secret)
        headers = {
            socket_mac.TIME: moment,
            socket_mac.MAC: mac.sign(connection, moment, body),
            'Content-Type': 'application/json',
        }
        try:
            answer = self._http.request(
                'POST',
                f'{lease.uri}/{connection}',
                body=body,
                headers=headers,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError:
            self._directory.doubt(node)
            return Outcome(Verdict.RETRY, 'the server cannot be reached')
        return _outcome(answer.status)


def create(settings: Settings) -> SocketSender:
    """Return the sender that the entry point names.

    :raises ConfigurationError: nobody has said where servers are found
    """
    if settings.conf is None or settings.management is None:
        raise ConfigurationError('WebSocket servers need a management store')
    secret = socket_mac.from_conf(settings.conf)
    return SocketSender(settings.management, secret)


def _outcome(status: int) -> Outcome:
    if status == 204:
        return _DONE
    if status == 410:
        return Outcome(Verdict.GONE, 'the connection is gone')
    if status == 413:
        return Outcome(Verdict.REFUSED, 'the message is too long')
    if status == 429:
        return Outcome(Verdict.RETRY, 'the connection takes nothing')
    return Outcome(Verdict.RETRY, f'the server answers {status}')
