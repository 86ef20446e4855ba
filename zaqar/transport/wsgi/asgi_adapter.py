# SPDX-License-Identifier: Apache-2.0
"""From granian's ASGI interface to a WSGI application.

granian's own WSGI interface lets a thread wait for a body, and reads headers
as UTF-8 where WSGI has Latin-1.
"""

from __future__ import annotations

import functools
import io
import sys
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from zaqar.errors import ZaqarError
from zaqar.transport.wsgi.request_buffering import Bodies
from zaqar.transport.wsgi.responses import error_answer
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

#: Bytes of the longest name of a header that is remembered: callers choose
#: names, of up to 64 KiB.
_LONGEST_NAME = 64


class Gateway:
    """Answers requests, each in the thread in which it is complete.

    :param longest: bytes of the longest body that is read at all
    """

    def __init__(self, app: App, bodies: Bodies, longest: int) -> None:
        self._app = app
        self._bodies = bodies
        self._longest = longest

    def handle(self, watcher: Any) -> None:
        """Begin with a request.

        :param watcher: granian's: ``scope``, ``proto`` and ``done()``
        """
        environ = to_environ(watcher.scope)
        length = _length(environ)
        if length == 0 or (length or 0) > self._longest:
            # Nothing to wait for; what is too long is refused unread.
            self._answer(watcher, environ, b'')
            return
        self._bodies.read(
            watcher.proto.receive,
            length,
            functools.partial(self._answer, watcher, environ),
        )

    def _answer(
        self, watcher: Any, environ: Environ, body: bytes | ZaqarError
    ) -> None:
        app = self._app
        if isinstance(body, ZaqarError):
            app = error_answer(body)
        else:
            environ['wsgi.input'] = io.BytesIO(body)
        try:
            _send(watcher.proto, *_called(app, environ))
        except BaseException as error:
            watcher.err(error)
        else:
            watcher.done()


def to_environ(scope: Mapping[str, Any]) -> Environ:
    """Return a request as WSGI has it.

    Names of headers with an underscore are left out: they would pass for
    others, which a proxy in front has set or removed.
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
        key = (_known_key if len(name) <= _LONGEST_NAME else _key)(name)
        if not key:
            continue
        text = value.decode('latin-1')
        if key in environ:
            text = f'{environ[key]},{text}'
        environ[key] = text
    return environ


def _key(name: bytes) -> str:
    """Return where WSGI has a header; empty for one that is left out."""
    if b'_' in name:
        return ''
    key = name.decode('latin-1').upper().replace('-', '_')
    return key if key in _BARE else f'HTTP_{key}'


_known_key = functools.lru_cache(maxsize=512)(_key)


def _length(environ: Environ) -> int | None:
    """Return the bytes of a body, None if its parts tell the end."""
    if 'chunked' in environ.get('HTTP_TRANSFER_ENCODING', '').lower():
        return None
    text = environ.get('CONTENT_LENGTH', '')
    return int(text) if text.isascii() and text.isdigit() else 0


def _called(
    app: App, environ: Environ
) -> tuple[int, Iterable[tuple[str, str]], bytes]:
    status: int = 500
    headers: list[tuple[str, str]] = []

    def start_response(
        line: str, given: list[tuple[str, str]], exc_info: Any = None
    ) -> None:
        nonlocal status, headers
        status, headers = int(line[:3]), given

    parts = app(environ, start_response)
    body = b''.join(parts)
    if hasattr(parts, 'close'):
        parts.close()
    return status, headers, body


def _send(
    proto: Any, status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> None:
    # Neither waits: the answer is handed over as a whole.
    proto.send(
        {
            'type': 'http.response.start',
            'status': status,
            'headers': [
                (name.encode('latin-1'), value.encode('latin-1'))
                for name, value in headers
            ],
        }
    )
    proto.send(
        {'type': 'http.response.body', 'body': body, 'more_body': False}
    )
