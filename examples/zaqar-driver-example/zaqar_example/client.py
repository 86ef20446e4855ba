# SPDX-License-Identifier: Apache-2.0
"""A client of the server, which sends a request again if it must."""

# Types of answers are checked at run time, not by mypy.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from typing import Any

import msgspec

from zaqar import errors, request_deadline
from zaqar_example.wire import Answer, Request, receive, send

#: Time limits in seconds; their sum is below the five that a call may take.
#: The deadline of the request, which its calls share, may be earlier.
CONNECT, READ = 1.0, 3.0


class Client:
    """A client of the server, with a connection for each thread."""

    def __init__(self, host: str, port: int, place: str) -> None:
        self._address = (host, port)
        self._place = place
        self._own = threading.local()
        self._open: set[socket.socket] = set()

    def ask(
        self, result: Any, plane: str, call: str, values: dict[str, Any]
    ) -> Any:
        """Return the answer to a call, converted to a type.

        :param result: that type
        :raises StoreUnavailable: the server does not respond
        """
        request = Request(
            secrets.token_hex(8), self._place, plane, call, values
        )
        try:
            answer = self._exchange(request)
        except OSError as error:
            raise errors.StoreUnavailable from error
        if answer.error:
            # Errors of the contract are sent by name.
            raise getattr(errors, answer.error)(*answer.arguments)
        return msgspec.convert(answer.value, result)

    def now(self) -> int:
        """Return the server's time in milliseconds."""
        return self.ask(int, '', 'now', {})

    def close(self) -> None:
        """Close all connections, including those of other threads."""
        for connection in [*self._open]:
            self._forget(connection)

    def _exchange(self, request: Request) -> Answer:
        connection: socket.socket | None
        connection = getattr(self._own, 'connection', None)
        if connection is not None:
            # Reconnect if it was closed meanwhile, but not after a timeout.
            with contextlib.suppress(ConnectionError, EOFError):
                return self._try(connection, request)
        try:
            return self._try(self._connect(), request)
        except EOFError:
            raise ConnectionError from None

    def _try(self, connection: socket.socket, request: Request) -> Answer:
        try:
            connection.settimeout(_left(READ))
            send(connection, request)
            return receive(connection, Answer)
        except (OSError, EOFError):
            self._forget(connection)
            self._own.connection = None
            raise

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, _left(CONNECT))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Verify that the server responds: a change that is sent to a server
        # that hangs could be made after its caller has given up.
        self._try(connection, Request('', '', '', 'now', {}))
        self._own.connection = connection
        self._open.add(connection)
        return connection

    def _forget(self, connection: socket.socket) -> None:
        self._open.discard(connection)
        connection.close()


def _left(limit: float) -> float:
    """Return the seconds that may be waited.

    :raises TimeoutError: the request has none left
    """
    seconds = request_deadline.left(limit)
    if not seconds:
        raise TimeoutError
    return seconds
