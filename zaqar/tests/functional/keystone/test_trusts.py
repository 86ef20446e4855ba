# SPDX-License-Identifier: Apache-2.0
"""Subscribers that are told with a token, by a real Keystone."""

from __future__ import annotations

import logging
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import structs
from oslo_config import cfg

from zaqar.controllers import subscription_records
from zaqar.errors import StoreUnavailable
from zaqar.identity import Identity
from zaqar.keystone.trusts import KeystoneTrusts
from zaqar.tests.functional.keystone.callers import Caller, join
from zaqar.tests.functional.keystone.conftest import configuration, serve
from zaqar.tests.functional.notification.rig import CLIENT, Rig
from zaqar.tests.servers.keystone import DOMAIN, Keystone, User
from zaqar.tests.servers.receivers import Receiver, answer, in_turn

_TRUSTEE = """
[trustee]
auth_type = password
auth_url = {url}
username = {name}
password = {password}
user_domain_id = {domain}
[notification]
{more}
"""

PATIENCE = 60.0


def _trusting(keystone: Keystone, trustee: User, more: str = '') -> str:
    """Return a configuration file of a service with a user to trust."""
    return configuration(keystone) + _TRUSTEE.format(
        url=keystone.url,
        name=trustee.name,
        password=trustee.password,
        domain=DOMAIN,
        more=more,
    )


@pytest.fixture(scope='module')
def trustee(keystone: Keystone) -> User:
    """The user whom subscribers' owners trust; it has no role anywhere."""
    return keystone.user()


@pytest.fixture(scope='module')
def origin(
    keystone: Keystone,
    trustee: User,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A service with such a user."""
    text = _trusting(keystone, trustee, 'trust_targets = localhost')
    with serve(text, tmp_path_factory.mktemp('zaqar')) as url:
        yield url


@pytest.fixture
def owner(keystone: Keystone, origin: str) -> Caller:
    """A member of a project of its own."""
    return join(keystone, origin, keystone.project(), 'member')


def until(true: Callable[[], Any]) -> Any:
    """Wait for what must come true."""
    end = time.monotonic() + PATIENCE
    while not (result := true()):
        assert time.monotonic() < end, 'it does not come'
        time.sleep(0.05)
    return result


def subscribe(owner: Caller, queue: str, uri: str, ttl: int = 3600) -> str:
    """Subscribe; return the path of the subscription."""
    path = f'/v2/queues/{queue}/subscriptions'
    body = {'subscriber': uri, 'ttl': ttl}
    answer = owner.ask('POST', path, json=body)
    assert answer.status_code == 201, answer.text
    return f'{path}/{answer.json()["subscription_id"]}'


def post(owner: Caller, queue: str, body: Any) -> None:
    """Post a message."""
    document = {'messages': [{'body': body, 'ttl': 300}]}
    answer = owner.ask('POST', f'/v2/queues/{queue}/messages', json=document)
    assert answer.status_code == 201, answer.text


def test_a_webhook_gets_a_token_of_the_owner_in_its_project(
    keystone: Keystone,
    trustee: User,
    owner: Caller,
    receiver: Receiver,
    queue: str,
) -> None:
    path = subscribe(owner, queue, f'trust+{receiver.url}/hook')
    shown = owner.ask('GET', path).json()
    assert shown['options'] == {}
    post(owner, queue, 'x')
    (got,) = receiver.wait(1)
    assert got.path == '/hook'
    assert got.json['body'] == 'x'
    token = keystone.validated(got.headers['x-auth-token'])
    assert token['project']['id'] == owner.project
    assert token['OS-TRUST:trust']['impersonation'] is True
    assert [role['name'] for role in token['roles']].count('member') == 1
    listed = owner.ask('GET', path.rpartition('/')[0]).json()
    assert listed['subscriptions'][0]['options'] == {}


def test_a_token_is_fetched_once_and_again_after_a_401(
    owner: Caller, receiver: Receiver, queue: str
) -> None:
    subscribe(owner, queue, f'trust+{receiver.url}')
    for number in range(3):
        post(owner, queue, number)
        receiver.wait(number + 1)
    tokens = [got.headers['x-auth-token'] for got in receiver.got]
    assert len(set(tokens)) == 1
    receiver.behave = in_turn(
        *[answer(200)] * 3, answer(401), answer(200), answer(200)
    )
    post(owner, queue, 'refused at first')
    got = receiver.wait(5)
    assert got[3].headers['x-auth-token'] == tokens[0]
    assert got[4].json['body'] == 'refused at first'
    assert got[4].headers['x-auth-token'] != tokens[0]


def test_a_trust_ends_with_its_subscription(
    keystone: Keystone, trustee: User, owner: Caller, queue: str
) -> None:
    before = {one['id'] for one in keystone.trusts(trustee)}
    path = subscribe(owner, queue, 'trust+https://a.example/')
    (trust,) = [
        one for one in keystone.trusts(trustee) if one['id'] not in before
    ]
    assert trust['trustee_user_id'] == trustee.id
    assert trust['project_id'] == owner.project
    assert owner.ask('DELETE', path).status_code == 204
    left = {one['id'] for one in keystone.trusts(trustee)}
    assert trust['id'] not in left


def test_a_trust_ends_when_what_has_expired_is_swept(
    keystone: Keystone, trustee: User, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / 'zaqar.conf'
    path.write_text(_trusting(keystone, trustee))
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(path)], default_config_dirs=[])
    project = keystone.project()
    token = keystone.token(keystone.user(project, 'member'), project)
    before = {one['id'] for one in keystone.trusts(trustee)}
    rig = Rig(tmp_path, trusts=KeystoneTrusts.from_conf(conf))
    rig.ctx = structs.replace(
        rig.ctx,
        identity=Identity(
            'p', CLIENT, token=token, validated=keystone.validated(token)
        ),
    )
    rig.subscribe('trust+https://a.example/', ttl=3600)
    assert len({one['id'] for one in keystone.trusts(trustee)} - before) == 1
    rig.ahead = 3601
    assert subscription_records.sweep(rig.ctx, 10) == 1
    assert {one['id'] for one in keystone.trusts(trustee)} == before
    rig.close()


@pytest.mark.proves('trust ids are secret')
def test_no_trust_is_named_in_a_log(
    keystone: Keystone,
    trustee: User,
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / 'zaqar.conf'
    path.write_text(_trusting(keystone, trustee))
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(path)], default_config_dirs=[])
    ours = KeystoneTrusts.from_conf(conf)
    assert ours is not None
    project = keystone.project()
    token = keystone.token(keystone.user(project, 'member'), project)
    for name in ('zaqar', 'keystoneauth'):
        caplog.set_level(logging.DEBUG, name)
    said = keystone.validated(token)
    identity = Identity(project, CLIENT, token=token, validated=said)
    trust, _ = ours.create(identity, 3600)
    ours.check(identity, trust)
    ours.token(trust)
    with keystone.down():
        with pytest.raises(StoreUnavailable):
            ours.check(identity, trust)
        assert not ours.delete(trust)
    assert ours.delete(trust)
    assert ours.delete(trust)
    assert 'could not be ended' in caplog.text
    assert 'does not exist any more' in caplog.text
    assert trust not in caplog.text


def test_a_question_goes_to_a_host_of_the_cloud_without_a_token(
    keystone: Keystone,
    trustee: User,
    receiver: Receiver,
    queue: str,
    tmp_path: pathlib.Path,
) -> None:
    # 127.0.0.1 is no public address; that it is of the cloud is told by the
    # catalogue alone.
    text = _trusting(keystone, trustee, 'require_confirmation = True')
    text += '[signed_url]\nsecret_key = a key for tests, long enough\n'
    with serve(text, tmp_path) as origin:
        owner = join(keystone, origin, keystone.project(), 'member')
        subscribe(owner, queue, f'trust+{receiver.url}')
        (got,) = receiver.wait(1)
    assert got.json['Message_Type'] == 'SubscriptionConfirmation'
    assert 'x-auth-token' not in got.headers


def test_a_change_of_the_life_makes_another_trust(
    keystone: Keystone, trustee: User, owner: Caller, queue: str
) -> None:
    before = {one['id'] for one in keystone.trusts(trustee)}
    path = subscribe(owner, queue, 'trust+https://a.example/')
    first = {one['id'] for one in keystone.trusts(trustee)} - before
    answer = owner.ask('PATCH', path, json={'ttl': 7200})
    assert answer.status_code == 204
    second = {one['id'] for one in keystone.trusts(trustee)} - before
    assert len(first) == len(second) == 1
    assert first != second
    # Other changes leave it as it is, and options do not lose it.
    answer = owner.ask('PATCH', path, json={'options': {'a': 1}})
    assert answer.status_code == 204
    assert {one['id'] for one in keystone.trusts(trustee)} - before == second


def test_equal_subscriptions_in_the_same_second_each_get_a_trust(
    owner: Caller, queue: str
) -> None:
    for number in range(4):
        subscribe(owner, f'{queue}-{number}', 'trust+https://a.example/')


def test_the_same_subscriber_again_makes_no_further_trust(
    keystone: Keystone, trustee: User, owner: Caller, queue: str
) -> None:
    uri = 'trust+https://a.example/'
    subscribe(owner, queue, uri)
    before = len(keystone.trusts(trustee))
    subscribe(owner, queue, uri)
    assert len(keystone.trusts(trustee)) == before


@pytest.mark.proves('tokens stay in the cloud')
def test_no_token_goes_to_a_host_that_is_not_of_the_cloud(
    owner: Caller, queue: str
) -> None:
    elsewhere = Receiver(host='127.0.0.9')
    path = subscribe(owner, queue, f'trust+{elsewhere.url}')
    post(owner, queue, 'x')
    failure = until(
        lambda: owner.ask('GET', f'{path}/deliveries').json()['last_failure']
    )
    assert 'cloud' in failure['reason']
    assert elsewhere.got == []
    elsewhere.stop()


@pytest.mark.proves('tokens stay in the cloud')
def test_no_token_goes_to_another_port_of_a_service_nor_to_keystone(
    keystone: Keystone, owner: Caller, receiver: Receiver, queue: str
) -> None:
    other = Receiver()
    for url in (other.url, keystone.origin):
        path = subscribe(owner, queue, f'trust+{url}/v3')
        post(owner, queue, 'x')
        failure = until(
            lambda path=path: owner.ask('GET', f'{path}/deliveries').json()[
                'last_failure'
            ]
        )
        assert failure['reason'] == 'tokens go to services of the cloud only'
    assert other.got == []
    other.stop()


@pytest.mark.proves('public receivers')
def test_a_service_of_the_cloud_may_be_told_without_a_token_too(
    keystone: Keystone, receiver: Receiver, queue: str, tmp_path: pathlib.Path
) -> None:
    other = Receiver()
    with serve(configuration(keystone), tmp_path) as origin:
        owner = join(keystone, origin, keystone.project(), 'member')
        subscribe(owner, queue, f'{receiver.url}/hook')
        path = subscribe(owner, queue, f'{other.url}/hook')
        identity = subscribe(owner, queue, f'{keystone.origin}/hook')
        post(owner, queue, 'x')
        (got,) = receiver.wait(1)
        assert got.path == '/hook'
        assert 'x-auth-token' not in got.headers
        # No more than that port of that host.
        failure = until(
            lambda: owner.ask('GET', f'{path}/deliveries').json()[
                'last_failure'
            ]
        )
        # Nor is that of tokens exempt.
        refused = until(
            lambda: owner.ask('GET', f'{identity}/deliveries').json()[
                'last_failure'
            ]
        )
    assert 'public' in failure['reason']
    assert refused['reason'] == failure['reason']
    assert other.got == []
    other.stop()


def test_a_life_as_heat_wants_it_is_fine(owner: Caller, queue: str) -> None:
    subscribe(owner, queue, 'trust+https://a.example/', ttl=220_367_260_800)


def test_without_a_user_to_trust_there_are_no_such_subscriptions(
    keystone: Keystone, tmp_path: pathlib.Path
) -> None:
    folder = pathlib.Path(tempfile.mkdtemp(dir=tmp_path))
    with serve(configuration(keystone), folder) as origin:
        owner = join(keystone, origin, keystone.project(), 'member')
        answer = owner.ask(
            'POST',
            '/v2/queues/q/subscriptions',
            json={'subscriber': 'trust+https://a.example/'},
        )
        assert answer.status_code == 400
