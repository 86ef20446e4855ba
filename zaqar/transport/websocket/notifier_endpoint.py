# SPDX-License-Identifier: Apache-2.0
"""The endpoint at which notifiers hand over messages for connections.

Whoever knows the secret hands messages over, any number of times on each
connection, and is answered with a status for each connection of a client; see
:mod:`zaqar.socket_pushes.push_frames`. Others are dropped.

:source: reference/websocket, "Pushes"
"""

import asyncio
import logging
import socket

from zaqar.socket_pushes import push_frames, signed_push_channel
from zaqar.socket_pushes.signed_push_channel import Channel, Key, Refused
from zaqar.transport.websocket.connection_state_machine import Pushed
from zaqar.transport.websocket.message_pushes import MessagePushes

LOG = logging.getLogger(__name__)

#: Maximum number of connections.
MAX_PEERS = 512

#: Seconds that a connection may be idle between two hand-overs, and that a
#: part of one, or reading an answer, may take.
IDLE = 75
SLOW = 15

#: Maximum bytes of hand-overs in memory, of all connections; beyond it they
#: are read one after the other.
MAX_READING = 64 * 1024 * 1024

STATUS = {Pushed.SENT: 0, Pushed.GONE: 1, Pushed.FULL: 2}


class NotifierEndpoint:
    """Passes messages on to connections.

    :param max_body: maximum bytes of a message
    :ivar tasks: one for each open connection
    """

    def __init__(self, pushes: MessagePushes, key: Key, max_body: int) -> None:
        self._pushes = pushes
        self._key = key
        self._most = max_body + push_frames.ROOM
        self._reading = 0
        self._has_room = asyncio.Condition()
        self.tasks: set[asyncio.Task[None]] = set()
        #: Those that have not shown that they know the secret, the oldest
        #: first.
        self._unauthenticated: dict[asyncio.StreamWriter, None] = {}
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(
            self._serve, sock=listener, backlog=MAX_PEERS
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
        self._unauthenticated[writer] = None
        try:
            if not self._make_room():
                return
            channel = await self._accept(reader, writer)
            del self._unauthenticated[writer]
            while True:
                await self._serve_one(reader, writer, channel)
        except Refused as error:
            LOG.info('A connection of a notifier is closed: %s', error)
        except TimeoutError:
            LOG.debug('A notifier is too slow; its connection is closed')
            # It may not read either.
            writer.transport.abort()
        except (OSError, EOFError):
            LOG.debug('A notifier has closed its connection')
        except asyncio.CancelledError:
            # By stop(). A stream of Python 3.11 would log it as an error.
            LOG.debug('A connection of a notifier ends with the server')
        finally:
            self.tasks.discard(task)
            self._unauthenticated.pop(writer, None)
            writer.close()

    def _make_room(self) -> bool:
        """Close the oldest unauthenticated connection if there are too many.

        :returns: whether there is room for the newest one
        """
        if len(self.tasks) <= MAX_PEERS:
            return True
        oldest, *others = self._unauthenticated
        oldest.transport.abort()
        return bool(others)

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Channel:
        challenge = signed_push_channel.challenge(self._most)
        writer.write(challenge)
        async with asyncio.timeout(SLOW):
            reply = await reader.readexactly(signed_push_channel.REPLY)
        return self._key.accept(challenge, reply)

    async def _serve_one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        channel: Channel,
    ) -> None:
        async with asyncio.timeout(IDLE):
            head = await reader.readexactly(signed_push_channel.LENGTH)
        size = int.from_bytes(head, 'big') + signed_push_channel.SIGNATURE
        if size > self._most + signed_push_channel.SIGNATURE:
            raise Refused('a frame is too long')
        async with asyncio.timeout(SLOW):
            await self._reserve(size)
        try:
            async with asyncio.timeout(SLOW):
                frame = await reader.readexactly(size)
            one = push_frames.decode(channel.opened(frame))
            pushed = await self._pushes.push(one.connections, one.texts)
        finally:
            await self._free(size)
        writer.write(channel.sealed(bytes(STATUS[each] for each in pushed)))
        async with asyncio.timeout(SLOW):
            await writer.drain()

    async def _reserve(self, size: int) -> None:
        """Wait until there is room for so many bytes."""
        async with self._has_room:
            await self._has_room.wait_for(
                lambda: (
                    not self._reading or self._reading + size <= MAX_READING
                )
            )
            self._reading += size

    async def _free(self, size: int) -> None:
        async with self._has_room:
            self._reading -= size
            self._has_room.notify_all()
