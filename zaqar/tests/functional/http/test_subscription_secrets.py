# SPDX-License-Identifier: Apache-2.0
"""Keys of subscriptions: reference/delivery, "Signatures"."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.controllers import subscription_records, subscription_signing_keys
from zaqar.microversion_constants import V2_0, V2_1
from zaqar.objects import Scope
from zaqar.tests.functional.http import subscription_calls
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import MakeApi

DAY = 86_400


def _valid(api: Api, path: str) -> list[str]:
    """Return the secrets that sign."""
    now = api.clock.now()
    subscription = subscription_records.find(
        api.service.catalogue.management,
        Scope(api.project, 'jobs'),
        path.rpartition('/')[2],
        now,
    )
    assert subscription is not None
    return [*subscription_signing_keys.valid(subscription.options, now)]


@pytest.mark.proves('secrets of subscriptions')
def test_a_secret_is_made_shown_and_replaced(api: Api) -> None:
    new = api.at(V2_1)
    created = subscription_calls.post(new, ttl=DAY * 3)
    secret = created.json['secret']
    path = f'{subscription_calls.ALL}/{created.json["subscription_id"]}'
    assert new('GET', f'{path}/secret').json == {
        'secret': secret,
        'former_until': None,
    }
    # Once: the second answer is about what was there.
    assert set(subscription_calls.post(new).json) == {'subscription_id'}
    rotated = new('POST', f'{path}/secret')
    assert rotated.status == 200
    second = rotated.json['secret']
    assert second != secret
    assert rotated.json['former_until'] == '2027-01-16T08:00:00.000Z'
    assert new('GET', f'{path}/secret').json == rotated.json
    assert _valid(api, path) == [second, secret]
    third = new('POST', f'{path}/secret').json['secret']
    assert _valid(api, path) == [third, second]
    # Changes of other options leave all of it.
    assert new('PATCH', path, {'options': {'a': 1}}).status == 204
    api.clock.move(DAY - 1)
    assert new('PATCH', path, {'ttl': DAY}).status == 204
    assert _valid(api, path) == [third, second]
    api.clock.move(1)
    assert _valid(api, path) == [third]
    assert new('GET', f'{path}/secret').json['former_until'] is None
    shown = [new('GET', one) for one in (path, subscription_calls.ALL)]
    assert not any(b'whsec' in answer.body for answer in shown)
    assert new('GET', path).json['options'] == {'a': 1}


@pytest.mark.proves('secrets of subscriptions')
def test_below_2_1_a_secret_is_made_and_not_shown(api: Api) -> None:
    old = api.at(V2_0)
    created = subscription_calls.post(old)
    assert set(created.json) == {'subscription_id'}
    path = f'{subscription_calls.ALL}/{created.json["subscription_id"]}'
    for method in ('GET', 'POST'):
        assert old(method, f'{path}/secret').status == 404
    secret = api.at(V2_1)('GET', f'{path}/secret').json['secret']
    assert _valid(api, path) == [secret]


@pytest.mark.proves('secrets of subscriptions')
@pytest.mark.parametrize('brought', ['whsec_YWJj', None])
def test_a_secret_of_the_client_is_not_shown_but_replaced(
    api: Api, brought: Any
) -> None:
    new = api.at(V2_1)
    path = subscription_calls.make(new)
    options = {'options': {'_signing_secret': brought}}
    assert new('PATCH', path, options).status == 204
    former = [brought] if brought else []
    assert _valid(api, path) == former
    missing = new('GET', f'{path}/secret')
    assert missing.is_error(404, 'Not found', 'has made no secret')
    made = new('POST', f'{path}/secret').json
    assert bool(made['former_until']) == bool(brought)
    assert _valid(api, path) == [made['secret'], *former]
    forged = {'options': {subscription_signing_keys.BESIDE: {}}}
    assert new('PATCH', path, forged).status == 400


def test_the_secret_of_what_does_not_exist_is_404(api: Api) -> None:
    new = api.at(V2_1)
    path = subscription_calls.make(new)
    other = path.replace('jobs', 'other')
    for method in ('GET', 'POST'):
        assert new(method, f'{other}/secret').status == 404
        assert new(method, f'{path[:-1]}/secret').status == 404


@pytest.mark.proves('secrets of subscriptions')
def test_a_pre_signed_url_shows_no_secret(make_api: MakeApi) -> None:
    api = make_api('[signed_url]\nsecret_key = a key of some length\n')
    new = api.at(V2_1)
    path = subscription_calls.make(new)
    methods = ['GET', 'POST']
    share = {'paths': ['subscriptions'], 'methods': methods}
    grant = new('POST', f'{subscription_calls.QUEUE}/share', share).json
    signed = {
        'URL-Signature': grant['signature'],
        'URL-Expires': grant['expires'],
        'URL-Methods': ','.join(grant['methods']),
        'URL-Paths': ','.join(grant['paths']),
        'X-Project-ID': grant['project'],
    }
    assert new('GET', path, headers=signed).status == 200
    for method in methods:
        assert new(method, f'{path}/secret', headers=signed).status == 403
