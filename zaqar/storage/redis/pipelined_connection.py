# SPDX-License-Identifier: Apache-2.0
"""A connection to Redis that the greenlets of an event loop share.

What has come in one round of the loop is sent together, in one system call,
and with ``appendfsync always`` the server syncs its log once for all of it.
Answers come in the order of the commands.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import math
import socket
import time
from collections.abc import Callable
from typing import Any

import hiredis
from redis import connection as _connection
from redis import exceptions

from zaqar.current_request import OF_THREAD
from zaqar.errors import StoreUnavailable, one_line
from zaqar.event_loop_greenlets import Hub, LoopGreenlet
from zaqar.greenlets_stalled_on_stores import CHECK_INTERVAL, Silence, wake
from zaqar.storage.redis.server_role import is_replica

LOG = logging.getLogger(__name__)

#: The client library gives its connections no types.
_redis: Any = _connection

#: Seconds for which answers are looked for after the time for them is over:
#: the loop may have had no time to read them.
_LAST_LOOK = 0.05

#: Exchanges that are sent together, at most: the server should have something
#: to do while the loop prepares more.
MOST_TOGETHER = 8


class _Exchange:
    """Commands that are sent and not answered yet.

    :ivar one: who waits; None if it has gone on
    :ivar left: how many answers are to come
    :ivar since: when they were to be sent, monotonic
    :ivar end: when its request waits no longer, monotonic
    :ivar has_role: whether the next one tells the role of the server
    :ivar failure: why there are no more
    """

    __slots__ = (
        *('answers', 'end', 'failure', 'has_role', 'left', 'one', 'since'),
    )

    def __init__(
        self, one: LoopGreenlet, left: int, since: float, *, has_role: bool
    ) -> None:
        self.one: LoopGreenlet | None = one
        self.end: float = OF_THREAD.request.end
        self.answers: list[Any] = []
        self.left = left
        self.since = since
        self.has_role = has_role
        self.failure: Exception | None = None


class PipelinedConnection(asyncio.Protocol):
    """A connection, in the thread of an event loop.

    :param connected: of the client library, open; ours from now on
    :param timeout: seconds of silence after which it is broken while answers
        are to come
    :param role: the command that asks for the role of the server, packed;
        empty if that does not matter
    :param role_interval: seconds after which to ask again
    :param server: whose silence it is if no answer comes
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
        server: object = None,
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
        self._opening: asyncio.Task[None] | None = None
        self._transport: Any = None
        self._is_made = False
        self._heard = -math.inf
        self._silence = Silence(server or self)
        self._unsent: list[bytes] = []
        self._waiting: collections.deque[_Exchange] = collections.deque()
        self._is_timed = False
        self.is_open = self.is_over = False

    def open(self) -> None:
        """Have the loop read and write it; called there."""
        if not self.is_over:
            self._opening = self._hub.loop.create_task(self._open())

    async def _open(self) -> None:
        # From now on the loop closes the descriptor. Whoever else did so too
        # would close what has got its number since.
        sock, self._connected._sock = self._connected._sock, None
        loop, is_taken = self._hub.loop, True
        create: Any = (
            loop.create_unix_connection
            if sock.family == socket.AF_UNIX
            else loop.create_connection
        )
        try:
            self._transport, _ = await create(lambda: self, sock=sock)
        except Exception as error:
            is_taken = self._is_made
            LOG.warning('A connection to Redis cannot be used: %s', error)
            self.is_over = True
        finally:
            if is_taken:
                sock.detach()
            else:
                sock.close()
        if self._transport is None:
            return
        if self.is_over or self._transport.is_closing():
            # Not before: the loop does not expect that while it opens it.
            self._transport.abort()
        else:
            self.is_open = True

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
        :raises TimeoutError: the time of the request is over
        :raises RedisError, OSError: the connection broke
        :raises StoreUnavailable: too many wait, and there are no answers
        In all cases the commands may have been executed or not.
        """
        now = self._monotonic()
        if self._silence.is_noticed and self._waiting:
            self._silence.begin(one, self._quiet_since(), now)
        has_role = now >= self._role_due
        if has_role:
            # In one packet with the rest, hence without a further round trip.
            # The answer holds for whatever is sent behind it.
            packed, count = self._role + packed, count + 1
        unsent = self._unsent
        unsent.append(packed)
        if len(unsent) == 1:
            self._hub.loop.call_soon(self._send)
        elif len(unsent) >= MOST_TOGETHER:
            self._send()
        if has_role:
            self._role_due = now + self._role_interval
        waiting = _Exchange(one, count, now, has_role=has_role)
        self._waiting.append(waiting)
        if not self._is_timed:
            self._is_timed = True
            self._hub.loop.call_later(CHECK_INTERVAL, self.check)
        try:
            one.wait(waiting)
        except BaseException:
            # Its answers are read, but nobody waits for them.
            waiting.one = None
            raise
        failure = waiting.failure
        if isinstance(failure, StoreUnavailable):
            raise failure
        if failure is not None:
            # Of each its own: they are raised in several greenlets.
            raise type(failure)(str(failure))
        return waiting.answers

    def _send(self) -> None:
        """Send what has gathered."""
        unsent = self._unsent
        if not unsent:
            return
        packed = b''.join(unsent)
        unsent.clear()
        try:
            self._transport.write(packed)
        except Exception as error:
            # Not at once: a greenlet must not make others go on.
            lost = exceptions.ConnectionError(one_line(error))
            self._hub.loop.call_soon(self._break, lost)

    # What the event loop calls.

    def connection_made(self, transport: Any) -> None:
        self._is_made = True

    def data_received(self, data: bytes) -> None:
        self._heard = self._monotonic()
        self._silence.is_noticed = False
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                self._take(answer)
        except exceptions.RedisError as error:
            self._break(error)

    def connection_lost(self, error: Exception | None) -> None:
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
            if is_replica(answer):
                # It may be promoted before it executes what follows.
                raise exceptions.ConnectionError('this is a replica')
        else:
            first.answers.append(answer)
        first.left -= 1
        if not first.left:
            self._waiting.popleft()
            if first.one is not None:
                first.one.switch(first)
            if self.is_over and not self._waiting:
                self._close()

    def _quiet_since(self) -> float:
        """Return when it was last heard of, or first waited for."""
        return max(self._waiting[0].since, self._heard)

    def check(self, is_last: bool = False) -> None:
        """Break the connection if it is silent; end what takes too long.

        :param is_last: whether there was a last look after that
        """
        if not self._waiting:
            self._is_timed = self._silence.is_noticed = False
            return
        now, since = self._monotonic(), self._quiet_since()
        if now - since < self._timeout:
            self._hub.loop.call_later(CHECK_INTERVAL, self.check)
            if any(
                each.end <= now
                for each in self._waiting
                if each.one is not None
            ):
                self._end_overdue(now)
            self._silence.check(since, now, self._waiting)
        elif is_last:
            self._break(exceptions.TimeoutError('Timeout reading from server'))
        else:
            self._hub.loop.call_later(_LAST_LOOK, self.check, True)

    def _end_overdue(self, now: float) -> None:
        """Let the requests go on whose time is over, and no others wait."""
        self.retire()
        for each in [*self._waiting]:
            if each.end <= now:
                each.failure = TimeoutError('The time of the request is over.')
                # Its answers are read, since those of others are behind them.
                wake(each)

    def _break(self, error: Exception) -> None:
        """Close the connection, and tell all that wait."""
        self.retire()
        self._unsent.clear()
        self._close()
        while self._waiting:
            first = self._waiting.popleft()
            first.failure = error
            wake(first)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        elif self._opening is None:
            self._connected.disconnect()
