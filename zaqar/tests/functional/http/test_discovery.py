# SPDX-License-Identifier: Apache-2.0
"""Discovery: reference/http, "Discovery and health"."""

from __future__ import annotations

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import MakeApi

pytestmark = pytest.mark.sqlite

NOBODY = {'Client-ID': None, 'X-Project-ID': None}


@pytest.mark.proves('version list')
@pytest.mark.parametrize('path', ['/', '//'])
def test_the_root_lists_versions_to_anybody(api: Api, path: str) -> None:
    answer = api('GET', path, headers=NOBODY)
    assert answer.status == 300
    assert 'location' not in answer.headers
    assert answer.json == {
        'versions': [
            {
                'id': '2',
                'status': 'CURRENT',
                'version': '2.1',
                'min_version': '2.0',
                'updated': '2014-9-24T04:06:47Z',
                'media-types': [
                    {
                        'base': 'application/json',
                        'type': (
                            'application/vnd.openstack.messaging-v2+json'
                        ),
                    }
                ],
                'links': [{'href': '/v2/', 'rel': 'self'}],
            }
        ]
    }


def test_deprecated_versions_change_nothing(make_api: MakeApi) -> None:
    api = make_api('enable_deprecated_api_versions = 1.1')
    assert len(api('GET', '/').json['versions']) == 1


def test_the_home_document(api: Api) -> None:
    answer = api('GET', '/v2/')
    assert answer.status == 200
    assert answer.headers['content-type'] == 'application/json-home'
    assert answer.headers['cache-control'] == 'max-age=86400'
    for relation, resource in answer.json['resources'].items():
        assert relation.startswith('rel/')
        assert resource['href-template'].startswith('/v2')
        assert resource['hints']['formats'] == {'application/json': {}}


def test_the_home_document_needs_a_project(api: Api) -> None:
    answer = api('GET', '/v2/', headers={'X-Project-ID': None})
    assert answer.is_error(400, 'Project-Id Missing')


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_ping_is_204_while_the_stores_answer(api: Api, method: str) -> None:
    answer = api(method, '/v2/ping')
    assert (answer.status, answer.body) == (204, b'')


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_ping_is_503_without_a_body_when_a_store_does_not_answer(
    api: Api, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise StoreUnavailable

    monkeypatch.setattr(api.service.catalogue.management, 'ping', fail)
    answer = api(method, '/v2/ping')
    assert (answer.status, answer.body) == (503, b'')


def test_the_openapi_document_is_public(api: Api) -> None:
    answer = api('GET', '/v2/openapi.json', headers=NOBODY)
    assert answer.status == 200
    assert answer.json['openapi'].startswith('3.1')
    assert '/v2/queues/{queue_name}/claims' in answer.json['paths']


def test_the_health_check_is_public(api: Api) -> None:
    assert api('GET', '/healthcheck', headers=NOBODY).status == 200
