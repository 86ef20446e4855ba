# SPDX-License-Identifier: Apache-2.0
"""The requests of one connection, from its bytes. Nothing here does I/O.

llhttp parses. Bounds are ours, and what it accepts that a proxy in front could
read in another way is refused: a part of a body would be taken for the next
request.
"""

import re

import httptools
import msgspec

from zaqar.errors import HeadTooLarge, InvalidBody, InvalidRequest, ZaqarError
from zaqar.transport.wsgi import request_environ
from zaqar.transport.wsgi_types import Environ

#: Bytes of a head that comes in parts, and headers of any.
MAX_HEAD = 64 * 1024
MAX_HEADERS = 100

#: Parts in which a request may come, whatever their size; with more, the
#: average must exceed :data:`LEAST_PART`, since each part costs about as much
#: as a request.
FREE_PARTS = 1000
LEAST_PART = 64

#: Bytes beside those of a chunked body, as many as which do not count.
FREE_OVERHEAD = 128 * 1024

#: Digits of a length; more would be no number of bytes, and may be no number.
_LONGEST_LENGTH = 18

#: The method of a request.
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}(?= )")


class Request(msgspec.Struct):
    """A request.

    :ivar keeps_alive: whether another one may follow on the connection
    """

    environ: Environ
    method: str
    path: bytes
    query: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    body: bytes | ZaqarError = b''
    keeps_alive: bool = False

    def new_environ(self, connection: Environ) -> Environ:
        """Return its environment, as it was before it was used.

        :param connection: the part that all requests of a connection share
        """
        return request_environ.of_request(
            connection,
            self.method,
            self.path,
            self.query,
            self.version,
            self.headers,
        )


class MalformedRequest(Exception):
    """A request violates the protocol; its connection must be closed.

    :ivar error: that answers it
    """

    def __init__(self, error: ZaqarError | None = None) -> None:
        super().__init__()
        self.error = error or InvalidRequest(
            'Malformed HTTP request', title='Bad request'
        )


class _NoMore(Exception):
    """Nothing is read any more."""


class RequestReader:
    """Reads one request after another.

    :param longest: bytes of the longest body that is read
    :ivar environ: the part of the environment that all requests share
    :ivar is_over: whether nothing is read any more
    :ivar is_incomplete: whether a part of a request has come
    :ivar size: bytes of its body that have come
    :ivar received: bytes of it that are counted
    """

    __slots__ = (
        '_headers',
        '_longest',
        '_method',
        '_parser',
        '_parts',
        '_reads',
        '_request',
        '_rest',
        '_url',
        '_wants_permission',
        'environ',
        'is_incomplete',
        'is_over',
        'received',
        'size',
    )

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parser: httptools.HttpRequestParser | None = (
            httptools.HttpRequestParser(self)
        )
        #: A method after whose request nothing is read.
        self._method = ''
        #: What a body that the parser would not read is fed after.
        self._rest = b''
        self.environ: Environ = {}
        self._url = b''
        self._headers: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self._parts: list[bytes] = []
        self._reads = self.received = self.size = 0
        self.is_over = self.is_incomplete = self._wants_permission = False

    @property
    def is_reading_body(self) -> bool:
        """Whether the head of a request has come, and not all of its body."""
        return self._request is not None

    def take(self, request: Request) -> None:
        """Take a request that can be answered; to be defined elsewhere."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Take bytes.

        :raises MalformedRequest: they violate the protocol
        """
        parser = self._parser
        if parser is None or self.is_over:
            return
        offset, method = -1, b''
        begins = not self.is_incomplete
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            offset = upgrade.args[0]
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, MalformedRequest):
                raise cause from None
            if not isinstance(cause, _NoMore):
                raise
        except httptools.HttpParserError as error:
            # What follows the last request is dropped.
            if not self.is_over:
                method = _unknown_method(error, data) if begins else b''
                if not method:
                    raise _malformed(error) from None
        # Each takes more memory than it has bytes.
        if len(self._headers) > MAX_HEADERS:
            raise MalformedRequest(HeadTooLarge())
        if method:
            # The application refuses it, and the connection ends.
            self._method = method.decode()
            self._parser = httptools.HttpRequestParser(self)
            self.feed(b'POST' + data[len(method) :])
        elif offset >= 0:
            # Nothing else is spoken here.
            head, self._rest = self._rest, b''
            if head:
                self._parser = httptools.HttpRequestParser(self)
            self.feed(head + data[offset:])

    def count(self, size: int) -> None:
        """Count a part of a request that is not complete.

        :raises MalformedRequest: it is too long, or in too many parts
        """
        self.received += size
        if self._request is None:
            self._reads += 1
            if self.received > MAX_HEAD:
                raise MalformedRequest(HeadTooLarge())
            least = self._reads * LEAST_PART
            if self._reads > FREE_PARTS and self.received < least:
                raise MalformedRequest
        elif self.received > 2 * self.size + FREE_OVERHEAD:
            self.stop(_too_small_parts())

    def take_permission(self) -> bool:
        """Whether the client is to be given permission to send a body."""
        wants, self._wants_permission = self._wants_permission, False
        return wants and not self.size

    def stop(self, body: bytes | ZaqarError) -> None:
        """Have a request answered although its body is not complete."""
        request = self._request
        assert request is not None
        request.body = body
        self._complete(request)

    def forget(self) -> None:
        """Forget the request that is not complete, and let go of all."""
        self.is_over = True
        # It refers to this.
        self._parser = None
        self._reset()

    # What the parser calls.

    def on_url(self, url: bytes) -> None:
        self._url += url
        self.is_incomplete = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        # Those that follow a body are dropped.
        headers, self._headers = self._headers, []
        url, self._url = self._url, b''
        if self._request is not None:
            # This head is ours, and its body that of the request.
            return
        if len(headers) > MAX_HEADERS:
            raise MalformedRequest(HeadTooLarge())
        method = self._method or parser.get_method().decode('latin-1')
        path, _, query = url.partition(b'?')
        if path[:1] != b'/':
            if method == 'CONNECT':
                # Of a proxy: the application refuses it, and the connection
                # ends, since what follows may be for somebody else.
                self._method, url = method, b'/'
            path, query = _without_origin(url)
        version = parser.get_http_version()
        if version != '1.1' and version != '1.0':
            raise MalformedRequest
        environ = request_environ.of_request(
            self.environ, method, path, query, version, headers
        )
        self._request = Request(environ, method, path, query, version, headers)
        if 'CONTENT_LENGTH' in environ or 'HTTP_TRANSFER_ENCODING' in environ:
            self._begin_body(environ, is_newer=version == '1.1')
            if parser.should_upgrade():
                self._rest = _head_of_rest(environ, parser.should_keep_alive())

    def on_body(self, part: bytes) -> None:
        parts = self._parts
        parts.append(part)
        self.size += len(part)
        if self.size > self._longest:
            # Refused by who knows the limit of its path.
            self.stop(b''.join(parts))
        elif len(parts) > FREE_PARTS and self.size < len(parts) * LEAST_PART:
            self.stop(_too_small_parts())
        if self.is_over:
            raise _NoMore

    def on_message_complete(self) -> None:
        if self._rest:
            # The body comes still.
            return
        parser, request, parts = self._parser, self._request, self._parts
        assert parser is not None
        assert request is not None
        if parts:
            request.body = parts[0] if len(parts) == 1 else b''.join(parts)
        request.keeps_alive = not self._method and parser.should_keep_alive()
        self._complete(request)
        if self.is_over:
            raise _NoMore

    def _begin_body(self, environ: Environ, *, is_newer: bool) -> None:
        """Begin to read a body, unless it is too long."""
        length = 0
        if 'HTTP_TRANSFER_ENCODING' in environ:
            coding = environ['HTTP_TRANSFER_ENCODING'].lower()
            has_length = 'CONTENT_LENGTH' in environ
            if not is_newer or coding != 'chunked' or has_length:
                raise MalformedRequest
        else:
            text = environ['CONTENT_LENGTH']
            if not text.isdecimal() or len(text) > _LONGEST_LENGTH:
                raise MalformedRequest
            length = int(text)
        if length > self._longest:
            self.stop(b'')
            raise _NoMore
        if is_newer and 'HTTP_EXPECT' in environ:
            expected = environ['HTTP_EXPECT'].lower()
            self._wants_permission = expected == '100-continue'

    def _complete(self, request: Request) -> None:
        self._reset()
        if not request.keeps_alive:
            self.is_over = True
        self.take(request)

    def _reset(self) -> None:
        self._request = None
        self._rest = b''
        self.is_incomplete = self._wants_permission = False
        if self._parts:
            self._parts = []
            self.size = 0
        if self._headers:
            self._headers = []
        if self.received:
            self.received = self._reads = 0


def _malformed(error: Exception) -> MalformedRequest:
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        # Behind another request. In front of all others it is handed on.
        return MalformedRequest(
            InvalidRequest('Invalid HTTP method', title='Bad request')
        )
    return MalformedRequest()


def _unknown_method(error: Exception, data: bytes) -> bytes:
    """Return the method that a request begins with, if it is none of HTTP."""
    named = _METHOD.match(data)
    if named is None or not isinstance(
        error, httptools.HttpParserInvalidMethodError
    ):
        return b''
    try:
        # It may be that of a request behind this one.
        httptools.HttpRequestParser(None).feed_data(named[0] + b' ')
    except httptools.HttpParserInvalidMethodError:
        return named[0]
    return b''


def _head_of_rest(environ: Environ, keeps_alive: bool) -> bytes:
    """Return a head after which the parser reads the body of a request.

    It takes that for another protocol if the client offers one, as some do
    with every request: see findings/httptools-upgrade-body.sh.
    """
    lines = [b'POST / HTTP/1.1']
    if 'CONTENT_LENGTH' in environ:
        lines.append(b'Content-Length: ' + environ['CONTENT_LENGTH'].encode())
    else:
        lines.append(b'Transfer-Encoding: chunked')
    if not keeps_alive:
        lines.append(b'Connection: close')
    return b'\r\n'.join((*lines, b'', b''))


def _too_small_parts() -> InvalidBody:
    return InvalidBody('Request body came in too small parts.')


def _without_origin(url: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query of a request that names the host."""
    if url == b'*' or url == b'/':
        return url, b''
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserError:
        raise MalformedRequest from None
    if parsed.schema is None:
        raise MalformedRequest
    return parsed.path or b'/', parsed.query or b''
