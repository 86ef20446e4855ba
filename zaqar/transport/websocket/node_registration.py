# SPDX-License-Identifier: Apache-2.0
"""Registration of this server as a node, by a lease that notifiers read."""

import logging
import threading
from collections.abc import Callable

from zaqar.controllers.websocket_connection_quota import Sockets
from zaqar.errors import StoreUnavailable
from zaqar.socket_pushes import websocket_node_directory
from zaqar.storage.abstract_stores import ManagementStore

LOG = logging.getLogger(__name__)

#: Seconds between two tries while the store does not respond.
_AGAIN = 1


class NodeRegistration:
    """Keeps a lease until stopped.

    :param uri: where messages are handed over
    :param secret: see :class:`.websocket_node_directory.NodeLease`
    :param lapsed: called when the lease had ended and was made anew; what
        was told meanwhile is lost
    :param sockets: the connections, which are recorded with each renewal
    """

    def __init__(
        self,
        store: ManagementStore,
        name: str,
        uri: str,
        secret: str,
        lapsed: Callable[[], object],
        sockets: Sockets | None = None,
    ) -> None:
        self._sockets = sockets
        self._store = store
        self._name = name
        self._uri = uri
        self._secret = secret
        self._lapsed = lapsed
        self._has_been = False
        self._is_silent = False
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._live, name='node', daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End, and give the lease back."""
        self._stop.set()
        self._thread.join(websocket_node_directory.RENEW_SECONDS)
        try:
            if self._sockets is not None:
                self._sockets.withdraw()
            websocket_node_directory.release(
                self._store, self._name, self._uri
            )
        except StoreUnavailable:
            LOG.info('The lease of this server is not released; it expires')

    def renew(self) -> bool:
        """Renew the lease; tell whether that went well."""
        try:
            ended, now = websocket_node_directory.renew(
                self._store,
                self._name,
                self._uri,
                self._secret,
                yields=self._has_been,
            )
            if self._sockets is not None:
                self._sockets.record()
        except StoreUnavailable:
            if not self._is_silent:
                LOG.warning('The lease of this server cannot be renewed')
            self._is_silent = True
            return False
        if self._has_been and (ended is None or ended <= now):
            LOG.warning('The lease of this server had expired')
            self._lapsed()
        self._has_been = True
        self._is_silent = False
        return True

    def _live(self) -> None:
        pause = 0
        while not self._stop.wait(pause):
            try:
                pause = (
                    websocket_node_directory.RENEW_SECONDS
                    if self.renew()
                    else _AGAIN
                )
            except Exception:
                LOG.exception('The lease of this server cannot be renewed')
                pause = websocket_node_directory.RENEW_SECONDS
