# SPDX-License-Identifier: Apache-2.0
"""What agents in old guest images send, which know version 1.1 alone."""

from __future__ import annotations

import pathlib

import pytest

from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import MakeApi

pytestmark = pytest.mark.sqlite

OLD = '/v1.1/queues/jobs/messages'
NEW = '/v2/queues/jobs/messages'


def test_messages_are_posted_and_popped(api: Api) -> None:
    posted = api('POST', OLD, {'messages': [{'body': 1}, {'body': 2}]})
    assert posted.status == 201
    assert len(posted.json['resources']) == 2
    assert all(path.startswith(NEW) for path in posted.json['resources'])
    popped = api('DELETE', f'{OLD}?pop=2')
    assert popped.status == 200
    assert [one['body'] for one in popped.json['messages']] == [1, 2]
    assert api('DELETE', f'{OLD}?pop=1').json == {'messages': []}


@pytest.mark.parametrize(
    ('method', 'path'),
    [
        ('GET', OLD),
        ('PUT', OLD),
        ('POST', '/v1.1/queues/jobs/claims'),
        ('POST', '/v1/queues/jobs/messages'),
        ('POST', '/v1.1/queues/a/b/messages'),
        ('DELETE', f'{OLD}/x'),
        ('GET', '/v1.1'),
        ('GET', '/v1.1/queues'),
    ],
)
def test_nothing_else_of_it_is_there(api: Api, method: str, path: str) -> None:
    assert api(method, path, {}).is_error(404, '404 Not Found')


def test_what_is_refused_is_refused_alike(api: Api) -> None:
    for path in (OLD, NEW):
        assert api('POST', path, {'messages': []}).is_error(
            400, 'Invalid API request'
        )
        assert api('DELETE', f'{path}?pop=0').status == 400
        answer = api('POST', path, {}, headers={'Client-ID': None})
        assert answer.is_error(400, 'Missing header value')


def test_it_can_be_switched_off(make_api: MakeApi) -> None:
    api = make_api('[drivers:transport:wsgi]\nenable_v1_1 = false')
    message = {'messages': [{'body': 1}]}
    assert api('POST', OLD, message).is_error(404, '404 Not Found')
    assert api('POST', NEW, message).status == 201


@pytest.mark.proves('old paths')
def test_a_policy_holds_for_both(
    make_api: MakeApi, tmp_path: pathlib.Path
) -> None:
    policy = tmp_path / 'policy.yaml'
    policy.write_text('"messages:create": "!"\n')
    api = make_api(f'[oslo_policy]\npolicy_file = {policy}')
    for path in (OLD, NEW):
        assert api('POST', path, {'messages': [{'body': 1}]}).status == 403


@pytest.mark.proves('old paths')
def test_a_signature_holds_for_both(make_api: MakeApi) -> None:
    api = make_api('[signed_url]\nsecret_key = a key of some length')
    shared = api('POST', '/v2/queues/jobs/share', {'methods': ['POST']}).json
    headers = {
        'URL-Signature': shared['signature'],
        'URL-Expires': shared['expires'],
        'URL-Methods': ','.join(shared['methods']),
        'URL-Paths': ','.join(shared['paths']),
        'X-Project-ID': shared['project'],
    }
    message = {'messages': [{'body': 1}]}
    other = OLD.replace('jobs', 'other')
    assert api('POST', OLD, message, headers=headers).status == 201
    assert api('DELETE', f'{OLD}?pop=1', headers=headers).status == 404
    assert api('POST', other, message, headers=headers).status == 404
