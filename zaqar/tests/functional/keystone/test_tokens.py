# SPDX-License-Identifier: Apache-2.0
"""Without a good token there is one answer, and few ways around it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import requests

from zaqar.tests.functional.keystone.callers import Caller
from zaqar.tests.servers.keystone import Keystone

UNAUTHORIZED = {
    'error': {
        'code': 401,
        'title': 'Unauthorized',
        'message': 'The request you have made requires authentication.',
    }
}

#: Requests that are wrong in another way, each with its answer to those who
#: may ask.
FAULTS = [
    ('GET', '/v2/nothing', {}, 404),
    ('GET', '/nothing', {}, 404),
    ('DELETE', '/v2/ping', {}, 405),
    ('GET', '/v2/ping', {'Client-ID': None}, 400),
    ('GET', '/v2/ping', {'Client-ID': 'short'}, 400),
    ('GET', '/v2/queues/not%20a%20name', {}, 400),
    ('GET', '/v2/queues?limit=0', {}, 400),
    ('BREW', '/v2/ping', {}, 400),
    ('POST', '/v2/queues/jobs/messages', {}, 400),
    ('GET', '/v2/ping', {'Accept': 'text/html'}, 406),
]

PUBLIC = [
    ('GET', '/', 300),
    ('GET', '/v2/openapi.json', 200),
    ('GET', '/healthcheck', 200),
    ('OPTIONS', '/', 200),
    ('OPTIONS', '/v2/queues', 200),
    ('OPTIONS', '/v2/queues/jobs/messages', 200),
]

SIGNATURES = ['', 'not-a-signature', '0' * 64]


def is_unauthorized(answer: requests.Response, keystone: Keystone) -> bool:
    """Tell whether an answer is the one for lack of a good token."""
    return (
        answer.status_code == 401
        and answer.json() == UNAUTHORIZED
        and answer.headers['WWW-Authenticate']
        == f'Keystone uri="{keystone.url}"'
    )


@pytest.mark.parametrize('token', [None, '', 'garbage', 'gAAAAA' + 'x' * 180])
def test_no_token_or_garbage_is_unauthorized(
    keystone: Keystone, nobody: Caller, token: str | None
) -> None:
    answer = nobody.showing(token).ask('GET', '/v2/queues')

    assert is_unauthorized(answer, keystone)
    assert answer.headers['x-openstack-request-id'].startswith('req-')


@pytest.mark.parametrize('token', [None, 'garbage'])
def test_a_refusal_names_the_version(
    nobody: Caller, token: str | None
) -> None:
    name = 'OpenStack-API-Version'
    for value, used in [
        ('messaging 2.1', 'messaging 2.1'),
        ('messaging', None),
    ]:
        answer = nobody.showing(token).ask('GET', '/v2/queues', {name: value})
        assert answer.status_code == 401
        assert answer.headers.get(name) == used
        assert name in answer.headers['Vary']


def test_a_token_counts_until_it_expires(
    keystone: Keystone, member: Caller
) -> None:
    user = keystone.user(member.project, 'member')
    good = keystone.minted_token(user, member.project, 3600)
    late = keystone.minted_token(user, member.project, -1)

    assert member.showing(good).ask('GET', '/v2/queues').ok
    answer = member.showing(late).ask('GET', '/v2/queues')
    assert is_unauthorized(answer, keystone)


def test_only_a_service_may_pass_on_a_token_that_expired(
    keystone: Keystone, member: Caller
) -> None:
    user = keystone.user(member.project, 'member')
    late = keystone.minted_token(user, member.project, -1)
    service = keystone.token(keystone.service, keystone.service_project)

    def ask(vouching: str | None) -> requests.Response:
        caller = member.showing(late)
        return caller.ask('GET', '/v2/queues', {'X-Service-Token': vouching})

    assert is_unauthorized(ask(member.token), keystone)
    assert ask(service).status_code == 200
    # Nor is it remembered as good from then on.
    assert is_unauthorized(ask(None), keystone)


def test_a_revoked_token_is_unauthorized(
    keystone: Keystone, member: Caller
) -> None:
    user = keystone.user(member.project, 'member')
    token = keystone.token(user, member.project)
    keystone.revoke(token)

    answer = member.showing(token).ask('GET', '/v2/queues')

    assert is_unauthorized(answer, keystone)


@pytest.mark.parametrize(('method', 'path', 'headers', 'status'), FAULTS)
def test_unauthorized_outranks_every_other_fault(
    keystone: Keystone,
    member: Caller,
    nobody: Caller,
    method: str,
    path: str,
    headers: Mapping[str, str | None],
    status: int,
) -> None:
    assert member.ask(method, path, headers).status_code == status
    assert is_unauthorized(nobody.ask(method, path, headers), keystone)


@pytest.mark.parametrize('token', [None, 'garbage'])
@pytest.mark.parametrize(('method', 'path', 'status'), PUBLIC)
def test_public_answers_need_no_token(
    nobody: Caller, method: str, path: str, status: int, token: str | None
) -> None:
    stripped = {'Client-ID': None}

    answer = nobody.showing(token).ask(method, path, stripped)

    assert answer.status_code == status


def test_a_browser_asks_without_a_token(nobody: Caller) -> None:
    preflight = {
        'Origin': 'https://example.org',
        'Access-Control-Request-Method': 'POST',
    }

    assert nobody.ask('OPTIONS', '/v2/queues', preflight).status_code == 200


@pytest.mark.parametrize('signature', SIGNATURES)
@pytest.mark.parametrize('path', ['/v2/queues', '/v2/nothing'])
def test_a_signature_that_does_not_hold_finds_nothing(
    nobody: Caller, member: Caller, path: str, signature: str
) -> None:
    signed = {'URL-Signature': signature, 'X-Project-ID': member.project}

    for caller in (nobody, nobody.showing('garbage'), member):
        answer = caller.ask('GET', path, signed)
        assert answer.status_code == 404
        assert answer.json() == {'title': '404 Not Found'}
        assert 'WWW-Authenticate' not in answer.headers


@pytest.mark.parametrize('signature', SIGNATURES)
@pytest.mark.parametrize(('method', 'path', 'status'), PUBLIC)
def test_public_answers_look_at_no_signature(
    nobody: Caller, method: str, path: str, status: int, signature: str
) -> None:
    answer = nobody.ask(method, path, {'URL-Signature': signature})

    assert answer.status_code == status


def test_a_signature_does_nothing_behind_its_404(
    member: Caller, queue: str
) -> None:
    assert member.make(queue, {'URL-Signature': ''}).status_code == 404

    assert not member.owns(queue)
