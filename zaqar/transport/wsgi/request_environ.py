# SPDX-License-Identifier: Apache-2.0
"""WSGI environments of requests."""

import sys
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from zaqar.transport.wsgi_types import Environ

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

#: Bytes that a request holds beside its body and headers, roughly.
_OVERHEAD = 4096

_BARE = frozenset(('CONTENT_LENGTH', 'CONTENT_TYPE'))

#: Bytes of the longest header name that is remembered, and how many are:
#: callers choose names, of up to 64 KiB.
_LONGEST_NAME = 64
_MOST_KNOWN = 512

#: WSGI names of headers; '' for those that are dropped.
_KNOWN: dict[bytes, str] = {}


def to_environ(scope: Mapping[str, Any]) -> Environ:
    """Return the WSGI environment of a request, from its ASGI scope."""
    connection = of_connection(
        scope['server'], scope['client'][0], scope['scheme']
    )
    return of_request(
        connection,
        scope['method'],
        scope['raw_path'],
        scope['query_string'],
        scope['http_version'],
        scope['headers'],
    )


def of_connection(
    server: tuple[str, int | str], client: str, scheme: str = 'http'
) -> Environ:
    """Return what the environments of all requests of a connection share.

    :param server: the address that the client is connected to
    """
    host, port = server
    return {
        **_BASE,
        'SERVER_NAME': host,
        'SERVER_PORT': str(port),
        'REMOTE_ADDR': client,
        'wsgi.url_scheme': scheme,
    }


def of_request(
    connection: Environ,
    method: str,
    path: bytes,
    query: bytes,
    version: str,
    headers: Iterable[tuple[bytes, bytes]],
) -> Environ:
    """Return the environment of a request.

    Header names with an underscore are dropped: they would collide with
    headers that a proxy in front has set or removed.

    :param connection: the part that all its requests share
    """
    if b'%' in path:
        path = urllib.parse.unquote_to_bytes(path)
    environ = connection.copy()
    environ['REQUEST_METHOD'] = method
    environ['PATH_INFO'] = path.decode('latin-1')
    environ['QUERY_STRING'] = query.decode('latin-1')
    environ['SERVER_PROTOCOL'] = f'HTTP/{version}'
    for name, value in headers:
        # Few names are sent again and again.
        key = _KNOWN[name] if name in _KNOWN else _learned(name)
        if key:
            text = value.decode('latin-1').rstrip(' \t')
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


def size_of(environ: Environ, body: bytes) -> int:
    """Return the bytes that a request holds, roughly."""
    texts = [value for value in environ.values() if isinstance(value, str)]
    return _OVERHEAD + len(body) + sum(map(len, texts))
