# SPDX-License-Identifier: Apache-2.0
"""The message proxy of openstacksdk against the running service."""

from __future__ import annotations

import uuid
from typing import Any

import openstack
import pytest
from keystoneauth1 import access, noauth, session
from keystoneauth1.identity import base
from openstack import exceptions

from zaqar.tests.servers.zaqar import Zaqar

CLIENT = str(uuid.UUID(int=7))


class Trusted(noauth.NoAuth):
    """No token, but a project: what the service takes without Keystone."""

    def __init__(self, endpoint: str, project: str) -> None:
        super().__init__(endpoint=endpoint)
        self._project = project

    def get_project_id(self, session: Any, **_more: Any) -> str:
        return self._project


class Catalogue(base.BaseIdentityPlugin):
    """A token from nowhere, with a catalogue that has the service alone."""

    def __init__(self, endpoint: str, project: str) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._project = project

    def get_auth_ref(self, session: Any, **_more: Any) -> Any:
        endpoint = {'interface': 'public', 'url': self._endpoint}
        service = {'type': 'messaging', 'endpoints': [endpoint]}
        project = {'id': self._project, 'domain': {}}
        token = {
            'expires_at': '2099-01-01T00:00:00Z',
            'project': project,
            'catalog': [service],
        }
        return access.AccessInfoV3({'token': token}, auth_token='none')


def _trusting(url: str, project: str) -> Any:
    return openstack.connection.Connection(
        session=session.Session(auth=Trusted(url, project)),
        messaging_endpoint_override=url,
        messaging_api_version='2',
    )


def _versioned(url: str, project: str) -> Any:
    return openstack.connection.Connection(
        session=session.Session(auth=Catalogue(url, project)),
        messaging_default_microversion='2.1',
    )


@pytest.fixture(params=[_trusting, _versioned])
def proxy(request: Any, zaqar: Zaqar, project: str) -> Any:
    cloud = request.param(zaqar.url, project)
    # 4.22 looks for the id of a claim in its own idea of where a cloud is
    # instead of the header Location, and fails whatever a service answers.
    cloud._get_current_location = lambda **_more: None
    return cloud.message


@pytest.fixture
def who(project: str) -> dict[str, str]:
    return {'client_id': CLIENT, 'project_id': project}


def _post(proxy: Any, who: Any, *bodies: Any) -> Any:
    return proxy.post_message('q', [{'body': b, 'ttl': 600} for b in bodies])


def test_queues(proxy: Any, who: Any) -> None:
    created = proxy.create_queue(name='q', description='of jobs', **who)
    assert created.name == 'q'
    queue = proxy.get_queue('q')
    assert queue.description == 'of jobs'
    for name in ('r', 's'):
        proxy.create_queue(name=name, **who)
    assert [q.name for q in proxy.queues(limit=1)] == ['q', 'r', 's']
    proxy.delete_queue('r')
    assert [q.name for q in proxy.queues()] == ['q', 's']


def test_messages(proxy: Any, who: Any) -> None:
    posted = _post(proxy, who, *range(5))
    assert len(posted) == 5
    listed = list(proxy.messages('q', limit=2))
    assert [message.body for message in listed] == list(range(5))
    shown = proxy.get_message('q', listed[3])
    assert (shown.body, shown.ttl) == (3, 600)
    proxy.delete_message('q', listed[3])
    with pytest.raises(exceptions.NotFoundException):
        proxy.get_message('q', listed[3].id)
    proxy.delete_message('q', listed[3].id)


def test_claims(proxy: Any, who: Any) -> None:
    _post(proxy, who, *range(12))
    created = proxy.create_claim('q', ttl=300, grace=60, limit=2)
    # Its limit travels in the body, where the service ignores it.
    assert len(created.messages) == 10
    created.id = created.messages[0]['href'].split('=')[-1]
    claim = proxy.get_claim('q', created.id)
    assert (claim.ttl, len(claim.messages)) == (300, 10)
    proxy.update_claim('q', created, ttl=600)
    assert proxy.get_claim('q', created.id).ttl == 600
    message = created.messages[0]['id']
    proxy.delete_message('q', message, claim=created.id)
    proxy.delete_claim('q', created.id)
    with pytest.raises(exceptions.NotFoundException):
        proxy.get_claim('q', created.id)
    again = proxy.create_claim('q', ttl=300, grace=60)
    assert message not in [held['id'] for held in again.messages]


def test_the_version_that_is_configured_is_used(
    zaqar: Zaqar, project: str
) -> None:
    headers = {'Client-ID': CLIENT, 'X-Project-ID': project}
    old = _trusting(zaqar.url, project).message
    answer = old.get('/queues', headers=headers)
    assert answer.status_code == 200
    assert 'OpenStack-API-Version' not in answer.headers
    # Without a catalogue it fails to discover versions at /v2/.
    old.default_microversion = '2.1'
    for new in (old, _versioned(zaqar.url, project).message):
        answer = new.get('/queues', headers=headers)
        assert answer.status_code == 200
        assert answer.headers['OpenStack-API-Version'] == 'messaging 2.1'


def test_a_version_that_is_not_there_is_noticed_beforehand(
    zaqar: Zaqar, project: str
) -> None:
    cloud = openstack.connection.Connection(
        session=session.Session(auth=Catalogue(zaqar.url, project)),
        messaging_default_microversion='2.99',
    )
    with pytest.raises(exceptions.ConfigException, match=r'maximum of 2\.1'):
        cloud.message.get('/queues')


def test_a_claim_of_nothing(proxy: Any, who: Any) -> None:
    assert not proxy.create_claim('nowhere', ttl=300, grace=60).messages
