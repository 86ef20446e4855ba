# SPDX-License-Identifier: Apache-2.0
"""A connection to Redis that the greenlets of an event loop share.

Each writes its commands at once and waits; the loop sends together what has
come in one of its rounds, and answers come in the order of the commands.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
import socket
import time
from collections.abc import Callable
from typing import Any

import hiredis
from redis import connection as _connection
from redis import exceptions

from zaqar.loop_greenlets import Hub, LoopGreenlet

#: The client library gives its connections no types.
_redis: Any = _connection

#: Seconds for which answers are looked for after the time for them is over:
#: the loop may have had no time to read them.
_LAST_LOOK = 0.05


class _Exchange:
    """Commands that are sent and not answered yet.

    :ivar one: who waits
    :ivar left: how many answers are to come
    :ivar has_role: whether the next one tells the role of the server
    :ivar failure: why there are no more
    """

    __slots__ = ('answers', 'failure', 'has_role', 'left', 'one', 'since')

    def __init__(
        self, one: LoopGreenlet, left: int, since: float, *, has_role: bool
    ) -> None:
        self.one = one
        self.answers: list[Any] = []
        self.left = left
        self.since = since
        self.has_role = has_role
        self.failure: Exception | None = None


class PipelinedConnection(asyncio.Protocol):
    """A connection, in the thread of an event loop.

    :param connected: of the client library, open; ours from now on
    :param timeout: seconds in which a command must be answered
    :param role: the command that asks for the role of the server, packed;
        empty if that does not matter
    :param role_interval: seconds after which to ask again
    :ivar is_open: whether commands can be sent
    :ivar is_over: whether none will be sent any more
    """

    def __init__(
        self,
        hub: Hub,
        connected: Any,
        timeout: float,
        role: bytes,
        role_interval: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._connected = connected
        self._timeout = timeout
        self._role = role
        self._role_interval = role_interval
        self._role_due = -math.inf if role else math.inf
        self._monotonic = monotonic
        self._reader = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=_redis.DefaultParser.parse_error,
        )
        self._transport: Any = None
        self._waiting: collections.deque[_Exchange] = collections.deque()
        self._is_timed = self._is_replica = False
        self.is_open = self.is_over = False

    def open(self) -> None:
        """Have the loop read and write it; called there."""
        if not self.is_over:
            self._opening = self._hub.loop.create_task(self._open())

    async def _open(self) -> None:
        sock, loop = self._connected._sock, self._hub.loop
        try:
            if sock.family == socket.AF_UNIX:
                await loop.create_unix_connection(lambda: self, sock=sock)
            else:
                await loop.create_connection(lambda: self, sock=sock)
        except (OSError, RuntimeError, ValueError):
            # It has broken meanwhile.
            self.retire()

    def close_soon(self) -> None:
        """Send nothing more; may be called in any thread."""
        self.is_over = True
        self.is_open = False
        # The loop may have ended.
        with contextlib.suppress(RuntimeError):
            self._hub.call(self.retire)

    def retire(self) -> None:
        """Send nothing more; close when all is answered."""
        self.is_over = True
        self.is_open = False
        if not self._waiting:
            self._close()

    def exchange(
        self, one: LoopGreenlet, packed: bytes, count: int
    ) -> list[Any]:
        """Send commands and return their answers, errors included.

        :param one: the present greenlet, which waits meanwhile
        :param packed: the commands
        :param count: how many they are
        :raises RedisError, OSError: the connection broke; the commands may
            have been executed or not
        """
        now = self._monotonic()
        has_role = now >= self._role_due
        if has_role:
            # In one packet with the rest, hence without a further round trip.
            # The answer holds for whatever is sent behind it.
            packed, count = self._role + packed, count + 1
            self._role_due = now + self._role_interval
        waiting = _Exchange(one, count, now, has_role=has_role)
        self._waiting.append(waiting)
        if not self._is_timed:
            self._is_timed = True
            self._hub.loop.call_later(self._timeout, self._check)
        self._transport.write(packed)
        one.wait()
        if waiting.failure is not None:
            # Of each its own: they are raised in several greenlets.
            raise type(waiting.failure)(str(waiting.failure))
        return waiting.answers

    # What the event loop calls.

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self.is_over:
            self._close()
        else:
            self.is_open = True

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                self._take(answer)
        except exceptions.RedisError as error:
            self._break(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._break(
            exceptions.ConnectionError(
                str(error) if error else 'Connection closed by server.'
            )
        )

    def _take(self, answer: Any) -> None:
        if isinstance(answer, exceptions.ConnectionError):
            # The server serves nobody at present, or not us.
            raise answer
        if not self._waiting:
            raise exceptions.InvalidResponse('an answer to nothing')
        first = self._waiting[0]
        if first.has_role:
            first.has_role = False
            self._is_replica = _is_replica(answer)
        elif self._is_replica:
            first.answers.append(exceptions.ReadOnlyError('this is a replica'))
        else:
            first.answers.append(answer)
        first.left -= 1
        if not first.left:
            self._waiting.popleft()
            first.one.switch()
            if self.is_over and not self._waiting:
                self._close()

    def _check(self, is_last: bool = False) -> None:
        """Break the connection if the oldest command is not answered in time.

        :param is_last: whether there was a last look after that
        """
        if not self._waiting:
            self._is_timed = False
            return
        left = self._waiting[0].since + self._timeout - self._monotonic()
        if left > 0:
            self._hub.loop.call_later(left, self._check)
        elif is_last:
            self._break(exceptions.TimeoutError('Timeout reading from server'))
        else:
            self._hub.loop.call_later(_LAST_LOOK, self._check, True)

    def _break(self, error: Exception) -> None:
        """Close the connection, and tell all that wait."""
        self.retire()
        self._close()
        while self._waiting:
            first = self._waiting.popleft()
            first.failure = error
            first.one.switch()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._connected.disconnect()


def _is_replica(role: Any) -> bool:
    return isinstance(role, bytes) and b'role:slave' in role
