# SPDX-License-Identifier: Apache-2.0
"""CORS and failures: reference/http, "Middleware"."""

from __future__ import annotations

import logging
import pathlib
import re
from typing import Any

import pytest

from zaqar.api import microversion_negotiation, operation_table
from zaqar.api.operation import ADMIN, Operation
from zaqar.errors import StoreUnavailable
from zaqar.objects import Kind, Scope
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.tests.functional.http.client import PATCH, Api
from zaqar.tests.functional.http.conftest import MakeApi

pytestmark = pytest.mark.sqlite

ORIGIN = 'https://dashboard.example.org'
PREFLIGHT = {
    'Origin': ORIGIN,
    'Access-Control-Request-Method': 'PUT',
    'Access-Control-Request-Headers': 'X-Auth-Token, Client-ID, X-Project-Id, '
    'URL-Signature, URL-Expires, URL-Methods, URL-Paths, '
    'OpenStack-API-Version',
}
NOBODY = {'Client-ID': None, 'X-Project-ID': None}


@pytest.fixture
def cors(make_api: MakeApi) -> Api:
    return make_api(f'[cors]\nallowed_origin = {ORIGIN}')


def test_a_preflight_needs_no_identity(cors: Api) -> None:
    headers = {**PREFLIGHT, **NOBODY}
    answer = cors('OPTIONS', '/v2/queues/q', headers=headers)
    assert answer.status == 200
    assert answer.headers['access-control-allow-origin'] == ORIGIN
    assert 'URL-Paths' in answer.headers['access-control-allow-headers']
    unknown = {**headers, 'Access-Control-Request-Headers': 'X-Other'}
    answer = cors('OPTIONS', '/v2/queues/q', headers=unknown)
    assert 'access-control-allow-origin' not in answer.headers


@pytest.mark.parametrize('path', ['/', '/v2/queues', '/v2/nothing'])
def test_an_allowed_origin_is_told_on_any_answer(cors: Api, path: str) -> None:
    answer = cors('GET', path, headers={'Origin': ORIGIN})
    assert answer.headers['access-control-allow-origin'] == ORIGIN
    assert answer.headers['access-control-allow-credentials'] == 'true'
    assert 'origin' in answer.headers['vary'].lower()
    exposed = answer.headers['access-control-expose-headers']
    assert 'X-OpenStack-Request-ID' in exposed
    assert 'OpenStack-API-Version' in exposed
    assert 'RateLimit-Policy' in exposed


def test_another_origin_is_told_nothing(cors: Api) -> None:
    answer = cors('GET', '/v2/queues', headers={'Origin': 'https://x.org'})
    assert answer.status == 200
    assert 'access-control-allow-origin' not in answer.headers


def test_no_origin_is_allowed_by_default(api: Api) -> None:
    answer = api('GET', '/v2/queues', headers={'Origin': ORIGIN})
    assert 'access-control-allow-origin' not in answer.headers


def test_location_stays_a_path_for_browsers(cors: Api) -> None:
    answer = cors('PUT', '/v2/queues/q', headers={'Origin': ORIGIN})
    assert answer.headers['location'] == '/v2/queues/q'


@pytest.mark.parametrize('path', ['/v2/ping', '/v2/nothing', '/'])
def test_every_options_is_200(api: Api, path: str) -> None:
    assert api('OPTIONS', path, headers=NOBODY).status == 200


def test_options_tell_what_is_allowed_to_whoever_passes_the_checks(
    api: Api,
) -> None:
    answer = api('OPTIONS', '/v2/queues/q')
    assert answer.headers['allow'] == 'DELETE, GET, PATCH, PUT, OPTIONS'
    assert 'allow' not in api('OPTIONS', '/v2/queues/a@b').headers
    assert 'allow' not in api('OPTIONS', '/v2/ping', headers=NOBODY).headers


# Failures.


def _path(operation: Operation) -> str:
    path = re.sub(r'{(queue|topic)_name}', 'q', operation.path)
    path = re.sub(r'{\w+}', 'f' * 32, path)
    query = {'message_list': '?ids=f', 'message_delete_many': '?pop=1'}
    return path + query.get(operation.name.removeprefix('topic_'), '')


DOCUMENTS: dict[str, Any] = {
    'message_post': {'messages': [{'body': 1}]},
    'queue_update': [],
    'update': [],
    'claim_update': {},
    'claim_settle': {'delete': ['f' * 32]},
    'subscription_create': {'subscriber': 'http://a.b'},
    'subscription_update': {'ttl': 60},
    'subscription_confirm': {'confirmed': True},
    'subscription_replay': {'marker': 'x'},
}

#: What asks no store.
_ALONE = (
    *('get_home_doc', 'ping_node', 'ping_node_head', 'queue_share'),
    'health',  # tells, instead of failing
)

STORING = [
    row
    for row in operation_table.OPERATIONS
    if row.http
    and row.name not in _ALONE
    and not row.needs
    and row.rule.default != ADMIN
]


#: Which store each operation needs, both if it needs both.
NEEDS = [
    pytest.param(row, plane, id=f'{row.name}-{plane}')
    for row in STORING
    for plane in ('management', 'messages')
    if plane == 'management' or 'subscription' not in row.name
]


@pytest.mark.parametrize(('operation', 'plane'), NEEDS)
def test_a_store_that_does_not_answer_is_503_with_the_operations_words(
    api: Api, operation: Operation, plane: str
) -> None:
    api('PUT', '/v2/queues/q')
    api('PUT', '/v2/topics/q')
    store = getattr(api.service.catalogue, plane)
    _break(store)
    for kind in Kind:
        api.service.catalogue.forget(Scope(api.project, 'q', kind))
    document = DOCUMENTS.get(operation.name.removeprefix('topic_'))
    if operation.since > microversion_negotiation.MIN:
        api = api.at(operation.since)
    answer = api(
        operation.method,
        _path(operation),
        **({} if document is None else {'document': document}),
        headers={'Content-Type': PATCH},
    )
    is_unknown = answer.status == 404 and '/redrives/' in operation.path
    if answer.status in (200, 201, 202, 204) or is_unknown:
        # It had no need of this store.
        assert plane == 'messages'
        assert not operation.path.endswith(('messages', 'claims'))
        return
    assert answer.is_error(
        503,
        'Service temporarily unavailable',
        f'{operation.error_message}. Please try again in a few seconds.',
    )
    assert answer.headers['retry-after'] == '5'


def _break(store: Any) -> None:
    def fail(*_arguments: Any, **_more: Any) -> Any:
        raise StoreUnavailable

    for name in {*dir(MessageStore), *dir(ManagementStore)}:
        if name[0] != '_' and name != 'close':
            setattr(store, name, fail)


@pytest.mark.proves('unexpected errors')
def test_what_nobody_foresaw_is_a_500_that_tells_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_more: Any) -> Any:
        raise RuntimeError('a secret')

    monkeypatch.setattr(api.service.catalogue.management, 'list', fail)
    answer = api('GET', '/v2/queues')
    assert answer.is_error(500, 'Internal server error')
    assert b'secret' not in answer.body


def test_a_look_at_health_says_nothing_in_the_log(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    assert api('GET', '/healthcheck').status == 200
    assert not [each for each in caplog.records if each.levelname != 'DEBUG']


def test_health_looks_for_the_file_that_is_named(
    make_api: MakeApi, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / 'disabled'
    api = make_api(f'[healthcheck]\ndisable_by_file_path = {file}')
    assert api('GET', '/healthcheck').status == 200
    file.touch()
    assert api('GET', '/healthcheck').status == 503


@pytest.mark.proves('log lines')
@pytest.mark.parametrize(
    'project', ['a\nFORGED', 'a\x1b[31m', 'a\xc2\x85b', 'a\xe2\x80\xa8b', '\t']
)
def test_no_project_ends_a_line_of_the_log(
    make_api: MakeApi, tmp_path: pathlib.Path, project: str
) -> None:
    file = tmp_path / 'log'
    api = make_api(f'log_file = {file}')
    logging.getLogger('zaqar').warning('Begun')
    before = len(file.read_text().splitlines())
    environ = {'HTTP_X_PROJECT_ID': project}
    answer = api('GET', '/v2/queues', environ=environ)
    assert answer.is_error(400, 'Invalid project')
    logging.getLogger('zaqar').warning('Something about\r\n%s', project)
    *_, last = file.read_text().splitlines()
    assert 'Something about' in last
    assert len(file.read_text().splitlines()) == before + 1
    assert '\x1b' not in last
