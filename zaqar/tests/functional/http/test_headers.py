# SPDX-License-Identifier: Apache-2.0
"""Headers of requests: reference/http, "Request headers"."""

from __future__ import annotations

import pathlib
import re
import uuid

import pytest

from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import MakeApi

pytestmark = pytest.mark.sqlite

HEX = '0123456789abcdef0123456789abcdef'

PATHS = ('/v2/', '/v2/ping', '/v2/queues', '/v2/queues/q/messages')


@pytest.mark.parametrize(
    'spelling',
    [
        HEX,
        HEX.upper(),
        str(uuid.UUID(HEX)),
        f'{{{uuid.UUID(HEX)}}}',
        f'urn:uuid:{uuid.UUID(HEX)}',
    ],
)
def test_a_client_id_is_any_spelling_of_a_uuid(
    api: Api, spelling: str
) -> None:
    assert (
        api('GET', '/v2/ping', headers={'Client-ID': spelling}).status == 204
    )


def test_two_spellings_of_a_uuid_are_one_client(api: Api) -> None:
    api.client = HEX
    api.post('q', 1)
    api.client = str(uuid.UUID(HEX)).upper()
    assert api.bodies('q', 'echo=false') == []
    assert api.bodies('q') == [1]


@pytest.mark.parametrize('path', PATHS)
def test_every_path_of_v2_needs_a_client_id(api: Api, path: str) -> None:
    answer = api('GET', path, headers={'Client-ID': None})
    assert answer.is_error(
        400, 'Missing header value', 'The "Client-Id" header is required.'
    )


@pytest.mark.parametrize('text', ['', 'x', f'{HEX}0', 'a' * 36])
def test_a_client_id_that_is_no_uuid_is_refused(api: Api, text: str) -> None:
    answer = api('GET', '/v2/ping', headers={'Client-ID': text})
    assert answer.is_error(
        400, 'Wrong UUID value', 'Malformed hexadecimal UUID.'
    )


@pytest.mark.parametrize(
    ('length', 'status'), [(9, 400), (10, 204), (36, 204), (37, 400)]
)
def test_a_plain_client_id_has_ten_to_thirty_six_characters(
    make_api: MakeApi, length: int, status: int
) -> None:
    api = make_api('[transport]\nclient_id_uuid_safe = off')
    answer = api('GET', '/v2/ping', headers={'Client-ID': 'x' * length})
    assert answer.status == status
    if status == 400:
        assert answer.title == 'Wrong UUID value'
        assert answer.description == (
            'Length of client id must be at least 10 and no greater than 36.'
        )


def test_a_plain_client_id_works_for_echo(make_api: MakeApi) -> None:
    api = make_api('[transport]\nclient_id_uuid_safe = off')
    api.client = 'a plain client'
    api.post('q', 1)
    assert api.bodies('q', 'echo=false') == []
    api.client = 'another client'
    assert api.bodies('q', 'echo=false') == [1]


def test_a_request_needs_a_project(api: Api) -> None:
    answer = api('GET', '/v2/queues', headers={'X-Project-ID': None})
    assert answer.is_error(
        400, 'Project-Id Missing', 'The header X-PROJECT-ID was missing'
    )


def test_an_empty_project_is_refused(api: Api) -> None:
    answer = api('GET', '/v2/queues', headers={'X-Project-ID': ''})
    assert answer.is_error(
        400,
        'Empty project header not allowed',
        'X-PROJECT-ID cannot be an empty string. ',
    )


@pytest.mark.parametrize('header', ['X-Tenant-Id', 'X-Tenant'])
def test_old_names_of_the_project_header_stand_in(
    api: Api, header: str
) -> None:
    api.post('q', 1)
    old = {'X-Project-ID': None, header: api.project}
    answer = api('GET', '/v2/queues/q/messages?echo=1', headers=old)
    assert len(answer.json['messages']) == 1


@pytest.mark.parametrize('path', ['/v2/queues', '/v2/queues/q', '/v2/ping'])
@pytest.mark.parametrize(('length', 'fits'), [(256, True), (257, False)])
def test_a_project_has_at_most_256_characters(
    api: Api, path: str, length: int, fits: bool
) -> None:
    answer = api('GET', path, headers={'X-Project-ID': 'x' * length})
    if fits:
        assert answer.status in (200, 204)
    else:
        assert answer.is_error(400, 'Invalid queue identification')


@pytest.mark.parametrize('project', [' a b ', 'é☃', '.*', '/', '%', "'"])
def test_a_project_may_be_any_text(api: Api, project: str) -> None:
    other = api.as_project(project)
    api.post('q', 'mine')
    other.post('q', 'theirs')
    assert other.bodies('q') == ['theirs']
    assert api.bodies('q') == ['mine']


@pytest.mark.parametrize(
    'name', ['', 'a' * 65, 'a@b', 'a b', 'é', 'q%0A', '.', '..', 'a%2f']
)
def test_a_malformed_queue_name_is_refused(api: Api, name: str) -> None:
    answer = api('PUT', f'/v2/queues/{name}')
    if name == 'a%2f':
        # Decoded before the path is matched: it separates.
        assert answer.is_error(404, '404 Not Found')
        return
    assert answer.is_error(
        400,
        'Invalid queue identification',
        'The format of the submitted queue name or project id is not valid.',
    )


@pytest.mark.parametrize(
    'name', ['a', 'a' * 64, 'orders.json', '-', '_', '...', 'A.b-c_9']
)
def test_names_with_dots_and_dashes_are_whole_names(
    api: Api, name: str
) -> None:
    assert api('PUT', f'/v2/queues/{name}').status == 201
    listed = api('GET', '/v2/queues').json['queues']
    assert [queue['name'] for queue in listed] == [name]


@pytest.mark.parametrize('method', ['POST', 'PUT', 'GET', 'DELETE'])
@pytest.mark.parametrize('length', ['0', '2'])
@pytest.mark.parametrize(
    'kind',
    [
        'application/x-www-form-urlencoded',
        'Application/X-WWW-Form-URLencoded',
    ],
)
def test_a_form_is_refused(
    api: Api, method: str, length: str, kind: str
) -> None:
    headers = {'Content-Type': kind, 'Content-Length': length}
    answer = api(method, '/v2/queues/q', headers=headers)
    assert answer.is_error(
        400,
        'Invalid Content-Type',
        'Endpoint does not accept `application/x-www-form-urlencoded` content',
    )


def test_a_form_type_without_a_body_or_with_parameters_passes(
    api: Api,
) -> None:
    form = 'application/x-www-form-urlencoded'
    assert (
        api('GET', '/v2/queues', headers={'Content-Type': form}).status == 200
    )
    with_charset = {'Content-Type': f'{form}; charset=utf-8'}
    answer = api('PUT', '/v2/queues/q', {}, headers=with_charset)
    assert answer.status == 201


@pytest.mark.parametrize(
    'accept',
    [
        'application/json',
        '*/*',
        'application/*',
        '',
        'text/html;q=0.9, application/json;q=0.1',
        'application/json; charset=utf-8',
        'application/json-home',
    ],
)
def test_whoever_accepts_json_is_served(api: Api, accept: str) -> None:
    assert api('GET', '/v2/', headers={'Accept': accept}).status == 200


@pytest.mark.parametrize(
    'accept',
    [
        'text/html',
        'application/xml',
        'application/json;q=0',
        'application/json;q=0, */*',
        'application/json;q=0, application/*;q=0.5',
    ],
)
def test_whoever_does_not_accept_json_gets_406_in_json(
    api: Api, accept: str
) -> None:
    answer = api('GET', '/v2/queues', headers={'Accept': accept})
    assert answer.is_error(406, '406 Not Acceptable')


def test_faults_are_reported_in_the_documented_order(api: Api) -> None:
    headers: dict[str, str | None] = {
        'Content-Type': 'application/x-www-form-urlencoded',
        'Content-Length': '0',
        'Accept': 'text/html',
        'Client-ID': None,
        'X-Project-ID': None,
    }
    seen = []
    for repaired in (
        'Content-Type',
        'Accept',
        'Client-ID',
        'X-Project-ID',
        None,
    ):
        # The method is no good either, but that is said last.
        seen.append(api('TRACE', '/v2/queues/a@b', headers=headers).title)
        if repaired:
            headers.pop(repaired)
    assert seen == [
        'Invalid Content-Type',
        '406 Not Acceptable',
        'Missing header value',
        'Project-Id Missing',
        'Invalid queue identification',
    ]


def test_an_unknown_path_outranks_faulty_headers(api: Api) -> None:
    answer = api('GET', '/v2/nothing', headers={'Client-ID': None})
    assert answer.is_error(404, '404 Not Found')


def test_faulty_headers_outrank_a_wrong_method(api: Api) -> None:
    answer = api('POST', '/v2/ping', headers={'Client-ID': None})
    assert answer.is_error(400, 'Missing header value')


@pytest.mark.proves('one authentication method')
@pytest.mark.parametrize('signature', ['', 'f' * 64])
@pytest.mark.parametrize('path', ['/v2/queues/q/messages', '/v2/nothing'])
def test_a_signature_that_cannot_be_verified_is_a_bare_404(
    api: Api, signature: str, path: str
) -> None:
    answer = api('GET', path, headers={'URL-Signature': signature})
    assert answer.is_error(404, '404 Not Found')
    assert answer.json == {'title': '404 Not Found'}


@pytest.mark.proves('version list')
def test_the_root_ignores_a_signature(api: Api) -> None:
    assert api('GET', '/', headers={'URL-Signature': ''}).status == 300


@pytest.mark.proves('EXTRA-SPEC')
def test_extra_spec_has_no_effect(api: Api) -> None:
    headers = {'EXTRA-SPEC': 'messagecode:x', 'Client-ID': None}
    answer = api('GET', '/v2/ping', headers=headers)
    assert answer.is_error(400, 'Missing header value')


def test_every_answer_has_a_request_id_of_its_own(api: Api) -> None:
    request_id = f'req-{uuid.uuid4()}'
    headers = {'X-OpenStack-Request-ID': request_id}
    seen = set()
    for path in ('/', '/v2/ping', '/v2/nothing', '/v2/queues', '/healthcheck'):
        response_headers = api('GET', path, headers=headers).headers
        seen.add(response_headers['x-openstack-request-id'])
    assert len(seen) == 5
    assert request_id not in seen
    assert all(re.fullmatch(r'req-[0-9a-f-]{36}', one) for one in seen)


def _with_policy(make_api: MakeApi, folder: pathlib.Path, rules: str) -> Api:
    file = folder / 'policy.yaml'
    file.write_text(rules)
    return make_api(f'[oslo_policy]\npolicy_file = {file}')


def test_a_policy_file_overrides_a_rule(
    make_api: MakeApi, tmp_path: pathlib.Path
) -> None:
    api = _with_policy(make_api, tmp_path, '"queues:create": "role:admin"')
    answer = api('PUT', '/v2/queues/q')
    assert answer.is_error(
        403,
        'Not authorized',
        'You are not authorized to complete this action.',
    )
    admin = api('PUT', '/v2/queues/q', headers={'X-Roles': 'member, ADMIN'})
    assert admin.status == 201


def test_a_rule_may_ask_for_the_project_and_the_names_in_the_path(
    make_api: MakeApi, tmp_path: pathlib.Path
) -> None:
    rule = "project_id:%(project_id)s and 'mine':%(queue_name)s"
    api = _with_policy(make_api, tmp_path, f'"queues:get": "{rule}"')
    assert api('GET', '/v2/queues/mine').status == 200
    assert api('GET', '/v2/queues/other').status == 403


def test_a_refusal_outranks_a_bad_body_and_query(
    make_api: MakeApi, tmp_path: pathlib.Path
) -> None:
    rules = '"messages:create": "!"\n"messages:get_all": "!"'
    api = _with_policy(make_api, tmp_path, rules)
    path = '/v2/queues/q/messages'
    assert api('POST', path, raw=b'{').status == 403
    assert api('GET', f'{path}?limit=x').status == 403
    assert api('GET', '/v2/queues/a@b/messages').status == 400


@pytest.mark.proves('linear parsing')
@pytest.mark.parametrize('path', ['/v2/queues', '/healthcheck', '/nothing'])
def test_a_very_long_accept_header_is_refused_unparsed(
    api: Api, path: str
) -> None:
    headers = {'Accept': 'text/plain, ' * 400 + '*/*'}
    assert api('GET', path, headers=headers).is_error(400, 'Bad request')
    headers = {'Accept': 'text/plain, ' * 100 + '*/*'}
    assert api('GET', '/v2/queues', headers=headers).status == 200
