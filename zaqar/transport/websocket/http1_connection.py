# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on a connection whose client asks for no WebSocket.

h11 parses and frames. One request is answered at a time; what a client sends
meanwhile waits, up to a bound, and its departure is noticed.
"""

import asyncio
import http
from collections.abc import Callable, Sequence
from typing import Protocol

import h11

from zaqar.errors import InvalidBody, RequestTimeout, ZaqarError
from zaqar.transport.wsgi.responses import Headers

#: Bytes that the head of a request may have.
MAX_HEAD = 64 * 1024

#: Bytes of further requests that may wait.
MAX_AHEAD = 64 * 1024

#: Seconds for the head of a request, for its body, and between two requests.
HEAD_TIMEOUT = 30.0
BODY_TIMEOUT = 30.0
IDLE_TIMEOUT = 75.0

#: Parts of requests that are taken before other connections have their turn,
#: and parts that a body may have.
TURN = 32
MAX_PARTS = 1000

#: Headers that say how long an answer is, and what follows.
_FRAMING = frozenset(('content-length', 'connection'))

_TOO_SLOW = 'Request body came too slowly.'
_TOO_SMALL = 'Request body came in too small parts.'


class Stream(Protocol):
    """What the connection is made of."""

    def write(self, data: bytes) -> None:
        """Write bytes."""

    def read(self, on: bool) -> None:
        """Resume or pause reading."""

    def end(self) -> None:
        """Close it when all is written."""


#: Takes an answer.
Answer = Callable[[int, Headers, bytes], None]

#: Handles that the client has gone before the answer.
Left = Callable[[], None]

#: Has a request answered, with its body or the reason why that is not read.
Handle = Callable[[h11.Request, bytes | ZaqarError, Answer], Left]


class HttpConnection:
    """The requests of a connection, one after another.

    :param longest: bytes of the longest body that is read
    :ivar is_lost: whether the client has gone
    """

    def __init__(
        self,
        stream: Stream,
        handle: Handle,
        loop: asyncio.AbstractEventLoop,
        longest: int,
    ) -> None:
        self.is_lost = False
        self._stream = stream
        self._handle = handle
        self._loop = loop
        self._longest = longest
        self._h11 = h11.Connection(
            h11.SERVER, max_incomplete_event_size=MAX_HEAD
        )
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._parts = 0
        self._ahead = bytearray()
        self._is_busy = self._is_idle = False
        self._left: Left | None = None
        self._is_paused = False
        self._is_last = False
        self._timer: asyncio.TimerHandle | None = None
        self._set_timer(HEAD_TIMEOUT)

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._is_busy:
            self._ahead += data
            if len(self._ahead) > MAX_AHEAD and not self._is_paused:
                self._is_paused = True
                self._stream.read(False)
            return
        if self._is_idle and data:
            self._is_idle = False
            self._set_timer(HEAD_TIMEOUT)
        try:
            if data:
                self._h11.receive_data(data)
            for _ in range(TURN):
                if self._is_busy or not self._take(self._h11.next_event()):
                    return
        except h11.RemoteProtocolError as error:
            self._refuse(error)
            return
        self._is_busy = True
        self._loop.call_soon(self._resume)

    def lost(self) -> None:
        """Handle that the connection is closed."""
        self.is_lost = True
        self._cancel_timer()
        if self._left is not None:
            self._left()

    def drain(self) -> None:
        """Close the connection after the current answer."""
        self._is_last = True
        if not self._is_busy:
            self._stream.end()

    def _resume(self) -> None:
        """Go on after other connections had their turn."""
        if self.is_lost:
            return
        self._is_busy = False
        if self._is_paused:
            self._is_paused = False
            self._stream.read(True)
        ahead, self._ahead = bytes(self._ahead), bytearray()
        self.receive(ahead)

    def _take(self, event: object) -> bool:
        """Take an event; tell whether to go on."""
        if isinstance(event, h11.Request):
            self._request = event
            self._set_timer(BODY_TIMEOUT)
            if _length(event) > self._longest:
                # The answer says so, and what is sent is not read.
                self._call()
        elif isinstance(event, h11.Data):
            self._body += event.data
            self._parts += 1
            if self._parts > MAX_PARTS:
                self._fail(InvalidBody(_TOO_SMALL))
            elif len(self._body) > self._longest:
                self._call()
        elif isinstance(event, h11.EndOfMessage):
            self._call()
        elif event is h11.NEED_DATA:
            if self._h11.they_are_waiting_for_100_continue:
                proceed = h11.InformationalResponse(
                    status_code=100, headers=[]
                )
                self._stream.write(self._h11.send(proceed) or b'')
            return False
        else:
            self._stream.end()
            return False
        return True

    def _call(self, error: ZaqarError | None = None) -> None:
        self._cancel_timer()
        self._is_busy = True
        request, body = self._request, bytes(self._body)
        assert request is not None
        self._body.clear()
        self._parts = 0
        self._left = self._handle(request, error or body, self._answer)

    def _answer(self, status: int, headers: Headers, content: bytes) -> None:
        """Write an answer, and go on with the next request."""
        if self.is_lost or not self._is_busy:
            return
        request = self._request
        has_content = status >= 200 and status not in (204, 304)
        fields = _without_framing(headers)
        if has_content:
            fields.append(('Content-Length', str(len(content))))
        is_read = self._h11.their_state in (h11.DONE, h11.MUST_CLOSE)
        if self._is_last or not is_read:
            fields.append(('Connection', 'close'))
        self._send(status, fields, content if has_content else b'', request)
        self._next()

    def _send(
        self,
        status: int,
        fields: Sequence[tuple[str, str]],
        content: bytes,
        request: h11.Request | None,
    ) -> None:
        parts = [self._h11.send(_head(status, fields))]
        if content and (request is None or request.method != b'HEAD'):
            parts.append(self._h11.send(h11.Data(data=content)))
        parts.append(self._h11.send(h11.EndOfMessage()))
        self._stream.write(b''.join(part for part in parts if part))

    def begin(self, status: int, headers: Headers) -> None:
        """Write the head of an answer that lasts."""
        if self.is_lost or not self._is_busy:
            return
        fields = [*_without_framing(headers), ('Connection', 'close')]
        head = _head(status, fields)
        self._stream.write(self._h11.send(head) or b'')

    def send(self, data: bytes) -> None:
        """Write a part of an answer that has begun."""
        if self.is_lost or self._h11.our_state is not h11.SEND_BODY:
            return
        # Not joined: the same data may be on its way to many.
        for part in self._h11.send_with_data_passthrough(h11.Data(data)) or ():
            self._stream.write(part)

    def finish(self) -> None:
        """End an answer that has begun, and the connection with it."""
        if self.is_lost or self._h11.our_state is not h11.SEND_BODY:
            return
        self._stream.write(self._h11.send(h11.EndOfMessage()) or b'')
        self._stream.end()

    def _next(self) -> None:
        self._request = self._left = None
        if self._h11.our_state is not h11.DONE or (
            self._h11.their_state is not h11.DONE
        ):
            self._cancel_timer()
            self._stream.end()
            return
        self._h11.start_next_cycle()
        self._is_idle = True
        self._set_timer(IDLE_TIMEOUT)
        # Not from within the call that has answered.
        self._loop.call_soon(self._resume)

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is no HTTP, and close."""
        status = error.error_status_hint
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            fields = [('Content-Length', '0'), ('Connection', 'close')]
            self._send(status, fields, b'', None)
        self._cancel_timer()
        self._stream.end()

    def _set_timer(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(seconds, self._late)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        """Close the connection of a client that takes too long."""
        self._timer = None
        if self._request is not None:
            self._fail(RequestTimeout(_TOO_SLOW))
            return
        self._stream.end()

    def _fail(self, error: ZaqarError) -> None:
        """Refuse a request whose body has not been read, and close."""
        self._is_last = True
        self._call(error)


def _without_framing(headers: Headers) -> Headers:
    return [pair for pair in headers if pair[0].lower() not in _FRAMING]


def _head(status: int, fields: Sequence[tuple[str, str]]) -> h11.Response:
    return h11.Response(
        status_code=status,
        headers=[
            (name.encode('latin-1'), value.encode('latin-1'))
            for name, value in fields
        ],
        reason=http.HTTPStatus(status).phrase.encode(),
    )


def _length(request: h11.Request) -> int:
    """Return the announced bytes of a body, 0 if there are none."""
    lengths = [
        value for name, value in request.headers if name == b'content-length'
    ]
    return int(lengths[0]) if lengths else 0
