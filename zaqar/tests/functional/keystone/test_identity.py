# SPDX-License-Identifier: Apache-2.0
"""Who is asking is what the token says, whatever else is sent."""

from __future__ import annotations

import pytest

from zaqar.tests.functional.keystone.callers import Caller
from zaqar.tests.servers.keystone import Keystone

#: Ways to name a project that Keystone or the service may have known once.
PROJECT_HEADERS = (
    'X-Project-ID',
    'X_Project_Id',
    'X-Project',
    'X-Tenant-Id',
    'X-Tenant',
)


def test_a_member_uses_queues_and_messages(member: Caller, queue: str) -> None:
    answer = member.make(queue)
    posted = member.post(queue)
    claimed = member.ask('POST', f'/v2/queues/{queue}/claims', json={})
    (message,) = claimed.json()['messages']
    deleted = member.ask('DELETE', message['href'])

    assert answer.status_code == 201
    assert posted.status_code == 201
    assert message['body'] == {'event': 'made'}
    assert deleted.status_code == 204
    stats = member.ask('GET', f'/v2/queues/{queue}/stats').json()
    assert stats['messages']['total'] == 0


def test_members_of_one_project_share_its_queues(
    member: Caller, admin: Caller, queue: str
) -> None:
    member.post(queue)

    assert admin.owns(queue)


@pytest.mark.proves('verified identity')
@pytest.mark.parametrize('header', PROJECT_HEADERS)
def test_the_project_is_that_of_the_token(
    member: Caller, stranger: Caller, queue: str, header: str
) -> None:
    answer = member.make(queue, {header: stranger.project})

    assert answer.status_code == 201
    assert member.owns(queue)
    assert not stranger.owns(queue)


@pytest.mark.parametrize('header', [None, *PROJECT_HEADERS])
def test_a_reader_of_another_project_sees_nothing(
    member: Caller, stranger: Caller, queue: str, header: str | None
) -> None:
    (message,) = member.post(queue).json()['resources']
    claim = member.ask('POST', f'/v2/queues/{queue}/claims', json={})
    forged = {header: member.project} if header else {}

    def status(path: str) -> int:
        return stranger.ask('GET', path, forged).status_code

    def seen(path: str) -> dict[str, object]:
        document: dict[str, object] = stranger.ask('GET', path, forged).json()
        return document

    folder = f'/v2/queues/{queue}'
    assert not stranger.owns(queue, forged)
    assert seen(f'{folder}/stats')['messages'] == {
        'claimed': 0,
        'free': 0,
        'total': 0,
    }
    listed = seen(f'{folder}/messages?include_claimed=true&echo=true')
    assert listed['messages'] == []
    assert status(message) == 404
    assert status(claim.headers['Location']) == 404


@pytest.mark.parametrize('header', [None, *PROJECT_HEADERS])
def test_a_reader_of_another_project_takes_nothing(
    member: Caller, stranger: Caller, queue: str, header: str | None
) -> None:
    (message,) = member.post(queue).json()['resources']
    forged = {header: member.project} if header else {}

    folder = f'/v2/queues/{queue}'
    claimed = stranger.ask('POST', f'{folder}/claims', forged, json={})
    popped = stranger.ask('DELETE', f'{folder}/messages?pop=1', forged)
    everything = {'resource_types': ['messages']}
    purged = stranger.ask('POST', f'{folder}/purge', forged, json=everything)
    deletions = [
        stranger.ask('DELETE', path, forged) for path in (message, folder)
    ]

    assert claimed.status_code == 204
    assert popped.json() == {'messages': []}
    assert purged.status_code == 204
    assert [done.status_code for done in deletions] == [204, 204]
    assert member.ask('GET', message).status_code == 200


@pytest.mark.parametrize('header', [None, *PROJECT_HEADERS])
def test_an_unscoped_token_has_no_project(
    keystone: Keystone, member: Caller, header: str | None
) -> None:
    unscoped = keystone.unscoped_token(keystone.user())
    forged = {header: member.project} if header else {}

    answer = member.showing(unscoped).ask('GET', '/v2/queues', forged)

    assert answer.status_code == 400
    assert answer.json()['title'] == 'Project-Id Missing'


def test_a_token_for_the_whole_system_has_no_project(
    keystone: Keystone, member: Caller
) -> None:
    whole = member.showing(keystone.system_token())

    answer = whole.ask('GET', '/v2/queues', {'X-Project-ID': member.project})

    assert answer.status_code == 400
    assert answer.json()['title'] == 'Project-Id Missing'


@pytest.mark.proves('EXTRA-SPEC')
@pytest.mark.parametrize('value', ['', '1', 'messaging'])
def test_extra_spec_is_no_way_in(
    nobody: Caller, member: Caller, value: str
) -> None:
    forged = {
        'EXTRA-SPEC': value,
        'X-Project-ID': member.project,
        'X-Roles': 'admin',
        'X-Identity-Status': 'Confirmed',
    }

    assert nobody.ask('GET', '/v2/queues', forged).status_code == 401


def test_extra_spec_beside_a_token_changes_nothing(
    member: Caller, stranger: Caller, queue: str
) -> None:
    forged = {'EXTRA-SPEC': '1', 'X-Project-ID': stranger.project}

    answer = member.make(queue, forged)

    assert answer.status_code == 201
    assert member.owns(queue)
    assert not stranger.owns(queue)


@pytest.mark.parametrize('origin_header', [None, 'https://example.org'])
def test_location_stays_a_bare_path(
    member: Caller, queue: str, origin_header: str | None
) -> None:
    headers = {'Origin': origin_header}
    folder = f'/v2/queues/{queue}'

    answer = member.make(queue, headers)
    posted = member.post(queue, headers=headers)
    claimed = member.ask('POST', f'{folder}/claims', headers, json={})

    (message,) = posted.json()['resources']
    identifier = message.rpartition('/')[2]
    assert answer.headers['Location'] == folder
    assert posted.headers['Location'] == f'{folder}/messages?ids={identifier}'
    assert claimed.headers['Location'].startswith(f'{folder}/claims/')
