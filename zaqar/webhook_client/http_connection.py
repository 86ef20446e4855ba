# SPDX-License-Identifier: Apache-2.0
"""A connection to a receiver, which is not trusted with time or memory.

The parser is llhttp, by httptools. Of a response little is read, and a
connection that has sent anything more than its response is not used again:
what follows would be taken for the response to the next request.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import httptools
import msgspec

#: Maximum bytes of a body that are read, and of a whole response before it.
MAX_READ = 16 * 1024
MAX_HEAD = 64 * 1024

#: Maximum number of interim responses (100 to 199) before the final one.
MAX_INTERIM = 16


class MalformedResponse(Exception):
    """The response violates the protocol; the text says how."""


class HttpResponse(msgspec.Struct, frozen=True):
    """A response, with the beginning of its body.

    :ivar headers: by their names in lower case
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """Sends one request at a time.

    :ivar is_usable: another request may be sent
    :ivar made_at: when it was made, and since when it is idle, in seconds by
        the clock of the loop
    """

    transport: Any
    idle_since = 0.0

    def __init__(self) -> None:
        self.is_usable = False
        self._parser: Any = None
        self._answer: asyncio.Future[HttpResponse] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_tunnel = False

    def request(
        self,
        text: bytes,
        end: float | None = None,
        *,
        is_tunnel: bool = False,
    ) -> asyncio.Future[HttpResponse]:
        """Send a request; return its response, later.

        :param end: when it fails with TimeoutError, by the clock of the loop
        :param is_tunnel: it asks a proxy for a tunnel, so that nothing that
            follows the head belongs to the response
        """
        self._parser = httptools.HttpResponseParser(self)
        self._is_tunnel = is_tunnel
        self._received = 0
        self._interim = 0
        self._begin()
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        if end is not None:
            # One timer costs less than a context manager around the request.
            self._timer = loop.call_at(end, self._fail, TimeoutError())
        if not self.is_usable:
            self._fail(ConnectionResetError())
        else:
            self.transport.write(text)
        return self._answer

    def close(self) -> None:
        """Close it at once, whatever has not been sent yet."""
        self.is_usable = False
        self._stop_timer()
        self.transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.is_usable = True
        self.made_at = asyncio.get_running_loop().time()

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            self.close()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._break(MalformedResponse(str(error)))
        if self._received > MAX_HEAD + MAX_READ:
            self._break(MalformedResponse('the response is too long'))

    def connection_lost(self, error: Exception | None) -> None:
        self.is_usable = False
        if self._is_answered:
            return
        if error is None and self._is_final and self._lasts_until_end():
            self._complete()
        else:
            self._fail(error or ConnectionResetError())

    # Called by the parser.

    def on_message_begin(self) -> None:
        # There is no response after the final one.
        self.is_usable &= not self._is_answered

    def on_status(self, _reason: bytes) -> None:
        if not self._is_answered:
            self._status = self._parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_answered:
            return
        text = value.decode('latin-1')
        self._headers[name.decode('latin-1').lower()] = text

    def on_headers_complete(self) -> None:
        if self._is_answered:
            return
        self._status = self._parser.get_status_code()
        self._is_final = self._status >= 200
        if self._status == 101:
            self._fail(MalformedResponse('protocol switched unasked'))
        elif not self._is_final and self._announces_body():
            # The parser would take the next response for its body.
            self._fail(MalformedResponse('an interim answer has a body'))
        if self._is_final and self._is_tunnel:
            self._complete()

    def on_body(self, part: bytes) -> None:
        if self._is_answered:
            return
        self._body += part[: MAX_READ - len(self._body)]
        self._size += len(part)
        if self._size > MAX_READ and self._is_final:
            # The rest of a long body is not read.
            self._complete()
            self.close()

    def on_message_complete(self) -> None:
        if self._is_answered:
            return
        if self._is_final:
            self.is_usable &= self._parser.should_keep_alive()
            self._complete()
            return
        self._interim += 1
        if self._interim > MAX_INTERIM:
            self._fail(MalformedResponse('too many interim answers'))
        self._begin()

    @property
    def _is_answered(self) -> bool:
        """Whether no response is waited for."""
        return self._answer is None or self._answer.done()

    def _begin(self) -> None:
        self._status = 0
        self._is_final = False
        self._headers: dict[str, str] = {}
        self._body = b''
        self._size = 0

    def _lasts_until_end(self) -> bool:
        names = self._headers
        return not ('content-length' in names or 'transfer-encoding' in names)

    def _announces_body(self) -> bool:
        names = self._headers
        length = names.get('content-length', '0')
        return 'transfer-encoding' in names or bool(length.strip('0'))

    def _complete(self) -> None:
        assert self._answer is not None
        self._stop_timer()
        self._answer.set_result(
            HttpResponse(self._status, self._headers, self._body)
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _break(self, error: Exception) -> None:
        """Close it; a status that has come counts, whatever came after it."""
        if self._status >= 200 and not self._is_answered:
            self._complete()
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()
