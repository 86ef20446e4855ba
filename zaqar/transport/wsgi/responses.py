# SPDX-License-Identifier: Apache-2.0
"""HTTP responses: a status, headers and a body."""

import http
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from zaqar.errors import ZaqarError
from zaqar.transport.wsgi_types import Environ, StartResponse

Headers = list[tuple[str, str]]

JSON = 'application/json'

encode = msgspec.json.Encoder().encode

_STATUS = {
    status.value: f'{status.value} {status.phrase}'
    for status in http.HTTPStatus
}

#: Key of a request's environment: the relative ``Location``, which clients
#: expect. WebOb, which some middleware uses, makes the header absolute.
LOCATION = 'zaqar.location'


class Response(msgspec.Struct):
    """A response, as views return it.

    :ivar body: None for a response without one, and without its headers
    """

    status: int
    body: bytes | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    content_type: str = JSON

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        headers: Headers = []
        if self.headers:
            headers += self.headers.items()
            if 'Location' in self.headers:
                environ[LOCATION] = self.headers['Location']
        body = self.body
        if body is None:
            if self.status != 204:
                headers += (('Content-Length', '0'),)
            start_response(_STATUS[self.status], headers)
            return []
        headers += (
            ('Content-Type', self.content_type),
            ('Content-Length', str(len(body))),
        )
        start_response(_STATUS[self.status], headers)
        return [body]


def json_response(
    document: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(status, encode(document), headers or {})


def error_response(error: ZaqarError) -> Response:
    """Return the response to an error, which is always JSON."""
    document = {'title': error.title}
    if error.description is not None:
        document['description'] = error.description
    headers = {'Vary': 'Accept', **error.headers}
    return Response(error.status, encode(document), headers)
