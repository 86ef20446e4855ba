# SPDX-License-Identifier: Apache-2.0
"""A relay that counts what passes between a service and its store."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_CHUNK = 1 << 20


@dataclass
class Traffic:
    """What has passed so far.

    :ivar trips: round trips: how often data went to the server after an answer
    :ivar sent: bytes to the server
    :ivar received: bytes from it
    """

    trips: int = 0
    sent: int = 0
    received: int = 0


class Relay:
    """Passes on what connections to its port say to a server.

    :ivar port: where it listens on 127.0.0.1
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self._traffic = Traffic()
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port: int = self._listener.getsockname()[1]
        _start(self._accept)

    def traffic(self) -> Traffic:
        """Return what has passed so far."""
        with self._lock:
            return Traffic(**vars(self._traffic))

    def close(self) -> None:
        """End all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(('127.0.0.1', self._server))
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._ends.append(end)
                _start(_Link(self._traffic, self._lock, near, far).run)


class _Link:
    """One connection through the relay."""

    def __init__(
        self,
        traffic: Traffic,
        lock: threading.Lock,
        near: socket.socket,
        far: socket.socket,
    ) -> None:
        self._traffic = traffic
        self._lock = lock
        self._near, self._far = near, far
        self._was_answered = True

    def run(self) -> None:
        """Pass on both ways, until an end closes."""
        _start(self._answer)
        for data in _received(self._near):
            with self._lock:
                self._traffic.trips += self._was_answered
                self._traffic.sent += len(data)
                self._was_answered = False
            if not _passed_on(self._far, data):
                break
        self._far.close()

    def _answer(self) -> None:
        for data in _received(self._far):
            with self._lock:
                self._traffic.received += len(data)
                self._was_answered = True
            if not _passed_on(self._near, data):
                break
        self._near.close()


def _received(end: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := end.recv(_CHUNK):
            yield data


def _passed_on(end: socket.socket, data: bytes) -> bool:
    """Send something on; tell whether the end is still there."""
    with contextlib.suppress(OSError):
        end.sendall(data)
        return True
    return False


def _start(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
