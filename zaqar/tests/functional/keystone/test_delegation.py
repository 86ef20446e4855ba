# SPDX-License-Identifier: Apache-2.0
"""Trusts that clients bring, and callers whose own token is delegated."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from zaqar.tests.functional.keystone.callers import Caller
from zaqar.tests.functional.keystone.conftest import serve
from zaqar.tests.functional.keystone.test_trusts import (
    _trusting,
    post,
    subscribe,
)
from zaqar.tests.servers.keystone import Keystone, User
from zaqar.tests.servers.receivers import Receiver

HOOK = 'trust+https://a.example/'


@dataclass(frozen=True)
class Person:
    """A user with what it calls the service by."""

    user: User
    caller: Caller

    @property
    def project(self) -> str:
        return self.caller.project


@dataclass(frozen=True)
class Cloud:
    """A Keystone, a service whose user can be trusted, and some users."""

    keystone: Keystone
    trustee: User
    origin: str
    ann: Person
    bob: Person

    def person(self, project: str, *roles: str) -> Person:
        """Return a new user of a project."""
        user = self.keystone.user(project, *roles)
        token = self.keystone.token(user, project)
        return Person(user, Caller(self.origin, token, project))

    def trusts(self) -> dict[str, Any]:
        """Return all trusts in the service's user, by their ids."""
        listed = self.keystone.trusts(self.trustee)
        return {trust['id']: trust for trust in listed}

    def trust(self, person: Person, **more: Any) -> str:
        """Let the service's user act for somebody."""
        return self.keystone.make_trust(
            person.user, self.trustee, person.project, 'member', **more
        )


@pytest.fixture(scope='module')
def cloud(
    keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """Ann and Bob are members of one project."""
    trustee = keystone.user()
    text = _trusting(keystone, trustee, 'trust_targets = localhost')
    with serve(text, tmp_path_factory.mktemp('zaqar')) as origin:
        project = keystone.project()
        people = []
        for _ in range(2):
            user = keystone.user(project, 'member')
            token = keystone.token(user, project)
            people.append(Person(user, Caller(origin, token, project)))
        yield Cloud(keystone, trustee, origin, *people)


def _try(
    caller: Caller, queue: str, uri: str = HOOK, **fields: Any
) -> tuple[int, str]:
    """Subscribe; return status and text of the answer."""
    answer = caller.ask(
        'POST',
        f'/v2/queues/{queue}/subscriptions',
        json={'subscriber': uri, **fields},
    )
    return answer.status_code, answer.text


def _brings(trust_id: str) -> dict[str, Any]:
    return {'options': {'trust_id': trust_id}}


# Trusts that clients bring.


def test_a_trust_that_is_the_callers_is_used_and_never_ended_nor_shown(
    cloud: Cloud, receiver: Receiver, queue: str
) -> None:
    ann = cloud.ann.caller
    mine = cloud.trust(cloud.ann)
    before = set(cloud.trusts())
    uri = f'trust+{receiver.url}'
    path = f'/v2/queues/{queue}/subscriptions'
    body = {'subscriber': uri, 'options': {'trust_id': mine, 'a': 1}}
    created = ann.ask('POST', path, json=body)
    assert created.status_code == 201, created.text
    item = f'{path}/{created.json()["subscription_id"]}'
    post(ann, queue, 'x')
    (got,) = receiver.wait(1)
    token = cloud.keystone.validated(got.headers['x-auth-token'])
    assert token['OS-TRUST:trust']['id'] == mine
    # Changes of her own leave it, another one that she brings replaces it.
    other = cloud.trust(cloud.ann, expires_at='2100-01-01T00:00:00.000000Z')
    for change in (
        {'options': {'a': 2}},
        {'ttl': 7200},
        {'options': {'trust_id': other}},
        {'ttl': 100},
    ):
        answer = ann.ask('PATCH', item, json=change)
        assert answer.status_code == 204, answer.text
        for shown in (ann.ask('GET', item), ann.ask('GET', path)):
            assert 'trust_id' not in shown.text
            assert mine not in shown.text + answer.text
    post(ann, queue, 'y')
    token = cloud.keystone.validated(
        receiver.wait(2)[1].headers['x-auth-token']
    )
    assert token['OS-TRUST:trust']['id'] == other
    assert ann.ask('DELETE', item).status_code == 204
    assert set(cloud.trusts()) == before | {other}


def test_a_subscription_ends_with_the_trust_that_was_brought(
    cloud: Cloud, queue: str
) -> None:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    text = end.strftime('%Y-%m-%dT%H:%M:%S.000000Z')
    mine = cloud.trust(cloud.ann, expires_at=text)
    ann, path = cloud.ann.caller, f'/v2/queues/{queue}/subscriptions'
    body = {'subscriber': HOOK, 'ttl': 10**9, **_brings(mine)}
    subscription = ann.ask('POST', path, json=body).json()
    item = f'{path}/{subscription["subscription_id"]}'
    assert 3300 < ann.ask('GET', item).json()['ttl'] <= 3600
    assert ann.ask('PATCH', item, json={'ttl': 10**9}).status_code == 204
    assert 3300 < ann.ask('GET', item).json()['ttl'] <= 3600


@pytest.mark.proves('trusts of the caller')
def test_no_other_trust_is_taken(cloud: Cloud, queue: str) -> None:
    ann = cloud.ann.caller
    elsewhere = cloud.person(cloud.keystone.project(), 'member')
    cloud.keystone.grant(cloud.ann.user, elsewhere.project, 'member')
    foreign = {
        'of another user': cloud.trust(cloud.bob),
        'of another project': cloud.keystone.make_trust(
            cloud.ann.user, cloud.trustee, elsewhere.project, 'member'
        ),
        'in another user': cloud.keystone.make_trust(
            cloud.ann.user, cloud.bob.user, cloud.ann.project, 'member'
        ),
        'of nobody': 'f' * 32,
        'no id': '../users',
        'empty': '',
    }
    before = cloud.trusts()
    answers = {
        name: _try(ann, queue, **_brings(trust_id))
        for name, trust_id in foreign.items()
    }
    # One answer for all: it does not tell which trusts there are.
    assert {status for status, _ in answers.values()} == {403}
    assert len({text for _, text in answers.values()}) == 1
    path = subscribe(ann, queue, HOOK)
    for trust_id in foreign.values():
        answer = ann.ask('PATCH', path, json=_brings(trust_id))
        assert answer.status_code == 403
    assert ann.ask('DELETE', path).status_code == 204
    assert cloud.trusts() == before


def test_what_needs_no_token_takes_no_trust(cloud: Cloud, queue: str) -> None:
    mine = cloud.trust(cloud.ann)
    ann = cloud.ann.caller
    for options in (
        {'trust_id': mine},
        {'trust_id': 5},
        {'_brought_trust_id': mine},
    ):
        uri = 'https://a.example/'
        assert _try(ann, queue, uri, options=options)[0] == 400
    assert _try(ann, queue, options={'_brought_trust_id': mine})[0] == 400
    assert _try(ann, queue, options={'trust_id': None})[0] == 201


@pytest.mark.proves('tokens stay with their owner')
def test_who_changes_a_subscription_has_it_notified_for_itself(
    cloud: Cloud, queue: str
) -> None:
    ann, bob = cloud.ann.caller, cloud.bob.caller
    before = set(cloud.trusts())

    def trustors() -> list[str]:
        return [
            trust['trustor_user_id']
            for trust_id, trust in cloud.trusts().items()
            if trust_id not in before
        ]

    path = subscribe(ann, queue, HOOK)
    assert trustors() == [cloud.ann.user.id]
    # Ann's token does not go where Bob wants, nor with his body.
    for change in (
        {'subscriber': f'{HOOK}other'},
        {'options': {'post_data': 'x'}},
    ):
        assert ann.ask('PATCH', path, json={'ttl': 600}).status_code == 204
        assert trustors() == [cloud.ann.user.id]
        assert bob.ask('PATCH', path, json=change).status_code == 204
        assert trustors() == [cloud.bob.user.id]
    assert ann.ask('DELETE', path).status_code == 204
    # Nor does that of a trust that she has brought, which stays hers.
    mine = cloud.trust(cloud.ann)
    subscribed = ann.ask(
        'POST',
        f'/v2/queues/{queue}/subscriptions',
        json={'subscriber': HOOK, **_brings(mine)},
    ).json()['subscription_id']
    path = f'/v2/queues/{queue}/subscriptions/{subscribed}'
    change = {'options': {'post_data': 'x'}}
    assert bob.ask('PATCH', path, json=change).status_code == 204
    assert sorted(trustors()) == sorted([cloud.ann.user.id, cloud.bob.user.id])


# Callers whose own token is delegated.


@pytest.mark.proves('trusts of the caller')
def test_a_refusal_of_keystone_is_final_and_says_why(
    cloud: Cloud, queue: str
) -> None:
    keystone, ann, bob = cloud.keystone, cloud.ann, cloud.bob
    narrow = keystone.make_trust(ann.user, bob.user, ann.project, 'member')
    tokens = {
        'application credential': keystone.application_credential_token(
            ann.user, ann.project
        ),
        'trust': keystone.trust_token(bob.user, narrow),
    }
    before = cloud.trusts()
    for token in tokens.values():
        status, text = _try(ann.caller.showing(token), queue)
        assert status == 403, text
        assert 'The identity service has refused a trust: ' in text
        assert narrow not in text
    assert cloud.trusts() == before
    # Nor does it bring one.
    mine = cloud.trust(ann)
    for token in tokens.values():
        status, text = _try(ann.caller.showing(token), queue, **_brings(mine))
        assert status == 403, text
    assert not ann.caller.owns(queue)


@pytest.mark.parametrize('hours', [1, None])
def test_a_trust_that_can_be_passed_on_is_until_it_ends(
    cloud: Cloud, receiver: Receiver, queue: str, hours: int | None
) -> None:
    end = None
    if hours:
        ends_at = datetime.datetime.now(datetime.UTC)
        ends_at += datetime.timedelta(hours=hours)
        end = ends_at.strftime('%Y-%m-%dT%H:%M:%S.000000Z')
    ann, bob = cloud.ann, cloud.bob
    parent = cloud.keystone.make_trust(
        *(ann.user, bob.user, ann.project, 'member'),
        allow_redelegation=True,
        expires_at=end,
    )
    token = cloud.keystone.trust_token(bob.user, parent)
    caller = ann.caller.showing(token)
    before = set(cloud.trusts())
    # Several: no two trusts may end in the same second.
    paths = [
        subscribe(caller, f'{queue}{number}', f'trust+{receiver.url}', 10**9)
        for number in range(3)
    ]
    subscriptions = [
        trust
        for trust_id, trust in cloud.trusts().items()
        if trust_id not in before
    ]
    assert len(subscriptions) == 3
    for trust, path in zip(subscriptions, paths, strict=True):
        assert trust['trustor_user_id'] == ann.user.id
        assert trust['project_id'] == ann.project
        ttl = caller.ask('GET', path).json()['ttl']
        if end is None:
            assert trust['expires_at'] is None
            assert ttl == 10**9
        else:
            assert trust['expires_at'] <= end
            assert 3000 < ttl <= 3600
    post(caller, f'{queue}0', 'x')
    (got,) = receiver.wait(1)
    validated = cloud.keystone.validated(got.headers['x-auth-token'])
    assert validated['user']['id'] == ann.user.id
    for path in paths:
        assert caller.ask('DELETE', path).status_code == 204
    assert set(cloud.trusts()) == before
