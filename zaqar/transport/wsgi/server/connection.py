# SPDX-License-Identifier: Apache-2.0
"""One connection of a client, in the thread of the event loop.

Requests are handed on one at a time: those that come before the answer to the
one before wait here.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from zaqar.errors import RequestTimeout, ZaqarError
from zaqar.transport.wsgi import request_environ
from zaqar.transport.wsgi.server import response_encoding
from zaqar.transport.wsgi.server.request_parser import (
    MalformedRequest,
    Request,
    RequestReader,
)

#: Bytes that are read before the answer to a request, and requests in them;
#: with more, the connection ends after the last one of these.
MOST_AHEAD = 64 * 1024
MOST_BEHIND = 256

#: Bytes of them that do not count, and those of a request beside its text.
FREE_AHEAD = 16 * 1024
OVERHEAD = 4096

#: Seconds in which the minimum rate does not apply.
GRACE = 5.0

#: Seconds that a connection may be idle: longer than proxies keep it.
IDLE_TIMEOUT = 75.0

#: Seconds that a client has to read its last answer, while it still sends,
#: and for a head at the end of the worker.
LINGER = 2.0


class Stage(enum.Enum):
    """What a connection is in.

    :cvar NEW: no request has come yet
    :cvar HEAD: a part of the head of a request has come
    :cvar BODY: a part of its body
    :cvar BUSY: a request is being answered
    :cvar IDLE: all are answered
    :cvar END: so is the last one, but the client may not have read the answer
    """

    NEW = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    BUSY = enum.auto()
    IDLE = enum.auto()
    END = enum.auto()


@dataclass(frozen=True)
class ClientLimits:
    """What a client may take.

    :ivar head_seconds: for the head of a request
    :ivar body_seconds: for a whole body
    :ivar body_rate: minimum bytes of a body per second, on average
    :ivar longest_body: maximum bytes that are read
    """

    head_seconds: float
    body_seconds: float
    body_rate: int
    longest_body: int


class All(Protocol):
    """All connections of a worker, as one of them sees them.

    :ivar address: where the worker listens
    :ivar handle: takes each request
    :ivar monotonic: returns the time in seconds
    :ivar clock: when they were last checked
    """

    address: tuple[str, int]
    limits: ClientLimits
    handle: Callable[[Connection, Request], None]
    monotonic: Callable[[], float]
    clock: float

    def add(self, connection: Connection) -> None: ...

    def remove(self, connection: Connection) -> None: ...

    def hold(self, connection: Connection, held: int) -> None: ...


class Connection(RequestReader, asyncio.Protocol):
    """A connection.

    :ivar has_left: whether the client sends no more
    :ivar on_leaving: called then, while a request waits for messages
    :ivar held: bytes of an incomplete request that are counted
    """

    __slots__ = (
        '_ahead',
        '_begun',
        '_behind',
        '_clients',
        '_closes',
        '_is_blocked',
        '_is_paused',
        '_is_unread',
        '_is_writing',
        '_on_sent',
        '_stage',
        '_transport',
        'has_left',
        'held',
        'on_leaving',
    )

    def __init__(self, clients: All) -> None:
        super().__init__(clients.limits.longest_body)
        self._clients = clients
        self._transport: asyncio.Transport | None = None
        self.has_left = False
        self.on_leaving: Callable[[], None] | None = None
        self._stage = Stage.NEW
        self._begun = clients.monotonic()
        self.held = 0
        #: Whether something that the client has sent is dropped.
        self._is_unread = False
        #: Requests behind the one that is being answered, or what refuses one,
        #: and bytes that have come since that.
        self._behind: list[Request | ZaqarError] = []
        self._ahead = 0
        self._is_paused = False
        #: Whether the transport takes no more, and an answer is left there.
        self._is_blocked = self._is_writing = False
        self._closes = False
        self._on_sent: Callable[[], None] | None = None

    # What the event loop calls.

    def connection_made(self, transport: Any) -> None:
        # That of uvloop is no subclass.
        self._transport = transport
        # It blocks as soon as it cannot write all.
        transport.set_write_buffer_limits(high=0)
        peer = transport.get_extra_info('peername')
        self.environ = request_environ.of_connection(
            self._clients.address, peer[0] if peer else ''
        )
        self._clients.add(self)

    def data_received(self, data: bytes) -> None:
        if self.is_over:
            self._is_unread = True
            return
        was_busy = self._stage is Stage.BUSY
        try:
            self.feed(data)
            if self.is_incomplete and self._stage is not Stage.BUSY:
                self._went_on(len(data))
        except MalformedRequest as error:
            self._refuse(error.error)
        is_ahead = was_busy or self.is_incomplete or self._behind
        if is_ahead and self._stage is Stage.BUSY:
            self._read_ahead(len(data))

    def eof_received(self) -> bool:
        """Note that the client sends no more; tell whether to go on."""
        self._leave()
        return self._stage is Stage.BUSY

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.forget()
        self._behind.clear()
        self._leave()
        self._sent()
        self._clients.remove(self)

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked = False
        if self._is_writing:
            self._is_writing = False
            self._sent()
            self._go_on()

    # What answers requests.

    def watch(self, on_leaving: Callable[[], None]) -> bool:
        """Notice that the client goes; tell whether it has gone.

        To be called in the thread that answers its request.
        """
        self.on_leaving = on_leaving
        return self.has_left

    def answer(
        self,
        data: bytes,
        *,
        closes: bool,
        on_sent: Callable[[], None] | None = None,
    ) -> None:
        """Write the answer to the request that was handed on.

        :param closes: whether the connection ends with it
        :param on_sent: called when all is written, or the client has gone
        """
        self.on_leaving = None
        self._on_sent = on_sent
        if self._transport is None:
            self._sent()
            return
        self._closes = closes
        self._transport.write(data)
        if self._is_blocked:
            self._is_writing = True
            return
        if on_sent is not None:
            self._sent()
        self._go_on()

    # What looks at all connections.

    def check(self, now: float, *, is_ending: bool) -> None:
        """End what has lasted for too long.

        :param is_ending: whether no request is waited for any more
        """
        stage = self._stage
        if stage is Stage.BUSY:
            return
        limits, age = self._clients.limits, now - self._begun
        if stage is Stage.BODY:
            expected = age * limits.body_rate if age > GRACE else 0
            if age > limits.body_seconds or self.size < expected:
                self.give_up('Request body came too slowly.')
            return
        if stage is Stage.IDLE:
            is_late = is_ending or age > IDLE_TIMEOUT
        elif stage is Stage.END:
            is_late = age > LINGER
        elif is_ending:
            # A single client could hold up the end.
            is_late = stage is Stage.NEW or age > LINGER
        else:
            is_late = age > limits.head_seconds
        if is_late:
            self.abort()

    def give_up(self, why: str) -> None:
        """Refuse a request that is not complete."""
        if self.is_reading_body and self._stage is not Stage.BUSY:
            self.stop(RequestTimeout(why))
        else:
            self.abort()

    def abort(self) -> None:
        """Close the connection, whatever is left to be read or written."""
        self.is_over = True
        self._let_go()
        if self._transport is not None:
            self._transport.abort()

    # Reading.

    def take(self, request: Request) -> None:
        """Have a request answered, in its turn."""
        if self._stage is not Stage.BUSY:
            self._let_go()
            self._stage, self._ahead = Stage.BUSY, 0
            self._clients.handle(self, request)
            return
        self._behind.append(request)
        if len(self._behind) == MOST_BEHIND:
            request.keeps_alive = False
            self.is_over = self._is_unread = True

    def stop(self, body: bytes | ZaqarError) -> None:
        self._is_unread = True
        super().stop(body)

    def _went_on(self, size: int) -> None:
        """Note further bytes of a request that is not complete."""
        stage = Stage.BODY if self.is_reading_body else Stage.HEAD
        if stage is not self._stage:
            self._stage = stage
            self._begun = self._clients.monotonic()
        if self.take_permission() and self._transport is not None:
            self._transport.write(response_encoding.CONTINUE)
        self.count(size)
        if self.is_incomplete:
            self._clients.hold(self, self.received + self._ahead)

    def _read_ahead(self, size: int) -> None:
        """Note bytes that have come before the answer to a request."""
        self._ahead += size
        if self._ahead > MOST_AHEAD and not self._is_paused:
            self._pause()
        held = self._ahead + len(self._behind) * OVERHEAD
        if held > FREE_AHEAD:
            self._clients.hold(self, held)

    def _let_go(self) -> None:
        if self.held:
            self._clients.hold(self, 0)

    def _refuse(self, error: ZaqarError) -> None:
        """Answer what is no request, and close."""
        self.forget()
        self._is_unread = True
        if self._stage is Stage.BUSY:
            self._behind.append(error)
        else:
            self._let_go()
            self._stage = Stage.BUSY
            self._answer_refusal(error)

    def _answer_refusal(self, error: ZaqarError) -> None:
        self.answer(response_encoding.encode_refusal(error), closes=True)

    def _pause(self) -> None:
        if self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def _go_on(self) -> None:
        """Go on after an answer is written."""
        if self._closes:
            self._end()
            return
        if self._behind:
            following = self._behind.pop(0)
            if isinstance(following, ZaqarError):
                self._answer_refusal(following)
            else:
                self._clients.handle(self, following)
            return
        if self.has_left:
            self._end()
            return
        self._stage = Stage.IDLE
        self._begun = self._clients.clock
        if self._ahead:
            self._let_go()
            self._resume()
        if self.is_incomplete:
            self._went_on(0)
        else:
            self._ahead = 0

    def _end(self) -> None:
        """Close the connection so that its client gets the last answer.

        If something that it has sent is unread then, the kernel resets the
        connection, and the client may lose the answer.
        """
        assert self._transport is not None
        is_unread = self._is_unread or self.is_incomplete or self._behind
        self.is_over = True
        self._behind.clear()
        self._let_go()
        self._stage = Stage.END
        self._begun = self._clients.monotonic()
        if self.has_left or not is_unread:
            self._transport.close()
            return
        self._transport.write_eof()
        self._resume()

    def _sent(self) -> None:
        on_sent, self._on_sent = self._on_sent, None
        if on_sent is not None:
            on_sent()

    def _leave(self) -> None:
        self.has_left = True
        on_leaving, self.on_leaving = self.on_leaving, None
        if on_leaving is not None:
            on_leaving()
