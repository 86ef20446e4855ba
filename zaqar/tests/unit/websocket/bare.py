# SPDX-License-Identifier: Apache-2.0
"""A connection without a network, a desk or workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from zaqar.transport.websocket.autobahn_adapter import AutobahnSocket
from zaqar.transport.websocket.autobahn_factory import Factory
from zaqar.transport.websocket.connection_limits import Admission
from zaqar.transport.websocket.connection_state_machine import (
    Connection,
    State,
)
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.settings import Settings

HANDSHAKE = (
    b'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n'
    b'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
    b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
)

MOST = 70_000


class Transport:
    """Takes what is written."""

    def __init__(self) -> None:
        self.written = b''
        self.is_cut = False
        self.is_paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ('127.0.0.1', 1) if name in ('peername', 'sockname') else None

    def set_write_buffer_limits(self, **limits: int) -> None: ...

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self.is_cut

    def close(self) -> None:
        self.is_cut = True

    abort = close


class OpenConnection:
    """What a hub knows of a connection, as far as it is needed."""

    def __init__(self) -> None:
        self.machine = Connection()
        self.peer = ''


class Connections:
    """Notes the frames of one connection; none is ever answered."""

    settings = Settings(max_frame_size=MOST)
    admission = Admission(settings, False)

    http = None

    def __init__(self) -> None:
        self.at = 0.0
        self.due: list[Callable[[], None]] = []
        self.connection = OpenConnection()
        self.frames: list[Frame] = []
        self.connection.machine.received = self._received  # type: ignore[assignment]

    def _received(self, frame: Frame) -> list[Any]:
        if self.connection.machine.state is State.OPEN:
            self.frames.append(frame)
        return []

    def join(self, wire: Any, peer: str) -> OpenConnection:
        return self.connection

    def __len__(self) -> int:
        return 1

    def refusal(self, connection: OpenConnection, headers: Any) -> int:
        return 0

    proves = False

    def opened(self, connection: OpenConnection) -> None: ...

    def now(self) -> float:
        return self.at

    def soon(self, call: Callable[[], None]) -> None:
        self.due.append(call)

    def go_on(self) -> None:
        """Do what is due in the next turn of the loop."""
        due, self.due = self.due, []
        for call in due:
            call()

    def perform(self, connection: OpenConnection, commands: Any) -> None: ...

    def closing(self, connection: OpenConnection) -> None:
        connection.machine.closing()


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock goes on when it is told."""

    at = 0.0

    def time(self) -> float:
        return self.at

    def wait(self, seconds: float) -> None:
        """Let time pass, and what is due then."""
        self.at += seconds
        turn(self)


def joined(
    loop: asyncio.AbstractEventLoop,
) -> tuple[AutobahnSocket, Connections, Transport]:
    """Return a connection that has said nothing yet."""
    connections, transport = Connections(), Transport()
    wire = Factory(connections, loop)()  # type: ignore[arg-type]
    wire.connection_made(transport)
    return wire, connections, transport


def connected(
    loop: asyncio.AbstractEventLoop,
) -> tuple[AutobahnSocket, Connections, Transport]:
    """Return a connection after its handshake."""
    wire, connections, transport = joined(loop)
    wire.data_received(HANDSHAKE)
    turn(loop)
    assert wire.state == wire.STATE_OPEN
    transport.written = b''
    return wire, connections, transport


def turn(loop: asyncio.AbstractEventLoop) -> None:
    """Let a loop do what is due."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def closed_with(transport: Transport) -> int | None:
    """Return the code of the close frame that was written, if any."""
    written = transport.written
    at = written.find(b'\x88')
    return int.from_bytes(written[at + 2 : at + 4], 'big') if at >= 0 else None
