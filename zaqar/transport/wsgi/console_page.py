# SPDX-License-Identifier: Apache-2.0
"""The console: a page from which owners of queues look after them.

Its files are part of this package and need no token, since they hold nothing
of anybody; what the page shows and does are requests to the public API, with
the credentials of whoever sits before it.

:source: user/console
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from urllib.parse import urlsplit

import msgspec
from oslo_config import cfg

from zaqar.api.dispatch import Dispatcher
from zaqar.transport import caller_identity
from zaqar.transport.wsgi.responses import Response
from zaqar.transport.wsgi_types import App, Environ, StartResponse

GROUP = 'console'

OPTS = [
    cfg.BoolOpt(
        'enabled',
        default=True,
        help='Serve the console, a page for the owners of queues, at '
        '/console.',
    ),
    cfg.URIOpt(
        'identity_url',
        schemes=['http', 'https'],
        help='Public address of Keystone, with /v3, to which the console '
        'sends credentials. Keystone has to allow the origin of the console '
        '(its [cors] allowed_origin). Without it, users of the console enter '
        'a token.',
    ),
    cfg.URIOpt(
        'websocket_url',
        schemes=['ws', 'wss'],
        help='Public address of the WebSocket server, from which the live '
        'tail of the console has a stream. That server has to allow the '
        'origin of the console ([cors] allowed_origin), unless both have the '
        'same host. Without it, the live tail uses lists that wait.',
    ),
]

PATH = '/console'

_TYPES = {
    'css': 'text/css; charset=utf-8',
    'html': 'text/html; charset=utf-8',
    'js': 'text/javascript; charset=utf-8',
}

#: Limits that the page shows in its form, and keeps to in its lists.
_LIMITS = (
    'max_claim_ttl',
    'max_message_delay',
    'max_message_ttl',
    'max_messages_per_page',
    'max_messages_post_size',
    'max_queues_per_page',
    'max_subscriptions_per_page',
    'max_wait',
)

#: What the page reads first.
_SETTINGS = f'{PATH}/settings.json'


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    type: str
    tag: str


def with_console(
    app: App, conf: cfg.ConfigOpts, dispatcher: Dispatcher
) -> App:
    """Serve the console, if it is enabled, without authentication."""
    conf.register_opts(OPTS, GROUP)
    settings = conf[GROUP]
    if not settings.enabled:
        return app
    files = _files(conf, dispatcher)
    headers = _headers(settings.identity_url, settings.websocket_url)

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        path = environ.get('PATH_INFO', '')
        if path[: len(PATH)] != PATH:
            return app(environ, start)
        file = files.get(path)
        if file is None:
            return app(environ, start)
        if environ['REQUEST_METHOD'] not in ('GET', 'HEAD'):
            more = {**headers, 'Allow': 'GET, HEAD'}
            return Response(405, None, more)(environ, start)
        tagged = {**headers, 'ETag': file.tag}
        known = environ.get('HTTP_IF_NONE_MATCH', '')
        if file.tag in (one.strip() for one in known.split(',')):
            start('304 Not Modified', [*tagged.items()])
            return []
        return Response(200, file.content, tagged, file.type)(environ, start)

    return call


def _files(
    conf: cfg.ConfigOpts, dispatcher: Dispatcher
) -> Mapping[str, _File]:
    """Return the files by path, read once."""
    folder = resources.files(__package__) / 'console'
    has_keystone = caller_identity.strategy(conf) == caller_identity.KEYSTONE
    limits, pipeline = dispatcher.limits, dispatcher.pipeline
    document = {
        'keystone': has_keystone,
        'identity_url': conf[GROUP].identity_url,
        'websocket_url': conf[GROUP].websocket_url,
        'confirms': pipeline.confirms,
        'confirms_mail': pipeline.confirms_mail,
        'limits': {name: getattr(limits, name) for name in _LIMITS},
    }
    text = msgspec.json.encode(document)
    files = {_SETTINGS: _file(text, 'application/json')}
    for entry in folder.iterdir():
        kind = entry.name.rpartition('.')[2]
        if kind not in _TYPES:
            continue
        file = _file(entry.read_bytes(), _TYPES[kind])
        files[PATH if kind == 'html' else f'{PATH}/{entry.name}'] = file
    return files


def _file(content: bytes, kind: str) -> _File:
    tag = hashlib.sha256(content).hexdigest()[:32]
    return _File(content, kind, f'"{tag}"')


def _headers(*others: str | None) -> Mapping[str, str]:
    """Return the headers of all files.

    :param others: addresses beside our own that the page may connect to
    """
    connect = "'self'"
    for url in others:
        if url:
            parts = urlsplit(url)
            connect += f' {parts.scheme}://{parts.netloc}'
    return {
        # Kept, but compared at each use: an upgrade shows at once.
        'Cache-Control': 'no-cache',
        'Content-Security-Policy': "default-src 'none'; script-src 'self'; "
        f"style-src 'self'; connect-src {connect}; form-action 'none'; "
        "frame-ancestors 'none'; base-uri 'none'",
        'Referrer-Policy': 'no-referrer',
        'X-Content-Type-Options': 'nosniff',
        'X-Frame-Options': 'DENY',
    }
