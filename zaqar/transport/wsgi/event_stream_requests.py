# SPDX-License-Identifier: Apache-2.0
"""Requests for streams of Server-Sent Events, as browsers send them.

Only a server that can keep a connection open without a thread sends streams:
it puts a :class:`Handover` into the environment of every request, and takes
over what is in there afterwards.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from webob import acceptparse

from zaqar.api import operation_table
from zaqar.api.operation import EVENT_STREAM, Operation
from zaqar.controllers.streams import StreamStart
from zaqar.errors import NotAcceptable
from zaqar.transport.wsgi.responses import JSON, Response
from zaqar.transport.wsgi_types import App, Environ, StartResponse

#: Where the handover is in the environment of a request.
HANDOVER = 'zaqar.stream_handover'

#: Keys of an environment by the parameters of a query that stand for them.
_CREDENTIALS = {
    name: f'HTTP_{header.upper().replace("-", "_")}'
    for row in operation_table.OPERATIONS
    if row.stream is not None
    for name, header in row.stream.query_headers.items()
}

_ROUTES = tuple(
    (
        row.path.partition('{')[0],
        row.path.rpartition('}')[2],
    )
    for row in operation_table.OPERATIONS
    if row.stream is not None
)

_ELSEWHERE = (
    'Streams are served by the endpoint of type "messaging-websocket".'
)


@dataclass(slots=True)
class Handover:
    """What the server is to send after the head of an answer.

    :ivar start: the stream, None for an ordinary answer
    """

    start: StreamStart | None = None


def chosen(operation: Operation | None, environ: Environ) -> Operation | None:
    """Return the operation whose stream a request prefers, if it does.

    :raises NotAcceptable: it does, and this server sends no streams
    """
    stream = operation.stream if operation is not None else None
    if stream is None or not _is_preferred(environ):
        return None
    if HANDOVER not in environ:
        raise NotAcceptable(_ELSEWHERE, headers={'Vary': 'Accept'})
    return stream


def with_last_event(
    environ: Environ, values: Mapping[str, Sequence[str]]
) -> Mapping[str, Sequence[str]]:
    """Return a query that begins after the last event of a client.

    It repeats the query of its first request when it reconnects.
    """
    last = environ.get('HTTP_LAST_EVENT_ID')
    return {**values, 'marker': [last]} if last else values


def hand_over(environ: Environ, start: StreamStart) -> Response:
    """Return the head of the answer; have the server send the stream."""
    environ[HANDOVER].start = start
    headers = {
        'Cache-Control': 'no-store',
        # For nginx, which would collect what it passes on.
        'X-Accel-Buffering': 'no',
        'Vary': 'Accept',
    }
    return Response(200, b'', headers, EVENT_STREAM)


def with_signed_queries(app: App) -> App:
    """Take the credentials of a pre-signed URL out of the query of a stream.

    They count as the headers do, and whatever logs the query does not see
    them, nor if the client asks for the list at the same URL.
    """

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        query = environ.get('QUERY_STRING', '')
        if 'url_signature=' in query and _has_stream(environ):
            credentials = _take_credentials(environ, query)
            if _is_preferred(environ):
                environ.update(credentials)
        return app(environ, start)

    return call


def _take_credentials(environ: Environ, query: str) -> Mapping[str, str]:
    rest, credentials = [], {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        header = _CREDENTIALS.get(name)
        if header is None:
            rest.append((name, value))
        else:
            text = value.encode(errors='replace').decode('latin-1')
            credentials[header] = text
    environ['QUERY_STRING'] = urlencode(rest)
    return credentials


def _has_stream(environ: Environ) -> bool:
    path = environ.get('PATH_INFO', '')
    return environ['REQUEST_METHOD'] == 'GET' and any(
        path.startswith(a) and path.endswith(b) for a, b in _ROUTES
    )


def _is_preferred(environ: Environ) -> bool:
    accept = environ.get('HTTP_ACCEPT', '')
    if 'event-stream' not in accept.lower():
        return False
    header = acceptparse.create_accept_header(accept)
    # Of those that a client likes as much, JSON as ever.
    offers = header.acceptable_offers((JSON, EVENT_STREAM))
    return bool(offers) and offers[0][0] == EVENT_STREAM
