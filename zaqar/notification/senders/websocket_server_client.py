# SPDX-License-Identifier: Apache-2.0
"""Client for handing messages to WebSocket servers of the service.

The other end is ``zaqar.transport.websocket.notifier_endpoint``. A request is
one write and its response one read: a library for HTTP takes ten times as long
for headers that are never sent.

:source: reference/websocket, "Pushes"
"""

import contextlib
import re
import socket
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

#: Seconds for connecting, and for a response.
CONNECT_TIMEOUT = 2.0
RESPONSE_TIMEOUT = 5.0

#: Maximum number of idle connections.
MAX_IDLE = 16

#: Maximum bytes of the head of a response.
_MAX_HEAD = 8192

_END = b'\r\n\r\n'
_STATUS = re.compile(rb'HTTP/1\.1 ([1-5]\d\d)[ \r]')


class InternalClient:
    """A client of one server, ``http://host:port``, for many threads."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self._address = parts.hostname or '', parts.port or 80
        self._host = parts.netloc
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send a request; return the status of the response.

        :raises OSError: it is unknown whether the request has arrived
        """
        lines = [f'POST /{path} HTTP/1.1', f'Host: {self._host}']
        lines += [f'{name}: {value}' for name, value in headers.items()]
        lines += [f'Content-Length: {len(body)}', '', '']
        connection = self._borrow()
        try:
            with contextlib.suppress(BrokenPipeError):
                # The response may be there already, if the body is refused.
                connection.sendall('\r\n'.join(lines).encode() + body)
            status, is_kept = _read_response(connection)
        except BaseException:
            connection.close()
            raise
        if is_kept:
            self._return(connection)
        else:
            connection.close()
        return status

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _borrow(self) -> socket.socket:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._connected()
            if _is_open(connection):
                return connection
            connection.close()

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(self._address, CONNECT_TIMEOUT)
        connection.settimeout(RESPONSE_TIMEOUT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _return(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()


def _is_open(connection: socket.socket) -> bool:
    """Return whether the peer has neither closed nor sent anything."""
    flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
    with contextlib.suppress(OSError):
        connection.settimeout(0)
        try:
            connection.recv(1, flags)
        except BlockingIOError:
            connection.settimeout(RESPONSE_TIMEOUT)
            return True
    return False


def _read_response(connection: socket.socket) -> tuple[int, bool]:
    """Read a status, and whether the connection may be used again."""
    head = b''
    while not head.endswith(_END):
        more = connection.recv(_MAX_HEAD)
        if not more or len(head) > _MAX_HEAD:
            raise ConnectionError('the response has no end')
        head += more
    status = _STATUS.match(head)
    if status is None or head.index(_END) + len(_END) < len(head):
        raise ConnectionError('the response is malformed')
    return int(status[1]), b'\r\nconnection: close\r\n' not in head.lower()
