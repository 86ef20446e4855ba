# SPDX-License-Identifier: Apache-2.0
"""WSGI environments from ASGI scopes, and calls of applications with them."""

import sys
import urllib.parse
from collections.abc import Mapping
from typing import Any

from zaqar.transport.wsgi.responses import Headers
from zaqar.transport.wsgi_types import App, Environ

_BASE: Environ = {
    'SCRIPT_NAME': '',
    'SERVER_SOFTWARE': 'zaqar-server',
    'wsgi.errors': sys.stderr,
    'wsgi.input_terminated': True,
    'wsgi.multiprocess': True,
    'wsgi.multithread': True,
    'wsgi.run_once': False,
    'wsgi.version': (1, 0),
}

_BARE = frozenset(('CONTENT_LENGTH', 'CONTENT_TYPE'))

#: Bytes of the longest header name that is remembered, and how many are:
#: callers choose names, of up to 64 KiB.
_LONGEST_NAME = 64
_MOST_KNOWN = 512

#: WSGI names of headers; '' for those that are dropped.
_KNOWN: dict[bytes, str] = {}

#: Bytes that a request holds beside its body and headers, roughly.
_OVERHEAD = 4096


def to_environ(scope: Mapping[str, Any]) -> Environ:
    """Return the WSGI environment of a request.

    Header names with an underscore are dropped: they would collide with
    headers that a proxy in front has set or removed.
    """
    path: bytes = scope['raw_path']
    if b'%' in path:
        path = urllib.parse.unquote_to_bytes(path)
    host, port = scope['server']
    environ: Environ = {
        **_BASE,
        'REQUEST_METHOD': scope['method'],
        'PATH_INFO': path.decode('latin-1'),
        'QUERY_STRING': scope['query_string'].decode('latin-1'),
        'SERVER_NAME': host,
        'SERVER_PORT': port,
        'SERVER_PROTOCOL': f'HTTP/{scope["http_version"]}',
        'REMOTE_ADDR': scope['client'][0],
        'wsgi.url_scheme': scope['scheme'],
    }
    for name, value in scope['headers']:
        # Few names are sent again and again.
        key = _KNOWN[name] if name in _KNOWN else _learned(name)
        if key:
            text = value.decode('latin-1')
            environ[key] = f'{environ[key]},{text}' if key in environ else text
    return environ


def _key(name: bytes) -> str:
    """Return the WSGI name of a header, '' for one that is dropped."""
    if b'_' in name:
        return ''
    key = name.decode('latin-1').upper().replace('-', '_')
    return key if key in _BARE else f'HTTP_{key}'


def _learned(name: bytes) -> str:
    key = _key(name)
    if len(name) <= _LONGEST_NAME and len(_KNOWN) < _MOST_KNOWN:
        _KNOWN[name] = key
    return key


def body_length(environ: Environ) -> int | None:
    """Return the bytes of a body, None if it is chunked."""
    if not (
        'CONTENT_LENGTH' in environ or 'HTTP_TRANSFER_ENCODING' in environ
    ):
        return 0
    if 'chunked' in environ.get('HTTP_TRANSFER_ENCODING', '').lower():
        return None
    text = environ.get('CONTENT_LENGTH', '')
    return int(text) if text.isascii() and text.isdigit() else 0


def size_of(environ: Environ, body: bytes) -> int:
    """Return the bytes that a request holds, roughly."""
    texts = [value for value in environ.values() if isinstance(value, str)]
    return _OVERHEAD + len(body) + sum(map(len, texts))


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
