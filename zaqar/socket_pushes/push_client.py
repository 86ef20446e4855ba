# SPDX-License-Identifier: Apache-2.0
"""Client for handing messages to a WebSocket server of the service.

It keeps one connection, on which answers come in the order of hand-overs, so
that messages keep their order. The other end is
``zaqar.transport.websocket.notifier_endpoint``.

:source: reference/websocket, "Pushes"
"""

import asyncio
import collections
from collections.abc import Sequence
from urllib.parse import urlsplit

from zaqar.socket_pushes import push_frames, signed_push_channel
from zaqar.socket_pushes.signed_push_channel import Channel, Key, Refused

#: Seconds for connecting, and for an answer.
CONNECT_TIMEOUT = 2.0
ANSWER_TIMEOUT = 10.0

#: Maximum bytes of a frame: an answer is a byte for each connection.
_MAX_ANSWER = push_frames.MAX_CONNECTIONS


class TooLong(Exception):
    """The server takes no frame of this length."""


class PushClient:
    """A client of one server, for one event loop.

    :param uri: ``tcp://host:port``
    """

    def __init__(self, uri: str, key: Key) -> None:
        parts = urlsplit(uri)
        self._address = parts.hostname or '', parts.port or 0
        self._key = key
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None

    async def hand_over(
        self, connections: Sequence[str], texts: Sequence[bytes]
    ) -> bytes:
        """Hand messages over; return a status for each connection.

        :raises OSError: it is unknown whether they have arrived
        :raises TooLong: they have not been sent
        """
        data = push_frames.encode(connections, texts)
        connection = await self._connected()
        if len(data) > connection.channel.most:
            raise TooLong
        return await connection.exchange(data, len(connections))

    def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.end(ConnectionError('closed'))

    async def _connected(self) -> '_Connection':
        """Return the connection, made anew if there is none.

        Who waits for one that is being made fails with it: if each tried in
        its turn, the last of many would wait for all the others.
        """
        if self._connection is None or self._connection.is_ended:
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._connect())
            # Who is cancelled must not cancel it for the others.
            return await asyncio.shield(self._connecting)
        return self._connection

    async def _connect(self) -> '_Connection':
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                self._connection = await _connect(self._address, self._key)
        except asyncio.IncompleteReadError:
            raise Refused('the server closes connections') from None
        finally:
            self._connecting = None
        return self._connection


async def _connect(address: tuple[str, int], key: Key) -> '_Connection':
    reader, writer = await asyncio.open_connection(*address)
    try:
        challenge = await reader.readexactly(signed_push_channel.CHALLENGE)
        reply, channel = key.reply(challenge)
    except BaseException:
        writer.close()
        raise
    writer.write(reply)
    return _Connection(reader, writer, channel)


class _Connection:
    """An open connection, and the hand-overs that wait for answers."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        channel: Channel,
    ) -> None:
        self.channel = channel
        self._reader = reader
        self._writer = writer
        self._waiting: collections.deque[asyncio.Future[bytes]] = (
            collections.deque()
        )
        self._task = asyncio.ensure_future(self._read())

    @property
    def is_ended(self) -> bool:
        return self._writer.is_closing()

    async def exchange(self, data: bytes, size: int) -> bytes:
        """Send a frame, and return the answer of so many bytes.

        :raises OSError: none has come in time
        """
        answer: asyncio.Future[bytes]
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                # At once: the order of frames is that of calls.
                self._writer.write(self.channel.sealed(data))
                await self._writer.drain()
                statuses = await answer
            if len(statuses) != size:
                raise Refused('the answer is malformed')
            return statuses
        except BaseException as error:
            # Later answers would be taken for this one.
            self.end(error)
            raise

    def end(self, error: BaseException) -> None:
        """Close the connection, and let hand-overs fail that wait."""
        self._task.cancel()
        self._writer.close()
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(ConnectionError(str(error)))
                # It may be that of a hand-over that is cancelled.
                answer.exception()

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(
                    signed_push_channel.LENGTH
                )
                size = int.from_bytes(head, 'big')
                if size > _MAX_ANSWER or not self._waiting:
                    raise Refused('the answer is malformed')
                frame = await self._reader.readexactly(
                    size + signed_push_channel.SIGNATURE
                )
                answer = self._waiting.popleft()
                answer.set_result(self.channel.opened(frame))
        except (OSError, EOFError) as error:
            self.end(error)
