# SPDX-License-Identifier: Apache-2.0
"""Accepting of connections, of which each worker takes its share.

All workers accept from one socket. Whichever is quickest would have nearly all
connections, and the others nothing to do: one with more than another waits a
moment, so that the other can accept.
"""

import asyncio
import logging
import socket

from zaqar.transport.wsgi.server.client_connections_and_limits import Clients
from zaqar.transport.wsgi.server.connection import Connection

LOG = logging.getLogger(__name__)

#: Seconds that others have to accept a connection.
COURTESY = 0.001

#: Seconds until accepting is tried again after it has failed.
RETRY = 0.5


class Acceptor:
    """Accepts connections from a socket that others accept from, too.

    :param most: connections at a time
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        clients: Clients,
        most: int,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._clients = clients
        self._most = most
        self._is_stopped = self._is_watching = False
        #: Whether others are being given time.
        self._is_courteous = False
        self._opening: set[asyncio.Task[object]] = set()
        clients.on_leaving = self.go_on

    def go_on(self) -> None:
        """Accept what comes, if there is room."""
        is_busy = self._is_stopped or self._is_watching or self._is_courteous
        if not is_busy and self._has_room():
            self._is_watching = True
            self._loop.add_reader(self._listener, self._look)

    def stop(self) -> None:
        """Leave all further connections to others."""
        self._is_stopped = True
        self._pause()

    def _has_room(self) -> bool:
        return len(self._clients) + len(self._opening) < self._most

    def _pause(self) -> None:
        if self._is_watching:
            self._is_watching = False
            self._loop.remove_reader(self._listener)

    def _look(self) -> None:
        """Accept a connection, or leave it to another worker."""
        if self._clients.are_many:
            self._pause()
            self._is_courteous = True
            self._loop.call_later(COURTESY, self._end_courtesy)
        else:
            self._accept()

    def _end_courtesy(self) -> None:
        self._is_courteous = False
        self._accept()

    def _accept(self) -> None:
        """Accept a connection if there still is one."""
        if self._is_stopped or not self._has_room():
            return
        try:
            opened, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            # Another worker has it, or its client has gone.
            self.go_on()
            return
        except OSError as error:
            # Too many open files, above all.
            LOG.warning('Connections cannot be accepted: %s', error.strerror)
            self._pause()
            self._loop.call_later(RETRY, self.go_on)
            return
        opened.setblocking(False)
        task = self._loop.create_task(
            self._loop.connect_accepted_socket(
                lambda: Connection(self._clients), opened
            )
        )
        self._opening.add(task)
        task.add_done_callback(self._opened)
        if self._has_room():
            self.go_on()
        else:
            self._pause()

    def _opened(self, task: asyncio.Task[object]) -> None:
        self._opening.discard(task)
        # That it has an exception means that the client has gone already.
        task.exception()
        # It counted twice for a moment.
        self.go_on()
