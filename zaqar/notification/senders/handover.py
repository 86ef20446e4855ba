# SPDX-License-Identifier: Apache-2.0
"""Messages on their way to a WebSocket server of ours.

Both ends are this service's: a request is one write and its answer one read.
A library for HTTP takes ten times as long for headers that nobody has sent.

:source: reference/websocket, "Pushes"
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

#: Seconds for connecting, and for an answer.
CONNECT = 2.0
ANSWER = 5.0

#: Connections that are kept.
KEPT = 16

#: Bytes of the head of an answer.
_MOST = 8192

_END = b'\r\n\r\n'
_STATUS = re.compile(rb'HTTP/1\.1 ([1-5]\d\d)[ \r]')


class Way:
    """The way to one server, for many threads.

    :param uri: ``http://host:port``
    """

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self._address = parts.hostname or '', parts.port or 80
        self._host = parts.netloc
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """Hand something over; return the status of the answer.

        :raises OSError: nobody knows whether it has arrived
        """
        lines = [f'POST /{path} HTTP/1.1', f'Host: {self._host}']
        lines += [f'{name}: {value}' for name, value in headers.items()]
        lines += [f'Content-Length: {len(body)}', '', '']
        connection = self._borrow()
        try:
            with contextlib.suppress(BrokenPipeError):
                # Who refuses a long one has said so by then.
                connection.sendall('\r\n'.join(lines).encode() + body)
            status, is_kept = _answer(connection)
        except BaseException:
            connection.close()
            raise
        if is_kept:
            self._give_back(connection)
        else:
            connection.close()
        return status

    def close(self) -> None:
        """Give back connections."""
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
        made = socket.create_connection(self._address, CONNECT)
        made.settimeout(ANSWER)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _give_back(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._idle) < KEPT:
                self._idle.append(connection)
                return
        connection.close()


def _is_open(connection: socket.socket) -> bool:
    """Tell whether the other end has not left, nor said anything unasked."""
    flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
    with contextlib.suppress(OSError):
        connection.settimeout(0)
        try:
            connection.recv(1, flags)
        except BlockingIOError:
            connection.settimeout(ANSWER)
            return True
    return False


def _answer(connection: socket.socket) -> tuple[int, bool]:
    """Return a status, and whether more may be asked.

    :raises OSError: it is no answer of ours, or none came
    """
    head = b''
    while not head.endswith(_END):
        more = connection.recv(_MOST)
        if not more or len(head) > _MOST:
            raise ConnectionError('the answer has no end')
        head += more
    found = _STATUS.match(head)
    if found is None or head.index(_END) + len(_END) < len(head):
        raise ConnectionError('that is no answer, or more than one')
    return int(found[1]), b'\r\nconnection: close\r\n' not in head.lower()
