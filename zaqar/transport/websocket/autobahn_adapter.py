# SPDX-License-Identifier: Apache-2.0
"""Adapter of autobahn, on asyncio, to the state machine.

Methods of autobahn 26.10 are overridden here, each with its reason. Its
protocol faults end with a close frame (``failByDrop=False``); after one it
reads on until the client closes, for a second at most.
"""

import collections
import contextlib
import http
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from autobahn.asyncio.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest

from zaqar.transport.websocket import api_requests_over_http, rfc6455_fast_path
from zaqar.transport.websocket.api_requests_over_http import HttpRequests
from zaqar.transport.websocket.connection_limits import RateCounter
from zaqar.transport.websocket.connection_manager import Connections
from zaqar.transport.websocket.connection_state_machine import POLICY
from zaqar.transport.websocket.connection_with_session_and_timers import (
    OpenConnection,
)
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.handshake_origin import is_welcome
from zaqar.transport.websocket.http_asyncio_protocol import HttpSocket
from zaqar.transport.websocket.outgoing_bytes import OutgoingBytes

LOG = logging.getLogger(__name__)

#: The one subprotocol, for browsers that insist on naming one.
SUBPROTOCOL = 'zaqar-v2'

#: Bytes that a handshake may have.
MAX_HANDSHAKE = 64 * 1024

#: Bytes written and not taken, beyond which the other end counts as blocked.
MAX_UNSENT = 256 * 1024

#: Frames that autobahn takes apart for a connection before others have their
#: turn.
TURN = 32

#: Bytes from which on a fragment is paid for by what it brings.
SUBSTANTIAL = 1024

#: Opcodes from here on are those of control frames.
_CONTROL = 8

#: Bytes handed to autobahn at a time: it copies what is left of them after
#: every frame, so that a large piece of small frames costs its square.
_SLICE = 4096

_HTTP_FAULTS = {
    426: [('Upgrade', 'websocket'), ('Sec-WebSocket-Version', '13')],
    405: [('Allow', 'GET')],
}


class AutobahnSocket(WebSocketServerProtocol):  # type: ignore[misc]
    """One connection, as asyncio and autobahn see it."""

    connections: Connections
    connection: OpenConnection
    message_data: Any
    transport: Any
    data: bytes

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.connections = self.factory.connections
        self._inbox: collections.deque[bytes] = collections.deque()
        self._left = TURN
        self._is_waiting = False
        self._is_flooding = False
        self._small = RateCounter()
        self._outgoing = OutgoingBytes(transport)
        transport.set_write_buffer_limits(high=MAX_UNSENT)
        peer = transport.get_extra_info('peername')
        address = str(peer[0]) if peer else ''
        self.connection = self.connections.join(self, address)
        if self.connections.admission.is_overrun(
            address, len(self.connections)
        ):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inbox.clear()
        self.connections.left(self.connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in small pieces, and at once.

        autobahn would queue them, to take them all in the next round.
        """
        if self._is_flooding:
            return
        self.connection.machine.heard()
        if self._is_between() and not (data := self._plain(data)):
            return
        if len(data) <= _SLICE:
            self._inbox.append(data)
        else:
            self._inbox.extend(_pieces(data, self._missing()))
        self._feed()

    def pause_writing(self) -> None:
        """Stop working for who does not take what we say."""
        self.connections.blocked(self.connection)

    def resume_writing(self) -> None:
        self._outgoing.resumed()
        self.connections.unblocked(self.connection)

    def consumeData(self) -> None:  # noqa: N802
        """Read frames, and no more of them than can wait."""
        if self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().consumeData()
            return
        while self._may_go_on() and self.processData():
            if self.state == self.STATE_CLOSED:
                return
        if not self._left:
            self._wait_for_turn()

    def onFrameEnd(self) -> bool | None:  # noqa: N802
        """Take a whole frame, unless there are too many that say little."""
        frame = self.current_frame
        self._left -= 1
        is_small = frame.opcode >= _CONTROL or (
            not frame.fin and frame.length < SUBSTANTIAL
        )
        most = self.connections.settings.max_small_frames
        if is_small and self._small.exceeds(most, self.connections.now()):
            self._end_flood()
            return False
        result: bool | None = super().onFrameEnd()
        return result

    def processHandshake(self) -> None:  # noqa: N802
        """Read a handshake, unless it has no end."""
        if len(self.data) > MAX_HANDSHAKE:
            self.failHandshake('too long', 431)
            return
        http = self.connections.http
        if http is not None and api_requests_over_http.begins(self.data):
            self._hand_over(http)
            return
        super().processHandshake()

    def sendData(  # noqa: N802
        self, data: bytes, sync: bool = False, chopsize: int | None = None
    ) -> None:
        """Write bytes.

        autobahn would prepare four coloured words for a log that nobody
        reads, at the price of all else that is done for a frame.
        """
        self.transport.write(data)

    def sendHttpErrorResponse(  # noqa: N802
        self, code: int, reason: str, headers: Any = None
    ) -> None:
        """Send an HTTP error, without any part of the request."""
        lines = [f'HTTP/1.1 {code} {http.HTTPStatus(code).phrase}']
        fields: Iterable[tuple[str, str]] = headers or _HTTP_FAULTS.get(
            code, ()
        )
        lines += [f'{name}: {value}' for name, value in fields]
        lines += ['Content-Length: 0', 'Connection: close', '', '']
        self.sendData('\r\n'.join(lines).encode())

    def onConnect(self, request: ConnectionRequest) -> str | None:  # noqa: N802
        """Let a connection in, or raise what denies it."""
        settings, headers = self.connections.settings, request.headers
        if status := self.connections.refusal(self.connection, headers):
            raise ConnectionDeny(status)
        host = headers.get('host', '')
        if settings.external_port is not None:
            port = host.rpartition(']')[2].partition(':')[2] or '80'
            if port != str(settings.external_port):
                raise ConnectionDeny(400)
        origin = headers.get('origin') or headers.get('sec-websocket-origin')
        if not is_welcome(
            origin, host, settings.origins, self.connections.proves
        ):
            raise ConnectionDeny(403)
        return SUBPROTOCOL if SUBPROTOCOL in request.protocols else None

    def onOpen(self) -> None:  # noqa: N802
        self.connections.opened(self.connection)

    def onMessageEnd(self) -> None:  # noqa: N802
        """Handle a complete message.

        autobahn would tell listeners too, of which there are none.
        """
        if not self.failedByMe:
            data = b''.join(self.message_data)
            frame = Frame(data, self.message_is_binary)
            self.connections.perform(
                self.connection, self.connection.machine.received(frame)
            )
        self.message_data = None

    def sendCloseFrame(self, *args: Any, **more: Any) -> None:  # noqa: N802
        """Send a close frame, and nothing after it."""
        super().sendCloseFrame(*args, **more)
        self.connections.closing(self.connection)

    def send(self, frame: Frame) -> None:
        if self.state == self.STATE_OPEN:
            # Not by autobahn, which holds answers to the limit of requests.
            for part in rfc6455_fast_path.framed(frame):
                self._outgoing.write(part)

    def write(self, data: bytes) -> None:
        if self.state == self.STATE_OPEN:
            self._outgoing.write(data)

    def ping(self) -> None:
        if self.state == self.STATE_OPEN:
            self.sendFrame(9)

    def read(self, on: bool) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if not on:
            transport.pause_reading()
            return
        if self._is_waiting:
            return
        self._read_on()
        # Not from within a frame that is being read.
        self.connections.soon(self._resume)

    def shut(self, code: int, reason: str) -> None:
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=reason.encode())
        elif self.state == self.STATE_CONNECTING:
            self.cut()

    def cut(self) -> None:
        self.wasNotCleanReason = 'cut'
        self.dropConnection(abort=True)
        if self.transport is not None:
            # One that is closed already waits for what is written.
            self.transport.abort()

    def unsent(self) -> int:
        return self._outgoing.unsent()

    def _hand_over(self, requests: HttpRequests) -> None:
        """Leave the connection to one that answers HTTP requests."""
        self.openHandshakeTimeoutCall.cancel()
        data = b''.join((self.data, *self._inbox))
        self.data = b''
        self._inbox.clear()
        transport, self.transport = self.transport, None
        socket = HttpSocket(
            transport, self.connection, self.connections, requests
        )
        transport.set_protocol(socket)
        socket.data_received(data)

    def _read_on(self) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        with contextlib.suppress(RuntimeError):
            # It may not have paused, since it was closing.
            transport.resume_reading()

    def _may_go_on(self) -> bool:
        """Tell whether to take one more frame in this turn of the loop."""
        return self._left > 0 and self.connection.machine.reads

    def _wait_for_turn(self) -> None:
        """Let other connections have their turn."""
        if not self._is_waiting:
            self._is_waiting = True
            self.transport.pause_reading()
            self.connections.soon(self._take_turn)

    def _take_turn(self) -> None:
        self._is_waiting = False
        self._left = TURN
        if self.connection.machine.reads:
            self._read_on()
            self._resume()

    def _end_flood(self) -> None:
        """Close the connection, and ignore everything it sends."""
        self._is_flooding = True
        self._inbox.clear()
        self.data = b''
        LOG.info(
            'A connection from %s sent too many frames', self.connection.peer
        )
        self.shut(POLICY, 'Too many control frames or small fragments.')

    def _resume(self) -> None:
        if self.transport is not None and self.data:
            self.consumeData()
        self._feed()

    def _feed(self) -> None:
        try:
            while self._inbox and self._may_go_on():
                self._dataReceived(self._inbox.popleft())
        except Exception:
            # The edge of the loop: one bad connection ends alone.
            LOG.exception('A connection failed')
            self._inbox.clear()
            self.cut()

    def _is_between(self) -> bool:
        """Tell whether the next byte begins a message."""
        return (
            self.state == self.STATE_OPEN
            and self.current_frame is None
            and not (self.inside_message or self.data or self._inbox)
        )

    def _plain(self, data: bytes) -> bytes:
        """Take plain messages as they come; return what is left of the data.

        Most are whole, short and in one frame. autobahn's way is taken by all
        others, those with a fault included.
        """
        machine = self.connection.machine
        most = self.connections.settings.max_frame_size
        at, end = 0, len(data)
        while at < end and machine.reads and self.state == self.STATE_OPEN:
            taken = rfc6455_fast_path.take(data, at, end, most)
            if taken is None:
                break
            frame, at = taken
            self.connections.perform(self.connection, machine.received(frame))
        return data[at:] if at else data

    def _missing(self) -> int:
        """Return the bytes that the frame lacks which is being read."""
        frame = getattr(self, 'current_frame', None)
        if frame is None or self._inbox or self.data:
            return 0
        return int(frame.length - self.current_frame_masker.pointer())


def _pieces(data: bytes, missing: int) -> Iterator[bytes]:
    """Cut bytes up: what a frame lacks in one piece, the rest in small ones.

    Of the former nothing is copied twice.
    """
    if missing:
        yield data[:missing]
    for at in range(missing, len(data), _SLICE):
        yield data[at : at + _SLICE]
