# SPDX-License-Identifier: Apache-2.0
"""Tokens over WebSocket: reference/websocket, "Authentication"."""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import websocket

from zaqar.tests.functional.event_source import EventSource
from zaqar.tests.functional.websocket.client import Closed, Talk
from zaqar.tests.servers.keystone import DOMAIN, Keystone, User
from zaqar.tests.servers.receivers import Receiver
from zaqar.tests.servers.zaqar import Zaqar

SECRET = 'a key of enough length'

_REST = """
[signed_url]
secret_key = {secret}
[oslo_policy]
policy_file = {policy}
{token}
[trustee]
auth_type = password
auth_url = {url}
username = {name}
password = {password}
user_domain_id = {domain}
"""

#: Who may read a queue's statistics, and which queues may be listed.
_POLICY = """
"queues:stats": "role:admin"
"messages:get_all": "not 'hidden':%(queue_name)s"
"""


@pytest.fixture(scope='module')
def server(
    keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    folder: pathlib.Path = tmp_path_factory.mktemp('sockets')
    policy = folder / 'policy.yaml'
    policy.write_text(_POLICY)
    token = keystone.authtoken_section()
    trustee = keystone.user()
    zaqar = Zaqar(
        folder,
        general='auth_strategy = keystone\n',
        rest=_REST.format(
            secret=SECRET,
            policy=policy,
            token=token,
            url=keystone.url,
            name=trustee.name,
            password=trustee.password,
            domain=DOMAIN,
        ),
        socket='max_unauthenticated_per_peer = 8\n',
    ).start()
    yield zaqar
    zaqar.stop()


@pytest.fixture(scope='module')
def user(keystone: Keystone, project: str) -> User:
    return keystone.user(project, 'member')


@pytest.fixture
def talk(server: Zaqar, project: str) -> Iterator[Talk]:
    """A connection that has proved nothing."""
    with Talk(server.socket_url, project) as connection:
        yield connection


def _authenticate(talk: Talk, token: str) -> Any:
    return talk.ask('authenticate', headers={'X-Auth-Token': token})


def _token(keystone: Keystone, user: User, project: str) -> str:
    return keystone.token(user, project)


@pytest.mark.parametrize('is_binary', [False, True])
def test_a_token_opens_the_connection(
    keystone: Keystone, talk: Talk, user: User, project: str, is_binary: bool
) -> None:
    talk.is_binary = is_binary
    assert talk.ask('queue_list').is_error(403)
    said = _authenticate(talk, _token(keystone, user, project))
    assert (said.status, set(said.body)) == (200, {'message'})
    assert said.request['headers'] == said.request['body'] == {}
    assert said.is_binary is is_binary
    assert talk.ask('queue_list').status == 200


@pytest.mark.parametrize('token', ['', 'garbage', 'gAAAAA' + 'x' * 180])
def test_garbage_opens_nothing(talk: Talk, token: str) -> None:
    assert _authenticate(talk, token).is_error(401)
    assert talk.ask('queue_list').is_error(403)


def test_an_expired_token_opens_nothing(
    keystone: Keystone, talk: Talk, user: User, project: str
) -> None:
    token = keystone.minted_token(user, project, -1)
    assert _authenticate(talk, token).is_error(401)


def test_claims_of_an_identity_open_nothing(talk: Talk) -> None:
    claims = {
        'X-Roles': 'admin',
        'X-User-Id': 'x',
        'X-Identity-Status': 'Confirmed',
        'X-Service-Identity-Status': 'Confirmed',
    }
    assert talk.ask('queue_list', headers=claims).is_error(403)
    said = talk.ask('authenticate', headers={**claims, 'X-Auth-Token': 'x'})
    assert said.is_error(401)


def test_a_token_counts_for_its_project_alone(
    keystone: Keystone, talk: Talk, user: User, project: str
) -> None:
    _authenticate(talk, _token(keystone, user, project))
    said = talk.ask('queue_list', headers={'X-Project-ID': 'other'})
    assert said.is_error(403)
    admin = keystone.user(project, 'admin')
    _authenticate(talk, _token(keystone, admin, project))
    said = talk.ask('queue_list', headers={'X-Project-ID': 'other'})
    assert said.is_error(403)


def test_headers_of_a_frame_give_no_role(
    keystone: Keystone, talk: Talk, user: User, project: str
) -> None:
    _authenticate(talk, _token(keystone, user, project))
    talk.post('q', 1)
    for headers in ({}, {'X-Roles': 'admin'}, {'X-User-Id': 'x'}):
        said = talk.ask('queue_get_stats', {'queue_name': 'q'}, headers)
        assert said.is_error(403)
    admin = keystone.user(project, 'admin')
    _authenticate(talk, _token(keystone, admin, project))
    assert talk.ask('queue_get_stats', queue_name='q').status == 200


def test_a_second_token_takes_the_place_of_the_first(
    keystone: Keystone, talk: Talk, user: User, project: str
) -> None:
    _authenticate(talk, _token(keystone, user, project))
    other = keystone.project()
    stranger = keystone.user(other, 'member')
    _authenticate(talk, _token(keystone, stranger, other))
    assert talk.ask('queue_list').is_error(403)
    talk.headers['X-Project-ID'] = other
    assert talk.ask('queue_list').status == 200


def test_a_refused_token_leaves_the_old_identity(
    keystone: Keystone, talk: Talk, user: User, project: str
) -> None:
    _authenticate(talk, _token(keystone, user, project))
    assert _authenticate(talk, 'garbage').is_error(401)
    assert talk.ask('queue_list').status == 200


def test_frames_behind_a_token_wait_for_it(
    keystone: Keystone, talk: Talk, user: User, project: str
) -> None:
    token = _token(keystone, user, project)
    talk.send('authenticate', headers={'X-Auth-Token': token})
    talk.send('queue_list')
    assert [talk.said().status for _ in range(2)] == [200, 200]


def test_the_connection_ends_with_its_token(
    keystone: Keystone, talk: Talk, user: User, project: str
) -> None:
    token = keystone.minted_token(user, project, 8)
    assert _authenticate(talk, token).status == 200
    assert talk.ask('queue_list').status == 200
    with pytest.raises(Closed) as closed:
        talk.receive()
    assert closed.value.code == 4003


def test_a_new_token_in_time_keeps_it(
    keystone: Keystone, talk: Talk, user: User, project: str
) -> None:
    # Made first, so that the other is used at once.
    good = _token(keystone, user, project)
    short = keystone.minted_token(user, project, 8)
    assert _authenticate(talk, short).status == 200
    assert _authenticate(talk, good).status == 200
    talk.socket.settimeout(9)
    with pytest.raises(TimeoutError):
        talk.socket.sock.recv(1)
    assert talk.ask('queue_list').status == 200


def test_a_subscription_dies_with_its_project(
    keystone: Keystone, talk: Talk, user: User, project: str
) -> None:
    _authenticate(talk, _token(keystone, user, project))
    talk.ask('subscription_create', queue_name='mine')
    with Talk(talk.url, project) as watching:
        _authenticate(watching, _token(keystone, user, project))

        def count() -> int:
            said = watching.ask('subscription_list', queue_name='mine')
            return len(said.body['subscriptions'])

        _authenticate(talk, _token(keystone, user, project))
        assert count() == 1
        other = keystone.project()
        stranger = keystone.user(other, 'member')
        _authenticate(talk, _token(keystone, stranger, other))
        for _ in range(200):
            if not count():
                return
        raise AssertionError('it is still there')


def test_a_subscriber_is_told_with_a_token_of_the_connections_owner(
    keystone: Keystone,
    talk: Talk,
    user: User,
    project: str,
    receiver: Receiver,
) -> None:
    _authenticate(talk, _token(keystone, user, project))
    said = talk.ask(
        'subscription_create',
        queue_name='trusted',
        subscriber=f'trust+{receiver.url}/hook',
        ttl=3600,
    )
    assert said.status == 201, said
    talk.ask(
        'message_post',
        queue_name='trusted',
        messages=[{'body': 'x', 'ttl': 300}],
    )
    (got,) = receiver.wait(1)
    assert got.json['body'] == 'x'
    token = keystone.validated(got.headers['x-auth-token'])
    trust = token['OS-TRUST:trust']
    assert token['project']['id'] == project
    assert trust['trustor_user']['id'] == user.id
    assert trust['impersonation'] is True


def test_a_signature_is_nobody_whom_a_trust_could_be_of(
    owner: Talk, talk: Talk
) -> None:
    signed = _grant(owner, paths=['subscriptions'], methods=['POST'])
    said = talk.ask(
        'subscription_create',
        queue_name='q',
        subscriber='trust+http://127.0.0.1/hook',
        ttl=3600,
        headers=signed,
    )
    assert said.is_error(400)


# Pre-signed access.


def _grant(talk: Talk, **wanted: Any) -> dict[str, Any]:
    said = talk.ask('queue_share', queue_name='q', **wanted)
    assert said.status == 200, said
    return {
        'URL-Signature': said.body['signature'],
        'URL-Expires': said.body['expires'],
        'URL-Methods': said.body['methods'],
        'URL-Paths': said.body['paths'],
    }


@pytest.fixture
def owner(
    keystone: Keystone, server: Zaqar, user: User, project: str
) -> Iterator[Talk]:
    with Talk(server.socket_url, project) as connection:
        _authenticate(connection, _token(keystone, user, project))
        yield connection


def test_a_signature_opens_what_it_covers(owner: Talk, talk: Talk) -> None:
    (message_id,) = owner.post('q', 'x')[-1:]
    reading = _grant(owner, methods=['GET'])
    item = {'queue_name': 'q', 'message_id': message_id}
    assert talk.ask('message_get', item, reading).status == 200
    many = {'queue_name': 'q', 'message_ids': [message_id]}
    assert talk.ask('message_get_many', many, reading).status == 200
    assert talk.ask('message_list', item, reading).status == 200
    for action in ('message_delete', 'queue_get', 'claim_create'):
        assert talk.ask(action, item, reading).is_error(403)
    other = {**item, 'queue_name': 'r'}
    assert talk.ask('message_list', other, reading).is_error(403)
    # Nothing of it stays.
    assert talk.ask('message_list', item).is_error(403)


def test_texts_do_for_lists(owner: Talk, talk: Talk) -> None:
    grant = _grant(owner, methods=['GET', 'POST'])
    grant['URL-Methods'] = ','.join(grant['URL-Methods'])
    grant['URL-Paths'] = ','.join(grant['URL-Paths'])
    body = {'queue_name': 'q', 'messages': [{'body': 1}]}
    assert talk.ask('message_post', body, grant).status == 201


def test_claims_and_subscriptions_can_be_signed(
    owner: Talk, talk: Talk
) -> None:
    paths = ['claims', 'subscriptions']
    grant = _grant(owner, paths=paths, methods=['POST', 'GET'])
    body = {'queue_name': 'q'}
    assert talk.ask('claim_create', body, grant).status in (201, 204)
    assert talk.ask('subscription_list', body, grant).status == 200
    assert talk.ask('message_list', body, grant).is_error(403)


@pytest.mark.parametrize(
    'change',
    [
        {'URL-Signature': '0' * 64},
        {'URL-Signature': 'é'},
        {'URL-Signature': 1},
        {'URL-Signature': ''},
        {'URL-Expires': '2020-01-01T00:00:00'},
        {'URL-Expires': 'x'},
        {'URL-Expires': None},
        {'URL-Methods': ['GET', 'DELETE']},
        {'URL-Methods': 1},
        {'URL-Paths': ['/v2/queues/r/messages']},
        {'URL-Paths': [1]},
        {'URL-Paths': None},
        {'X-Project-ID': 'other'},
    ],
    ids=str,
)
def test_any_other_set_is_refused(
    owner: Talk, talk: Talk, change: dict[str, Any]
) -> None:
    grant = {**_grant(owner), **change}
    assert talk.ask('message_list', {'queue_name': 'q'}, grant).is_error(403)


def test_a_bad_signature_is_not_rescued_by_a_token(owner: Talk) -> None:
    said = owner.ask(
        'message_list', {'queue_name': 'q'}, {'URL-Signature': 'x'}
    )
    assert said.is_error(403)


def test_an_address_has_so_many_connections_without_proof(
    keystone: Keystone, server: Zaqar, user: User, project: str
) -> None:
    talks = [Talk(server.socket_url, project) for _ in range(8)]
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        Talk(server.socket_url, project)
    assert refused.value.status_code == 429
    _authenticate(talks[0], _token(keystone, user, project))
    Talk(server.socket_url, project).cut()
    for talk in talks:
        talk.cut()


@pytest.fixture(scope='module')
def hasty(
    keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    """A server behind proxies, where a login has some seconds."""
    folder: pathlib.Path = tmp_path_factory.mktemp('hasty')
    zaqar = Zaqar(
        folder,
        general='auth_strategy = keystone\n',
        rest=f'{keystone.authtoken_section()}'
        f'[signed_url]\nsecret_key = {SECRET}\n',
        socket='max_unauthenticated_per_peer = 2\n'
        'trusted_proxies = 127.0.0.0/8\nauthentication_timeout = 8\n',
    ).start()
    yield zaqar
    zaqar.stop()


def test_who_does_not_authenticate_in_time_is_closed(
    keystone: Keystone, hasty: Zaqar, user: User, project: str
) -> None:
    token = _token(keystone, user, project)
    late, owner, signed = (
        Talk(hasty.socket_url, project, header=_client(number))
        for number in range(3)
    )
    assert _authenticate(owner, token).status == 200
    grant = _grant(owner)
    body = {'queue_name': 'q'}
    assert signed.ask('message_list', body, grant).status == 200
    with pytest.raises(Closed) as closed:
        late.receive()
    assert closed.value.code == 1008
    # The others were let in at the same time.
    assert owner.ask('queue_list').status == 200
    assert signed.ask('message_list', body, grant).status == 200
    for talk in (late, owner, signed):
        talk.cut()


def _client(number: int) -> dict[str, str]:
    return {'X-Forwarded-For': f'198.51.100.1, 203.0.113.{number}'}


def test_each_client_behind_a_proxy_is_counted_for_itself(
    hasty: Zaqar, project: str
) -> None:
    talks = [
        Talk(hasty.socket_url, project, header=_client(number % 3))
        for number in range(6)
    ]
    for number in range(3):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            Talk(hasty.socket_url, project, header=_client(number))
        assert refused.value.status_code == 429
    Talk(hasty.socket_url, project, header=_client(7)).cut()
    for talk in talks:
        talk.cut()


def test_requests_over_http_need_a_token(
    keystone: Keystone, server: Zaqar, user: User, project: str
) -> None:
    url = server.socket_url.replace('ws:', 'http:')
    headers = {
        'Client-ID': str(uuid.uuid4()),
        'OpenStack-API-Version': 'messaging 2.1',
        'X-Project-ID': project,
        'X-Roles': 'admin',
    }

    def claim(**more: str) -> int:
        answer = requests.post(
            f'{url}/v2/queues/empty/claims?wait=1',
            headers=headers | more,
            timeout=30,
        )
        return answer.status_code

    assert claim() == 401
    assert claim(**{'X-Auth-Token': 'garbage'}) == 401
    token = _token(keystone, user, project)
    assert claim(**{'X-Auth-Token': token}) == 204


def test_streams_need_a_token_and_end_with_it(
    keystone: Keystone, server: Zaqar, user: User, project: str
) -> None:
    url = server.socket_url.replace('ws:', 'http:')
    path = f'{url}/v2/queues/empty/messages'

    def follow(**headers: str) -> EventSource:
        claimed = {'X-Project-ID': project, 'X-Roles': 'admin'}
        return EventSource(path, claimed | headers)

    assert follow().status == 401
    assert follow(**{'X-Auth-Token': 'garbage'}).status == 401
    token = _token(keystone, user, project)
    hidden = path.replace('empty', 'hidden')
    assert EventSource(hidden, {'X-Auth-Token': token}).status == 403
    # Those that are authenticated are not counted by their address.
    streams = [follow(**{'X-Auth-Token': token}) for _ in range(12)]
    assert [one.status for one in streams] == [200] * 12
    for one in streams:
        one.close()
    short = keystone.minted_token(user, project, 5)
    stream = follow(**{'X-Auth-Token': short})
    assert stream.status == 200
    assert list(stream) == []


def _follow(talk: Talk, queue: str = 'q') -> Any:
    version = {'OpenStack-API-Version': 'messaging 2.1'}
    return talk.ask('message_stream', {'queue_name': queue}, version)


def test_streams_of_a_connection_end_as_its_tokens_say(
    keystone: Keystone, talk: Talk, user: User, project: str
) -> None:
    assert _follow(talk).is_error(403)
    _authenticate(talk, _token(keystone, user, project))
    assert _follow(talk, 'hidden').is_error(403)
    assert _follow(talk).status == 200
    # Another user of the same project.
    admin = keystone.user(project, 'admin')
    _authenticate(talk, _token(keystone, admin, project))
    talk.headers['Client-ID'] = str(uuid.uuid4())
    talk.post('q', 'a')
    assert talk.pushed()['message']['body'] == 'a'
    other = keystone.project()
    stranger = keystone.user(other, 'member')
    talk.send(
        'authenticate',
        headers={'X-Auth-Token': _token(keystone, stranger, other)},
    )
    last = talk.pushed()
    assert set(last) == {'stream_id', 'marker', 'error'}
    assert talk.said().status == 200
    version = {'OpenStack-API-Version': 'messaging 2.1'}
    talk.headers['X-Project-ID'] = other
    said = talk.ask('message_stream_end', {'stream_id': '1'}, version)
    assert said.is_error(404)
