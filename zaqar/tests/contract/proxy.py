# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy between a store and its server, which can fail on command."""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

#: SO_LINGER that makes a close a reset.
_RESET = struct.pack('ii', 1, 0)


#: The two ends of a connection through the proxy: client's and server's.
Link = tuple[socket.socket, socket.socket]


class Way(enum.StrEnum):
    """Where data was going when it was lost."""

    REQUEST = 'request'
    ANSWER = 'answer'


class Proxy:
    """Passes bytes on until told otherwise.

    :ivar port: where it listens, on 127.0.0.1
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        # Guards all that follows; told of every change.
        self._changed = threading.Condition()
        self._links: set[Link] = set()
        self._listener: socket.socket | None = None
        self._stalled = False
        self._fuse: tuple[Way, int] | None = None
        self._fuse_stalls = False
        self._tickets: int | None = None
        self._held = 0
        self._carried = 0
        self.port = 0
        self.restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        with self._changed:
            if self._listener is not None:
                # Wakes the thread that accepts.
                self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None
            for link in list(self._links):
                self._drop(link)
        # What was held up finds its connection closed.
        self._open()

    def restore(self) -> None:
        """Work again, on the same port; pass on what was held up."""
        with self._changed:
            if self._listener is None:
                self._listener = socket.create_server(('127.0.0.1', self.port))
                self.port = self._listener.getsockname()[1]
                _start(self._accept, self._listener)
        self._open()

    def lead_to(self, target: tuple[str, int]) -> None:
        """Connect whoever comes from now on to another server.

        Those who are connected stay where they are.
        """
        self._target = target

    def stall(self) -> None:
        """Keep connections, take new ones, and pass nothing on."""
        with self._changed:
            self._stalled = True

    def deliver(self) -> None:
        """Return when all that was held up has been passed on."""
        with self._changed:
            self._changed.wait_for(lambda: not self._carried, 5)

    def blow(self, way: Way, number: int, *, stall: bool = False) -> None:
        """Lose one piece of data and its connection, then work again.

        :param number: pieces that pass before it, in that direction
        :param stall: do not lose it, but :meth:`stall` from there on
        """
        with self._changed:
            self._fuse = (way, number)
            self._fuse_stalls = stall

    def defuse(self) -> bool:
        """Take back :meth:`blow`; tell whether it has happened."""
        with self._changed:
            blown = self._fuse is None
            self._fuse = None
            return blown

    def step(self) -> None:
        """Hold back what the server answers, piece by piece."""
        with self._changed:
            self._tickets = 0

    def wait_for_answer(self, wanted: Callable[[], bool]) -> None:
        """Return when an answer is held back, or none is wanted any more."""
        with self._changed:
            while not self._held and wanted():
                self._changed.wait(0.01)

    def pass_one(self) -> None:
        """Let the answer through that is held back, if there is one."""
        with self._changed:
            if self._held and self._tickets is not None:
                self._tickets += 1
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._tickets)

    def _open(self) -> None:
        with self._changed:
            self._stalled = False
            self._tickets = None
            self._changed.notify_all()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, 5)
            except OSError:
                _reset(near)
                continue
            far.settimeout(None)
            self._join(near, far)

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        link = (near, far)
        for end in link:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            self._links.add(link)
            if self._listener is None:
                self._drop(link)
        _start(self._pump, Way.REQUEST, near, far, link)
        _start(self._pump, Way.ANSWER, far, near, link)

    def _pump(
        self, way: Way, source: socket.socket, sink: socket.socket, link: Link
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                if not self._carry(way, data, sink):
                    break
        with self._changed:
            self._drop(link)

    def _carry(self, way: Way, data: bytes, sink: socket.socket) -> bool:
        """Pass data on, sooner or later; tell whether it was."""
        with self._changed:
            self._carried += 1
        try:
            passes = self._passes(way)
            if passes:
                sink.sendall(data)
            return passes
        finally:
            with self._changed:
                self._carried -= 1
                self._changed.notify_all()

    def _passes(self, way: Way) -> bool:
        """Wait for leave to pass a piece of data on, or to lose it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._stalled)
            if way is Way.ANSWER:
                self._await_ticket()
            burns = self._burns(way)
            if burns and self._fuse_stalls:
                self._stalled = True
                self._changed.wait_for(lambda: not self._stalled)
                return True
            return not burns

    def _await_ticket(self) -> None:
        self._held += 1
        self._changed.notify_all()
        self._changed.wait_for(lambda: self._tickets != 0)
        self._held -= 1
        if self._tickets is not None:
            self._tickets -= 1
        self._changed.notify_all()

    def _burns(self, way: Way) -> bool:
        """Count a piece of data down; tell whether it is the one to lose."""
        if self._fuse is None or self._fuse[0] is not way:
            return False
        left = self._fuse[1]
        self._fuse = (way, left - 1) if left else None
        return left == 0

    def _drop(self, link: Link) -> None:
        self._links.discard(link)
        for end in link:
            _reset(end)


def _start(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # Wakes the thread that reads it.
        end.shutdown(socket.SHUT_RDWR)
    end.close()
