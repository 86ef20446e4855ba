# SPDX-License-Identifier: Apache-2.0
"""Versions of requests: reference/http, "Microversions"."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from zaqar import random_bytes
from zaqar.api import operation_table
from zaqar.api.microversion_negotiation import HEADER
from zaqar.api.operation import Operation
from zaqar.microversion_constants import V2_1
from zaqar.tests.functional.http.client import (
    Api,
    Response,
    without_version,
)
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL, MakeApi
from zaqar.tests.functional.http.test_middleware import ORIGIN
from zaqar.tests.functional.http.test_table import EXCHANGES

pytestmark = pytest.mark.sqlite

QUEUE = '/v2/queues/q'
LATEST = {HEADER: 'messaging latest'}
VARY = 'vary'
NAMED = HEADER.lower()

#: Requests with their answers, from all layers.
REQUESTS: Sequence[tuple[str, str, dict[str, str | None], int]] = [
    ('GET', '/', {}, 300),
    ('POST', '/', {}, 405),
    ('GET', '/v2/openapi.json', {}, 200),
    ('GET', '/healthcheck', {}, 200),
    ('GET', '/confirm', {}, 404),
    ('GET', '/v2/', {}, 200),
    ('GET', '/v2/ping', {}, 204),
    ('OPTIONS', QUEUE, {}, 200),
    ('PUT', QUEUE, {}, 201),
    ('GET', '/v2/nothing', {}, 404),
    ('GET', '/v2/ping', {'URL-Signature': 'none'}, 404),
    ('DELETE', '/v2/ping', {}, 405),
    ('BREW', '/v2/ping', {}, 400),
    ('GET', '/v2/ping', {'Accept': 'text/html'}, 406),
    ('GET', '/v2/ping', {'Accept': '*/*,' * 2000}, 400),
    ('GET', '/v2/ping', {'Client-ID': None}, 400),
    ('GET', '/v2/pools', {}, 404),
    ('POST', f'{QUEUE}/messages', {}, 400),
]

#: Requests of 2.0.
OLD = (None, 'messaging 2.0', 'compute latest')

REFUSED = [('messaging 2.99', 406), ('messaging 1.0', 406), ('messaging', 400)]


@pytest.mark.parametrize(
    ('value', 'used'),
    [
        ('messaging 2.0', 'messaging 2.0'),
        ('compute 2.90,messaging latest', 'messaging 2.1'),
    ],
)
def test_every_answer_names_the_version_used(
    api: Api, value: str, used: str
) -> None:
    for method, path, headers, status in REQUESTS:
        answer = api(method, path, headers={**headers, HEADER: value})
        assert answer.status == status
        assert answer.headers[NAMED] == used
        assert answer.headers[VARY].split(', ')[-1] == HEADER


def test_whoever_names_none_of_ours_is_told_of_none(api: Api) -> None:
    for value in ('', 'compute 2.99'):
        for method, path, headers, _ in REQUESTS:
            answer = api(method, path, headers={**headers, HEADER: value})
            assert NAMED not in answer.headers
            assert HEADER not in answer.headers.get(VARY, '')


@pytest.mark.parametrize(('header', 'status'), REFUSED)
def test_a_refused_version_is_not_used(
    api: Api, header: str, status: int
) -> None:
    sent = {HEADER: header}
    for path in ('/v2/', QUEUE, '/v2/nothing'):
        answer = api('PUT', path, headers=sent)
        assert answer.status == status
        assert set(answer.json) == {'title', 'description'}
        assert answer.headers[VARY] == f'Accept, {HEADER}'
        assert NAMED not in answer.headers
        if status == 406:
            assert '2.0' in answer.description
            assert '2.1' in answer.description
    assert api('GET', '/v2/queues').json['queues'] == []
    # Versions are listed whatever is requested.
    listed = api('GET', '/', headers=sent)
    assert listed.status == 300
    assert listed.json == api('GET', '/').json
    assert listed.headers[VARY] == HEADER
    assert NAMED not in listed.headers


def test_an_answer_to_a_browser_varies_by_both(make_api: MakeApi) -> None:
    api = make_api(f'[cors]\nallowed_origin = {ORIGIN}')
    headers = {'Origin': ORIGIN, **LATEST}
    answer = api('GET', '/v2/nothing', headers=headers)
    assert answer.headers[VARY] == f'Accept,Origin, {HEADER}'
    assert answer.headers[NAMED] == 'messaging 2.1'
    bad = api('GET', QUEUE, headers={**headers, HEADER: 'messaging 2.99'})
    assert bad.headers['access-control-allow-origin'] == ORIGIN


def test_a_pre_signed_request_has_a_version(make_api: MakeApi) -> None:
    api = make_api('[signed_url]\nsecret_key = a key of some length\n')
    shared = api('POST', f'{QUEUE}/share', {}).json
    headers = {
        'URL-Signature': shared['signature'],
        'URL-Expires': shared['expires'],
        'URL-Methods': 'GET',
        'URL-Paths': f'{QUEUE}/messages',
    }
    for value, status in [('messaging 2.1', 200), ('messaging 2.99', 406)]:
        answer = api(
            'GET', f'{QUEUE}/messages', headers={**headers, HEADER: value}
        )
        assert answer.status == status


@pytest.fixture
def grown(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> Api:
    """An application with operations that 2.0 does not have."""
    new = ('queue_purge', 'message_delete_many')

    def declared(row: Operation) -> Operation:
        since = V2_1 if row.name in new else row.since
        return dataclasses.replace(row, since=since)

    rows = tuple(map(declared, operation_table.OPERATIONS))
    monkeypatch.setattr(operation_table, 'OPERATIONS', rows)
    return make_api()


def test_below_its_version_a_path_does_not_exist(
    grown: Api,
) -> None:
    for old in OLD:
        absent = grown('POST', f'{QUEUE}/purge', headers={HEADER: old})
        assert absent.json == {'title': '404 Not Found'}
        assert absent.status == 404
    assert grown('POST', f'{QUEUE}/purge', headers=LATEST).status == 204


def test_below_its_version_a_method_is_not_allowed(
    grown: Api,
) -> None:
    path = f'{QUEUE}/messages'
    for old in OLD:
        refused = grown('DELETE', f'{path}?pop=1', headers={HEADER: old})
        assert refused.status == 405
        assert refused.headers['allow'] == 'GET, POST, OPTIONS'
    options = grown('OPTIONS', path, headers=LATEST)
    assert options.headers['allow'] == 'DELETE, GET, POST, OPTIONS'
    assert grown('DELETE', f'{path}?pop=1', headers=LATEST).status == 200


#: Parts of answers that depend on the time and speed of the machine.
_MOMENTS = re.compile(rb'"(?:expires|signature)":"[^"]*"|"seconds":[0-9.e-]+')


def _answers(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> list[Response]:
    """Make all exchanges on a new application; return all their answers.

    Each call of this function makes the same ids.
    """
    signing = '[signed_url]\nsecret_key = a key of some length\n'
    answers: list[Response] = []
    exchange_once = Api.exchange
    stream, system = random.Random(), os.urandom

    def seeded(count: int) -> bytes:
        # Other threads come when they come.
        is_mine = threading.current_thread() is threading.main_thread()
        return stream.randbytes(count) if is_mine else system(count)

    def recorded(api: Api, environ: dict[str, Any]) -> Response:
        if version is not None:
            environ['HTTP_OPENSTACK_API_VERSION'] = version
        stream.seed(len(answers))
        random_bytes.forget()
        answers.append(exchange_once(api, environ))
        return answers[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Api, 'exchange', recorded)
        patch.setattr(os, 'urandom', seeded)
        patch.setattr(random, '_urandom', seeded)
        api = make_api(POOLED + VIRTUAL + signing).as_admin()
        for exchange in EXCHANGES.values():
            exchange(api)
        for method, path, headers, _ in REQUESTS:
            api(method, path, headers=headers)
    random_bytes.forget()
    folder = str(api.service.conf.state_path).encode()
    for number, answer in enumerate(answers):
        body = _MOMENTS.sub(b'', answer.body.replace(folder, b''))
        # The client has compared it with the body.
        headers = {**answer.headers, 'content-length': ''}
        answers[number] = Response(answer.status, headers, body)
    return answers


@pytest.mark.sqlite
def test_2_0_is_what_whoever_names_no_version_gets(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = _answers(make_api, monkeypatch, None)
    named = _answers(make_api, monkeypatch, 'messaging 2.0')
    assert len(absent) > len(EXCHANGES) + len(REQUESTS)
    for one, other in zip(absent, named, strict=True):
        assert without_version(other, 'messaging 2.0') == one
