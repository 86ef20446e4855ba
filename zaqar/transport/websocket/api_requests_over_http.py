# SPDX-License-Identifier: Apache-2.0
"""HTTP requests beside WebSockets: those that may wait for messages.

They are answered by the WSGI application, on the threads that answer frames. A
request that waits holds no thread.
"""

import asyncio
import functools
import io
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import h11

from zaqar.controllers.websocket_connection_quota import Place, Sockets
from zaqar.errors import QuotaExceeded, ZaqarError
from zaqar.transport.large_page_fairness import Job, Turns
from zaqar.transport.page_turn_and_message_wait import TURN, Turn
from zaqar.transport.websocket.http1_connection import Answer, Left
from zaqar.transport.websocket.server_sent_event_streams import (
    EventStream,
    StreamReader,
    Streams,
)
from zaqar.transport.websocket.worker_threads import Workers
from zaqar.transport.wsgi import (
    application_call,
    event_stream_requests,
    microversion_headers,
    request_environ,
)
from zaqar.transport.wsgi.event_stream_requests import Handover
from zaqar.transport.wsgi.responses import Headers, error_response
from zaqar.transport.wsgi_types import App, Environ

LOG = logging.getLogger(__name__)

#: The head of a request to the API, as far as it is complete, and the header
#: of one that asks for a WebSocket.
_REQUEST = re.compile(rb'[A-Z]+ /v2/[^ ]* HTTP/1\.[01]\r\n')
_UPGRADE = re.compile(rb'\r\nupgrade[ \t]*:', re.IGNORECASE)
_END = b'\r\n\r\n'


def begins(data: bytes) -> bool:
    """Tell whether bytes begin with the head of a request to the API."""
    head, end, _ = data.partition(_END)
    return bool(end and _REQUEST.match(head + end)) and not _UPGRADE.search(
        head
    )


class Client(StreamReader, Protocol):
    """Who sends requests over a connection.

    :ivar peer: the address
    :ivar is_lost: whether it has gone
    """

    @property
    def peer(self) -> str: ...

    @property
    def is_lost(self) -> bool: ...

    def note(self, project: str) -> None:
        """Note whom the next answer is for, '' if that is not known."""


@dataclass(slots=True, eq=False)
class _Exchange:
    """A request that is being answered.

    :ivar head: as ASGI has it
    :ivar place: of its stream among the connections of the project
    """

    client: Client
    head: Mapping[str, Any]
    body: bytes | ZaqarError
    answer: Answer
    turn: Turn
    place: Place
    handover: Handover = field(default_factory=Handover)
    stream: EventStream | None = None

    def leave(self) -> None:
        """Handle that the client has gone."""
        self.turn.give_up()
        self.place.close()
        if self.stream is not None:
            self.stream.close()


class HttpRequests:
    """Answers the HTTP requests of all connections of a process.

    :param longest: bytes of the longest body that is read
    :param mount: the path that clients see before that of a request
    :param streams: those that are begun
    :param sockets: counts their connections, None to count none
    """

    def __init__(
        self,
        app: App,
        workers: Workers,
        turns: Turns,
        loop: asyncio.AbstractEventLoop,
        longest: int,
        mount: str,
        streams: Streams,
        sockets: Sockets | None = None,
    ) -> None:
        self._sockets = sockets
        self._streams = streams
        self.loop = loop
        self.longest = longest
        self._app = app
        self._workers = workers
        self._turns = turns
        self._mount = mount

    def handle(
        self,
        client: Client,
        request: h11.Request,
        body: bytes | ZaqarError,
        answer: Answer,
    ) -> Left:
        """Have a request answered."""
        head = _head(request, client.peer)
        turn = Turn(self._turns)
        place = Place(self._sockets)
        exchange = _Exchange(client, head, body, answer, turn, place)
        self._submit(exchange)
        return exchange.leave

    def _submit(self, exchange: _Exchange) -> None:
        self._workers.submit(
            functools.partial(self._call, exchange),
            functools.partial(self._done, exchange),
            exchange.turn.project or exchange.client.peer,
        )

    def _call(self, exchange: _Exchange) -> tuple[int, Headers, bytes]:
        environ: Environ = request_environ.to_environ(exchange.head)
        environ['SCRIPT_NAME'] = self._mount
        body = exchange.body
        if isinstance(body, ZaqarError):
            return _refusal(environ, body)
        environ['wsgi.input'] = io.BytesIO(body)
        exchange.turn.size = functools.partial(
            request_environ.size_of, environ, body
        )
        environ[TURN] = exchange.turn
        environ[event_stream_requests.HANDOVER] = exchange.handover
        try:
            result = application_call.call(self._app, environ)
            start = exchange.handover.start
            if start is not None:
                exchange.place.take(start.source.scope.project)
            return result
        except QuotaExceeded as error:
            exchange.handover.start = None
            return _refusal(environ, error)
        except Exception:
            LOG.exception('A request failed')
            return _refusal(environ, ZaqarError(None))

    def _done(
        self, exchange: _Exchange, result: tuple[int, Headers, bytes]
    ) -> None:
        """Write an answer, or have the request wait for its turn."""
        turn = exchange.turn
        if exchange.client.is_lost:
            # Its connection is no longer counted, and it must not wait.
            turn.record(len(result[2]))
            self._later(turn.end())
            return
        exchange.client.note(turn.project)
        if turn.is_missed:
            resume = functools.partial(self._resume, exchange)
            self._later(turn.wait(resume))
            return
        status, headers, content = result
        turn.record(len(content))
        start = exchange.handover.start
        if start is None:
            exchange.answer(status, headers, content)
        else:
            exchange.stream = EventStream(
                exchange.client, self._streams, start
            )
            exchange.stream.begin(status, headers)
        self._later(turn.end())

    def _resume(self, exchange: _Exchange) -> None:
        """Handle a request whose turn has come."""
        exchange.turn.resume()
        if exchange.client.is_lost:
            # Messages that it took from a queue would be lost.
            self._later(exchange.turn.end())
        else:
            self._submit(exchange)

    def _later(self, job: Job | None) -> None:
        if job is not None:
            self.loop.call_soon(job)


def _refusal(
    environ: Environ, error: ZaqarError
) -> tuple[int, Headers, bytes]:
    app = microversion_headers.with_version(error_response(error))
    return application_call.call(app, environ)


def _head(request: h11.Request, peer: str) -> Mapping[str, Any]:
    """Return the head of a request as ASGI has it."""
    path, _, query = request.target.partition(b'?')
    return {
        'scheme': 'http',
        'http_version': request.http_version.decode('ascii'),
        'method': request.method.decode('ascii'),
        'raw_path': path,
        'query_string': query,
        'server': ('', '0'),
        'client': (peer, 0),
        'headers': list(request.headers),
    }
