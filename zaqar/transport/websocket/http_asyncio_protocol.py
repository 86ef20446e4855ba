# SPDX-License-Identifier: Apache-2.0
"""The socket of a connection that speaks HTTP, as asyncio sees it."""

import asyncio
import contextlib

import h11

from zaqar.errors import ZaqarError
from zaqar.transport.websocket.api_requests_over_http import HttpRequests
from zaqar.transport.websocket.connection_manager import Connections
from zaqar.transport.websocket.connection_with_session_and_timers import (
    OpenConnection,
)
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.http1_connection import (
    Answer,
    HttpConnection,
    Left,
)
from zaqar.transport.websocket.outgoing_bytes import OutgoingBytes
from zaqar.transport.websocket.server_sent_event_streams import EventStream
from zaqar.transport.wsgi.responses import Headers


class HttpSocket(asyncio.Protocol):
    """One connection, after its first request has arrived.

    It is counted and limited as those of WebSockets are, but nothing is pushed
    to it.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        connection: OpenConnection,
        connections: Connections,
        requests: HttpRequests,
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._connections = connections
        self._requests = requests
        self._is_admitted = self._is_blocked = False
        self._outgoing = OutgoingBytes(transport)
        self._http = HttpConnection(
            self, self._handle, requests.loop, requests.longest
        )
        self._stream: EventStream | None = None
        connection.socket = self

    def data_received(self, data: bytes) -> None:
        self._http.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._http.lost()
        self._connections.left(self._connection)

    def pause_writing(self) -> None:
        self._is_blocked = True
        if self._stream is not None:
            self._stream.block(True)
        self._connections.blocked(self._connection)

    def resume_writing(self) -> None:
        self._is_blocked = False
        self._outgoing.resumed()
        self._connections.unblocked(self._connection)
        if self._stream is not None:
            self._stream.block(False)

    def write(self, data: bytes) -> None:
        self._outgoing.write(data)

    def end(self) -> None:
        self._transport.close()
        self._connections.closing(self._connection)

    def send(self, frame: Frame) -> None:
        """Ignore what is for WebSockets."""

    def ping(self) -> None:
        """Ignore what is for WebSockets."""

    def read(self, on: bool) -> None:
        if self._transport.is_closing():
            return
        with contextlib.suppress(RuntimeError):
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def shut(self, code: int, reason: str) -> None:
        self._http.drain()

    def cut(self) -> None:
        self._transport.abort()

    def unsent(self) -> int:
        return self._outgoing.unsent()

    @property
    def is_lost(self) -> bool:
        return self._http.is_lost

    @property
    def peer(self) -> str:
        return self._connection.peer

    def begin(
        self, status: int, headers: Headers, stream: EventStream
    ) -> None:
        self._stream = stream
        if self._is_blocked:
            # By the answer to an earlier request.
            stream.block(True)
        self._http.begin(status, headers)

    def send_event(self, data: bytes) -> None:
        self._http.send(data)

    def finish(self) -> None:
        self._http.finish()

    def note(self, project: str) -> None:
        """Note whom the next answer is for, '' if that is not known."""
        self._connections.note_project(self._connection, project)
        if project:
            self._connections.prove(self._connection)

    def _handle(
        self,
        request: h11.Request,
        body: bytes | ZaqarError,
        answer: Answer,
    ) -> Left:
        if not self._is_admitted:
            self._is_admitted = True
            headers = {
                name.decode('latin-1'): value.decode('latin-1')
                for name, value in request.headers
            }
            status = self._connections.refusal(self._connection, headers)
            if status:
                self._http.drain()
                answer(status, [], b'')
                return lambda: None
        return self._requests.handle(self, request, body, answer)
