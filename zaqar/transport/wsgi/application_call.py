# SPDX-License-Identifier: Apache-2.0
"""A call of a WSGI application, with its whole response."""

from typing import Any

from zaqar.transport.wsgi.responses import Headers
from zaqar.transport.wsgi_types import App, Environ


def call(app: App, environ: Environ) -> tuple[int, Headers, bytes]:
    status = 500
    headers: Headers = []

    def start_response(
        line: str, pairs: Headers, exc_info: Any = None
    ) -> None:
        nonlocal status, headers
        status, headers = int(line[:3]), pairs

    parts = app(environ, start_response)
    if type(parts) is list and len(parts) == 1:
        return status, headers, parts[0]
    body = b''.join(parts)
    if hasattr(parts, 'close'):
        parts.close()
    return status, headers, body
