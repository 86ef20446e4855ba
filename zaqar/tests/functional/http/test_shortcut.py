# SPDX-License-Identifier: Apache-2.0
"""The shortcut past layers of middleware changes no answer."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from zaqar.tests.functional.http.client import CLIENT, Api
from zaqar.tests.functional.http.conftest import MakeApi
from zaqar.transport.wsgi import middleware_stack
from zaqar.transport.wsgi.waiting_requests_in_threads import WaitingInThreads
from zaqar.transport.wsgi_types import App

pytestmark = pytest.mark.sqlite

ORIGIN = 'https://dashboard.example.org'

METHODS = ('GET', 'HEAD', 'POST', 'PUT', 'OPTIONS', 'TRACE', 'FOO')

PATHS = (
    *('', '/', '/healthcheck', '/confirm', '/v2', '/v2/', '/v2/openapi.json'),
    *('/v2/ping', '/v2/queues', '/v2/queues/q', '/v2/queues/q/messages'),
    *('/v1.1/queues/q/messages', '/v2x', '/nothing'),
)

QUERIES = ('', 'limit=1', 'url_signature=a&limit=2')

HEADERS: tuple[Mapping[str, str], ...] = (
    {},
    {'HTTP_ORIGIN': ORIGIN},
    {'HTTP_ORIGIN': 'https://other.example.org'},
    {'HTTP_ACCEPT': 'application/json'},
    {'HTTP_ACCEPT': 'text/event-stream'},
    {'HTTP_ACCEPT': 'text/html'},
    {'HTTP_ACCEPT': 'a' * 4097},
    {'HTTP_OPENSTACK_API_VERSION': 'messaging 2.1'},
    {'HTTP_OPENSTACK_API_VERSION': 'messaging 9.9'},
    {'HTTP_OPENSTACK_API_VERSION': 'messaging x'},
    {'HTTP_OPENSTACK_API_VERSION': 'compute 2.1'},
    {'HTTP_OPENSTACK_API_VERSION': ''},
    {'HTTP_URL_SIGNATURE': ''},
    {'HTTP_URL_SIGNATURE': 'a', 'HTTP_URL_METHODS': 'GET'},
    {'HTTP_X_OPENSTACK_REQUEST_ID': f'req-{CLIENT}'},
    {'HTTP_CLIENT_ID': 'nobody'},
)

_ID = re.compile('req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')

Answer = tuple[Any, ...]


def _answer(app: App, environ: Mapping[str, Any]) -> Answer:
    """Return an answer, with the id of its request replaced."""
    started: list[Any] = []
    sent = {**environ, 'wsgi.input': io.BytesIO()}
    body: Iterable[bytes] = app(sent, lambda *args: started.append(args))
    text = b''.join(body)
    ((status, headers, *_),) = started
    shown = [(name, _ID.sub('an id', value)) for name, value in headers]
    return status, shown, text


@pytest.mark.parametrize('path', PATHS)
@pytest.mark.sqlite
def test_answers_are_those_of_all_layers(make_api: MakeApi, path: str) -> None:
    service = make_api(f'[cors]\nallowed_origin = {ORIGIN}').service
    app = service.application()
    layers, _ = middleware_stack.layers(
        service.conf,
        service.dispatcher,
        lambda inner: inner,
        WaitingInThreads(0),
    )
    for method, query, headers in itertools.product(METHODS, QUERIES, HEADERS):
        environ = {
            'REQUEST_METHOD': method,
            'SCRIPT_NAME': '',
            'PATH_INFO': path,
            'QUERY_STRING': query,
            'SERVER_NAME': 'localhost',
            'SERVER_PORT': '8888',
            'SERVER_PROTOCOL': 'HTTP/1.1',
            'wsgi.url_scheme': 'http',
            'HTTP_CLIENT_ID': CLIENT,
            'HTTP_X_PROJECT_ID': 'p',
            **headers,
        }
        # Once for what the first request changes.
        _answer(layers, environ)
        assert _answer(app, environ) == _answer(layers, environ), environ


def test_every_answer_of_the_shortcut_has_an_id(api: Api) -> None:
    answer = api('GET', '/v2/queues/q')
    assert _ID.fullmatch(answer.headers['x-openstack-request-id'])
