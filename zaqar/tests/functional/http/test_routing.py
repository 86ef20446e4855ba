# SPDX-License-Identifier: Apache-2.0
"""Paths and methods: reference/http, "Paths and methods"."""

from __future__ import annotations

import re

import pytest

from zaqar.api import microversion_negotiation, operation_table
from zaqar.tests.functional.http.client import Api

pytestmark = pytest.mark.sqlite

METHODS = ('GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'HEAD')


def _filled(path: str) -> str:
    return re.sub(r'{\w+}', 'x', path)


@pytest.mark.parametrize(
    'path',
    [
        '/v2/ping/',
        '/V2/ping',
        '/v2/Ping',
        '/v2/queues/q/',
        '/v2/queues/q/nothing',
        '/v2/queues/q/messages/m/x',
        '/v2/queues/q/stats/',
        '/v1/queues',
        '/v2//queues',
        '/queues',
        '/v2/health',
        '/v2/pools',
        '/v2/flavors',
        '/%ff',
        '/v2/queues.json',
    ],
)
def test_a_path_that_is_not_there_is_a_bare_404(api: Api, path: str) -> None:
    answer = api('GET', path)
    assert answer.is_error(404, '404 Not Found')
    assert answer.json == {'title': '404 Not Found'}


def test_a_trailing_slash_names_an_empty_item(api: Api) -> None:
    api.post('q', 1)
    assert api('GET', '/v2/queues/').is_error(
        400, 'Invalid queue identification'
    )
    assert api('GET', '/v2/queues/q/messages/').is_error(404, 'Not found')
    assert api('DELETE', '/v2/queues/q/messages/').status == 204
    assert api.bodies('q') == [1]


def test_the_home_document_answers_without_its_slash(api: Api) -> None:
    assert api('GET', '/v2').body == api('GET', '/v2/').body


def test_percent_encoding_is_decoded_before_matching(api: Api) -> None:
    assert api('PUT', '/v2/queue%73/%61%2Eb').status == 201
    listed = api('GET', '/v2/queues').json['queues']
    assert listed[0]['name'] == 'a.b'


def test_a_dot_in_a_name_is_no_content_type(api: Api) -> None:
    assert api('PUT', '/v2/queues/orders.json', {'a': 1}).status == 201
    assert api('GET', '/v2/queues/orders').json.get('a') is None
    assert api('GET', '/v2/queues/orders.json').json['a'] == 1


@pytest.mark.parametrize('override', ['_method=delete', '_method=DELETE'])
def test_a_query_cannot_change_the_method(api: Api, override: str) -> None:
    api('PUT', '/v2/queues/q', {'a': 1})
    api.post('q', 1)
    assert api('POST', f'/v2/queues/q?{override}').status == 405
    assert api('GET', f'/v2/queues/q?{override}').json['a'] == 1
    assert api.bodies('q') == [1]


def test_a_method_that_is_not_there_is_405_and_tells_which_are(
    whole: Api,
) -> None:
    api = whole.at(microversion_negotiation.MAX)
    for path, methods in operation_table.routes().items():
        expected = ', '.join([*sorted(methods), 'OPTIONS'])
        for method in {*METHODS} - {*methods}:
            answer = api(method, _filled(path))
            assert answer.is_error(405, '405 Method Not Allowed'), path
            assert answer.json == {'title': '405 Method Not Allowed'}
            assert answer.headers['allow'] == expected, path


@pytest.mark.parametrize('method', ['PUT', 'POST', 'PATCH', 'DELETE'])
@pytest.mark.parametrize('path', ['/', '//', '/v2/openapi.json'])
def test_what_everybody_may_read_can_only_be_read(
    api: Api, path: str, method: str
) -> None:
    nobody = {'Client-ID': None, 'X-Project-ID': None}
    answer = api(method, path, headers=nobody)
    assert answer.is_error(405, '405 Method Not Allowed')
    assert answer.headers['allow'] == 'GET, HEAD, OPTIONS'


@pytest.mark.parametrize('method', ['TRACE', 'CONNECT'])
def test_rare_methods_are_not_allowed(api: Api, method: str) -> None:
    assert api(method, '/v2/ping').is_error(405, '405 Method Not Allowed')


@pytest.mark.parametrize('method', ['BREW', 'get', 'G\x00T', ''])
def test_a_method_that_is_none_is_refused(api: Api, method: str) -> None:
    answer = api(method, '/v2/ping')
    assert answer.is_error(400, 'Bad request', 'Invalid HTTP method')


@pytest.mark.parametrize(
    ('method', 'path'),
    [
        ('GET', '/v2/ping'),
        ('HEAD', '/v2/ping'),
        ('DELETE', '/v2/queues/q'),
        ('POST', '/v2/queues/q/purge'),
        ('POST', '/v2/queues/q/claims'),
        ('DELETE', '/v2/queues/q/claims/x'),
        ('DELETE', '/v2/queues/q/messages?ids=x'),
    ],
)
def test_204_has_neither_a_body_nor_a_type(
    api: Api, method: str, path: str
) -> None:
    answer = api(method, path)
    assert (answer.status, answer.body) == (204, b'')
    assert 'content-type' not in answer.headers


def test_hrefs_leave_out_what_the_service_is_mounted_under(
    api: Api,
) -> None:
    under = {
        'SCRIPT_NAME': '/messaging',
        'HTTP_HOST': 'cloud.example.org',
        'wsgi.url_scheme': 'https',
    }
    created = api('PUT', '/v2/queues/q', environ=under)
    assert created.headers['location'] == '/v2/queues/q'
    page = api('GET', '/v2/queues', environ=under).json
    assert page['queues'][0]['href'] == '/v2/queues/q'
    assert page['links'][0]['href'].startswith('/v2/queues?')


def test_an_empty_path_below_a_mount_is_the_root(api: Api) -> None:
    assert api('GET', '', environ={'SCRIPT_NAME': '/messaging'}).status == 300
