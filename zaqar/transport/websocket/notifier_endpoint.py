# SPDX-License-Identifier: Apache-2.0
"""Server that takes messages for its connections from notifiers.

It speaks as much HTTP/1.1 as their ``websocket_server_client`` does: ``POST
/<connection>`` with a length, a time, a nonce and a signature, any number of
these per connection. Anything else is answered with an error, and the
connection is closed.

:source: reference/websocket, "Pushes"
"""

import asyncio
import http
import logging
import socket
import time
from collections.abc import Mapping

from zaqar.notification.notifier_request_signatures import (
    MAC,
    NONCE,
    TIME,
    RequestAuthenticator,
)
from zaqar.transport.websocket.connection_manager import Connections
from zaqar.transport.websocket.connection_state_machine import Pushed

LOG = logging.getLogger(__name__)

#: Maximum bytes of the head of a request.
MAX_HEAD = 8192

#: Maximum number of connections; each thread of a notifier may have one.
MAX_PEERS = 512

#: Seconds that a connection may be idle between two requests, and that a part
#: of a request, or reading a response, may take.
IDLE = 75
SLOW = 15

#: Maximum bytes of bodies in memory, of all connections. Those that have not
#: shown a valid signature yet share a part of it, so that they never have
#: others refused.
MAX_READING = 64 * 1024 * 1024
MAX_UNSIGNED = MAX_READING // 4

STATUS = {Pushed.SENT: 204, Pushed.GONE: 410, Pushed.FULL: 429}


class BadRequest(Exception):
    """A request is refused with a status, and its connection closed."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class InternalServer:
    """Passes signed messages on to connections.

    :param max_body: maximum bytes of a message
    :ivar tasks: one for each open connection
    """

    def __init__(
        self,
        connections: Connections,
        mac: RequestAuthenticator,
        max_body: int,
    ) -> None:
        self._connections = connections
        self._mac = mac
        self._max_body = max_body
        self._reading = 0
        self.tasks: set[asyncio.Task[None]] = set()
        #: Those without a valid signature so far, the oldest first, and the
        #: bytes that each is sending.
        self._unauthenticated: dict[asyncio.StreamWriter, int] = {}
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(
            self._serve, sock=listener, limit=MAX_HEAD, backlog=MAX_PEERS
        )

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self._unauthenticated[writer] = 0
        try:
            self._make_room()
            while await self._serve_one(reader, writer):
                pass
        except BadRequest as fault:
            _respond(writer, fault.status, 'close')
        except TimeoutError:
            LOG.debug('A notifier is too slow; its connection is closed')
            # It may not read either.
            writer.transport.abort()
        except (OSError, EOFError):
            LOG.debug('A notifier has closed its connection')
        finally:
            self.tasks.discard(task)
            self._unauthenticated.pop(writer, None)
            writer.close()

    def _make_room(self) -> None:
        """Close the oldest unauthenticated connection if there are too many.

        :raises BadRequest: all others are authenticated
        """
        if len(self.tasks) <= MAX_PEERS:
            return
        oldest, *others = self._unauthenticated
        if not others:
            raise BadRequest(503)
        oldest.transport.abort()

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Serve a request; return whether another may follow."""
        try:
            is_known = writer not in self._unauthenticated
            async with asyncio.timeout(IDLE if is_known else SLOW):
                head = await reader.readuntil(b'\r\n\r\n')
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise BadRequest(400) from None
            return False
        except asyncio.LimitOverrunError:
            raise BadRequest(431) from None
        connection, headers = _head(head)
        length = _length(headers)
        if length > self._max_body:
            raise BadRequest(413)
        body = await self._body(reader, writer, length)
        if not self._mac.verify(
            connection,
            headers.get(TIME.lower(), ''),
            headers.get(NONCE.lower(), ''),
            body,
            headers.get(MAC.lower(), ''),
            now=time.time(),
        ):
            raise BadRequest(403)
        self._unauthenticated.pop(writer, None)
        pushed = await self._connections.push(connection, body)
        _respond(writer, STATUS[pushed], 'keep-alive')
        async with asyncio.timeout(SLOW):
            await writer.drain()
        return True

    async def _body(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        length: int,
    ) -> bytes:
        """Read a body.

        :raises BadRequest: too much is being read already
        """
        if writer in self._unauthenticated:
            reading = sum(self._unauthenticated.values()) + length
            if reading > MAX_UNSIGNED:
                raise BadRequest(503)
            self._unauthenticated[writer] = length
        if self._reading + length > MAX_READING:
            raise BadRequest(503)
        self._reading += length
        try:
            async with asyncio.timeout(SLOW):
                return await reader.readexactly(length)
        finally:
            self._reading -= length


def _head(head: bytes) -> tuple[str, Mapping[str, str]]:
    """Return the connection that a request is for, and its headers."""
    first, *lines = head.decode('latin-1')[:-4].split('\r\n')
    words = first.split(' ')
    if len(words) != 3 or words[2] != 'HTTP/1.1':
        raise BadRequest(400)
    if words[0] != 'POST':
        raise BadRequest(405)
    headers = {}
    for line in lines:
        name, colon, value = line.partition(':')
        if not colon:
            raise BadRequest(400)
        headers[name.lower()] = value.strip()
    return words[1].lstrip('/'), headers


def _length(headers: Mapping[str, str]) -> int:
    if 'transfer-encoding' in headers:
        raise BadRequest(400)
    text = headers.get('content-length', '')
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise BadRequest(411)
    return int(text)


def _respond(writer: asyncio.StreamWriter, status: int, then: str) -> None:
    phrase = http.HTTPStatus(status).phrase
    lines = [f'HTTP/1.1 {status} {phrase}', f'Connection: {then}']
    if status != 204:
        lines.append('Content-Length: 0')
    writer.write('\r\n'.join([*lines, '', '']).encode())
