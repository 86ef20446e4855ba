# SPDX-License-Identifier: Apache-2.0
"""Deadlines of attempts: a thread shuts down connections that are too slow."""

import contextlib
import heapq
import math
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class TimedAttempt:
    """An attempt in progress, by one thread.

    :ivar sock: the socket to shut down
    :ivar duplicate: a handle of the socket that TLS does not take away
    :ivar is_public: the connection leads to a public address
    """

    deadline: float
    sock: socket.socket | None = None
    duplicate: socket.socket | None = None
    is_over: bool = False
    is_left: bool = False
    is_public: bool = False

    def connected(self, sock: socket.socket, *, is_public: bool) -> None:
        """Watch a socket, even before the handshake of TLS."""
        self.duplicate = self.sock = sock.dup()
        self.is_public = is_public


class _Current(threading.local):
    attempt: TimedAttempt | None = None


_CURRENT = _Current()


def current() -> TimedAttempt | None:
    """Return the attempt of this thread."""
    return _CURRENT.attempt


def time_left() -> float:
    """Return the seconds that are left to the attempt of this thread."""
    attempt = _CURRENT.attempt
    return math.inf if attempt is None else attempt.deadline - time.monotonic()


def watch(connection: Any) -> None:
    """Watch the socket of a connection for the attempt of this thread.

    :raises TimeoutError: its time is over
    """
    attempt = _CURRENT.attempt
    if attempt is not None:
        attempt.sock = attempt.duplicate or connection.sock
        if attempt.is_over:
            raise TimeoutError


class DeadlineWatch:
    """A thread that ends attempts at their deadlines."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimedAttempt]] = []
        self._changed = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def enter(self, deadline: float) -> TimedAttempt:
        """Begin an attempt in this thread."""
        attempt = TimedAttempt(deadline)
        _CURRENT.attempt = attempt
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name='deadlines', daemon=True
                )
                self._thread.start()
            heapq.heappush(self._heap, (deadline, id(attempt), attempt))
            if self._heap[0][2] is attempt:
                self._changed.notify()
        return attempt

    def leave(self, attempt: TimedAttempt) -> None:
        """End an attempt of this thread."""
        attempt.is_left = True
        attempt.sock = None
        _CURRENT.attempt = None
        if attempt.duplicate is not None:
            attempt.duplicate.close()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._stopped:
                while self._heap and self._heap[0][2].is_left:
                    heapq.heappop(self._heap)
                wait = (
                    self._heap[0][0] - time.monotonic() if self._heap else None
                )
                if wait is not None and wait <= 0:
                    _cut(heapq.heappop(self._heap)[2])
                else:
                    self._changed.wait(wait)


def _cut(attempt: TimedAttempt) -> None:
    if attempt.is_left:
        return
    attempt.is_over = True
    sock = attempt.sock
    if sock is not None:
        # Not SSLSocket's own method, which another thread uses.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
