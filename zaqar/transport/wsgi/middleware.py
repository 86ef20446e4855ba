# SPDX-License-Identifier: Apache-2.0
"""WSGI middleware: each a function that wraps an application."""

import functools
from collections.abc import Iterable
from typing import Any

from oslo_config import cfg
from oslo_middleware import cors, healthcheck

from zaqar.api import microversion_negotiation
from zaqar.controllers import idempotency_key
from zaqar.errors import InvalidRequest
from zaqar.transport import log_context
from zaqar.transport.wsgi.responses import (
    LOCATION,
    error_response,
)
from zaqar.transport.wsgi_types import App, Environ, StartResponse

REQUEST_ID = 'x-openstack-request-id'

#: Keys of a request's environment: its id, and one that the caller has chosen.
REQUEST_ID_KEY = 'openstack.request_id'
GLOBAL_ID_KEY = 'HTTP_X_OPENSTACK_REQUEST_ID'

#: Characters of an ``Accept`` header, at most; browsers send a hundred.
MAX_ACCEPT = 4096

#: Headers and methods of browsers. Those of the project and of pre-signed
#: requests are added to the usual ones of OpenStack.
CORS_DEFAULTS: dict[str, list[str]] = {
    'allow_headers': [
        *('X-Auth-Token', 'X-Identity-Status', 'X-Roles', 'X-Service-Catalog'),
        *('X-User-Id', 'X-Tenant-Id', 'X-OpenStack-Request-ID'),
        *('X-Trace-Info', 'X-Trace-HMAC', 'Client-id', 'X-Project-Id'),
        *('URL-Signature', 'URL-Expires', 'URL-Methods', 'URL-Paths'),
        *(
            microversion_negotiation.HEADER,
            'Last-Event-ID',
            idempotency_key.HEADER,
        ),
    ],
    'expose_headers': [
        *('X-Auth-Token', 'X-Subject-Token', 'X-Service-Token'),
        *('X-OpenStack-Request-ID', microversion_negotiation.HEADER),
        *(idempotency_key.REPLAYED, 'Retry-After'),
        *('RateLimit', 'RateLimit-Policy'),
    ],
    'allow_methods': ['GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'HEAD'],
}


def with_cors(app: App, conf: cfg.ConfigOpts) -> App:
    """Handle CORS requests; others skip the CORS middleware."""
    cors.set_defaults(**CORS_DEFAULTS)
    filtered = cors.CORS(app, conf)

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        is_cors = (
            environ['REQUEST_METHOD'] == 'OPTIONS' or 'HTTP_ORIGIN' in environ
        )
        body: Iterable[bytes] = (filtered if is_cors else app)(environ, start)
        return body

    return call


def with_bare_location(app: App) -> App:
    """Restore a relative ``Location``, which WebOb makes absolute."""

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        return app(environ, functools.partial(_restored, environ, start))

    return call


def _restored(
    environ: Environ,
    start: StartResponse,
    status: str,
    headers: list[tuple[str, str]],
    *more: Any,
) -> Any:
    bare = environ.get(LOCATION)
    if bare is not None and ('Location', bare) not in headers:
        headers = [
            (name, bare if name.lower() == 'location' else value)
            for name, value in headers
        ]
    return start(status, headers, *more)


def with_short_accept(app: App) -> App:
    """Refuse an ``Accept`` header that would take seconds to parse.

    Every middleware that answers by itself parses it, some of them before
    authentication.
    """
    refused = error_response(
        InvalidRequest(
            f'The Accept header is longer than {MAX_ACCEPT} characters.',
            title='Bad request',
        )
    )

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if len(environ.get('HTTP_ACCEPT', '')) > MAX_ACCEPT:
            return refused(environ, start)
        return app(environ, start)

    return call


def with_request_id(app: App) -> App:
    """Give each request an id, in its response and in logs."""

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        global_id = environ.get(GLOBAL_ID_KEY, '')
        request_id = log_context.begin(global_id)
        environ[REQUEST_ID_KEY] = request_id
        return app(environ, functools.partial(named, request_id, start))

    return call


def named(
    request_id: str,
    start: StartResponse,
    status: str,
    headers: list[tuple[str, str]],
    *more: Any,
) -> Any:
    """Start a response that has the id of its request."""
    return start(status, [*headers, (REQUEST_ID, request_id)], *more)


def with_health(app: App, conf: cfg.ConfigOpts) -> App:
    """Answer ``/healthcheck`` for load balancers, without any store."""
    options = healthcheck.opts
    group = 'healthcheck'
    conf.register_opts(options.HEALTHCHECK_OPTS, group)
    conf.register_opts(options.DISABLE_BY_FILE_OPTS, group)
    if conf[group].disable_by_file_path:
        # Without a file to look for, it warns at each request.
        conf.set_default('backends', ['disable_by_file'], group)
    check = healthcheck.Healthcheck(app, conf)

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        is_check = environ.get('PATH_INFO') == '/healthcheck'
        body: Iterable[bytes] = (check if is_check else app)(environ, start)
        return body

    return call


def with_project_logged(app: App) -> App:
    """Name the project in logs, after authentication."""

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        log_context.name_project(environ.get('HTTP_X_PROJECT_ID') or '')
        return app(environ, start)

    return call
