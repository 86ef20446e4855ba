# SPDX-License-Identifier: Apache-2.0
"""Quotas: what a project may have, who sees it and who sets it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from zaqar.controllers import approximate_quota_checks
from zaqar.microversion_constants import V2_1
from zaqar.tests.contract.crowd import each
from zaqar.tests.functional.http.client import PROJECT, Api, Response
from zaqar.tests.functional.http.conftest import MakeApi

pytestmark = pytest.mark.sqlite

FEW = """
[quotas]
queues = 3
topics = 3
subscriptions = 3
subscriptions_per_queue = 2
"""

SET = """
[quotas]
project_quotas = true
queues = 3
"""


@pytest.fixture
def limited(make_api: MakeApi) -> Api:
    """A service in which projects may have little."""
    return make_api(FEW)


def _is_refused(
    answer: Response, resource: str, limit: int, used: int | None = None
) -> bool:
    used = limit if used is None else used
    return answer.is_error(
        403,
        'Quota exceeded',
        f'Project {PROJECT} is over a limit for [Resource {resource} is over '
        f'limit of {limit} due to current usage {used} and delta 1]',
    )


def _subscribe(api: Api, number: int, queue: str = 'q') -> Response:
    path = f'/v2/queues/{queue}/subscriptions'
    there = {'subscriber': f'http://a.b/{number}', 'ttl': 60 + number}
    return api('POST', path, there)


@pytest.mark.parametrize('kind', ['queues', 'topics'])
def test_a_project_has_no_more_queues_than_it_may(
    limited: Api, kind: str
) -> None:
    for name in 'abc':
        assert limited('PUT', f'/v2/{kind}/{name}').status == 201
    assert _is_refused(limited('PUT', f'/v2/{kind}/d'), kind, 3)
    post = {'messages': [{'body': 1}]}
    path = f'/v2/{kind}/d/messages'
    assert _is_refused(limited('POST', path, post), kind, 3)
    # What exists stays usable, and others have quotas of their own.
    assert limited('PUT', f'/v2/{kind}/a').status == 204
    assert limited('POST', f'/v2/{kind}/a/messages', post).status == 201
    assert limited.as_project('other')('PUT', f'/v2/{kind}/d').status == 201
    limited('DELETE', f'/v2/{kind}/b')
    assert limited('POST', path, post).status == 201


def test_a_queue_has_no_more_subscriptions_than_it_may(limited: Api) -> None:
    first = _subscribe(limited, 1)
    assert (first.status, _subscribe(limited, 2).status) == (201, 201)
    refused = _subscribe(limited, 3)
    assert _is_refused(refused, 'subscriptions_per_queue', 2)
    # The subscriber is there already.
    assert _subscribe(limited, 1).json == first.json
    # Expired ones do not count.
    limited.clock.move(61)
    assert _subscribe(limited, 3).status == 201


def test_a_project_has_no_more_subscriptions_than_it_may(
    limited: Api,
) -> None:
    paths = [
        f'/v2/queues/{queue}/subscriptions/{answer.json["subscription_id"]}'
        for number, queue in enumerate('aab')
        for answer in [_subscribe(limited, number, queue)]
    ]
    assert _is_refused(_subscribe(limited, 9, 'b'), 'subscriptions', 3)
    # Nor does the queue come into being.
    assert _is_refused(_subscribe(limited, 9, 'c'), 'subscriptions', 3)
    names = limited('GET', '/v2/queues').json['queues']
    assert [queue['name'] for queue in names] == ['a', 'b']
    limited('DELETE', paths[0])
    assert _subscribe(limited, 9, 'c').status == 201
    limited('POST', '/v2/queues/a/purge')
    assert _subscribe(limited, 10, 'b').status == 201


def test_dead_letters_have_a_queue_whatever_the_quota(limited: Api) -> None:
    lost = {'_max_claim_count': 1, '_dead_letter_queue': 'dead'}
    limited('PUT', '/v2/queues/a', lost)
    for name in 'bc':
        limited('PUT', f'/v2/queues/{name}')
    limited.post('a', 1)
    for _ in range(2):
        claim = limited('POST', '/v2/queues/a/claims', {'ttl': 60})
        if claim.status == 201:
            limited('DELETE', claim.headers['location'])
    assert limited.bodies('dead') == [1]


def _creates_queue(api: Api) -> Callable[[int], int]:
    return lambda number: api('PUT', f'/v2/queues/q{number}').status


def _posts(api: Api) -> Callable[[int], int]:
    post = {'messages': [{'body': 1}]}
    return lambda number: (
        api('POST', f'/v2/topics/q{number}/messages', post).status
    )


def _subscribes(api: Api) -> Callable[[int], int]:
    return lambda number: _subscribe(api, number, 'q').status


@pytest.mark.parametrize(
    ('create', 'most'), [(_creates_queue, 3), (_posts, 3), (_subscribes, 2)]
)
def test_eight_creators_at_once_do_not_exceed_it(
    limited: Api, create: Callable[[Api], Callable[[int], int]], most: int
) -> None:
    statuses = each(create(limited), range(8))
    assert sorted(statuses) == [201] * most + [403] * (8 - most)


def _quotas(answer: Response) -> Any:
    assert answer.status == 200, answer
    return answer.json['quotas']


def test_a_project_sees_its_quotas_and_an_administrator_those_of_all(
    limited: Api,
) -> None:
    limited = limited.at(V2_1)
    limited('PUT', '/v2/queues/a')
    _subscribe(limited, 1, 'a')
    shown = limited('GET', '/v2/quotas')
    assert shown.json == {
        'project_id': PROJECT,
        'quotas': {
            'queues': {'limit': 3, 'usage': 1},
            'topics': {'limit': 3, 'usage': 0},
            'subscriptions': {'limit': 3, 'usage': 1},
            'subscriptions_per_queue': {'limit': 2, 'usage': None},
            'sockets': {'limit': -1, 'usage': 0},
            'message_bytes': {'limit': -1, 'usage': 0},
            'delivery_bytes': {'limit': -1, 'usage': 0},
        },
    }
    path = f'/v2/quotas/{PROJECT}'
    other = limited.as_project('other')
    assert other('GET', path).is_error(403, 'Not authorized')
    assert other.as_admin()('GET', path).json == shown.json
    assert other('GET', '/v2/quotas').json['project_id'] == 'other'


def test_an_administrator_sets_quotas(make_api: MakeApi) -> None:
    api = make_api(SET).at(V2_1)
    path = f'/v2/quotas/{PROJECT}'
    body = {'quotas': {'queues': 1, 'topics': 0}}
    assert api('PUT', path, body).is_error(403, 'Not authorized')
    quotas = _quotas(api.as_admin()('PUT', path, body))
    assert (quotas['queues']['limit'], quotas['topics']['limit']) == (1, 0)
    assert api('PUT', '/v2/queues/a').status == 201
    assert _is_refused(api('PUT', '/v2/queues/b'), 'queues', 1)
    assert _is_refused(api('PUT', '/v2/topics/b'), 'topics', 0)
    quotas = _quotas(
        api.as_admin()('PUT', path, {'quotas': {'queues': None, 'topics': -1}})
    )
    assert (quotas['queues']['limit'], quotas['topics']['limit']) == (3, -1)
    assert api('PUT', '/v2/queues/b').status == 201


@pytest.mark.parametrize(
    ('body', 'part'),
    [
        ({'quotas': {'queues': 1}}, 'queues cannot be 1: the project has 2'),
        ({'quotas': {'queues': -2}}, 'queues must be -1, for no limit, or'),
        ({'quotas': {'queues': 1.5}}, 'queues must be an integer or null'),
        ({'quotas': {'queues': True}}, 'queues must be an integer or null'),
        ({'quotas': {'disks': 3}}, 'There is no resource "disks"'),
        ({'quotas': {}}, 'needs the object "quotas"'),
        ({'limits': {'queues': 3}}, 'needs the object "quotas"'),
    ],
)
def test_a_quota_that_cannot_be_is_refused(
    make_api: MakeApi, body: Any, part: str
) -> None:
    api = make_api(SET).at(V2_1).as_admin()
    for name in 'ab':
        api('PUT', f'/v2/queues/{name}')
    before = _quotas(api('GET', '/v2/quotas'))
    answer = api('PUT', f'/v2/quotas/{PROJECT}', body)
    assert answer.is_error(400, 'Unable to update quotas', part)
    assert _quotas(api('GET', '/v2/quotas')) == before


def test_quotas_are_set_only_where_that_is_switched_on(
    limited: Api,
) -> None:
    answer = limited.at(V2_1).as_admin()(
        'PUT', f'/v2/quotas/{PROJECT}', {'quotas': {'queues': 9}}
    )
    assert answer.is_error(400, 'Unable to update quotas', 'project_quotas')


def test_a_project_stores_no_more_bytes_than_it_may(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api('[quotas]\nmessage_bytes = 1000\n')
    api.post('a', 'x' * 398)
    api.post('b', 'x' * 398)
    post = {'messages': [{'body': 'x' * 398}]}
    refused = api('POST', '/v2/queues/b/messages', post)
    assert refused.is_error(
        403,
        'Quota exceeded',
        'message_bytes is over limit of 1000 due to current usage 800 and '
        'delta 400',
    )
    assert len(api.bodies('b')) == 1
    shown = api.at(V2_1)('GET', '/v2/quotas').json['quotas']
    assert shown['message_bytes'] == {'limit': 1000, 'usage': 800}
    api('DELETE', '/v2/queues/a')
    # It is looked at again in the background, as soon as it is refused.
    monkeypatch.setattr(approximate_quota_checks, 'AGAIN', 0.0)
    end = time.monotonic() + 60
    while api('POST', '/v2/queues/b/messages', post).status != 201:
        assert time.monotonic() < end


def test_a_post_that_is_refused_uses_nothing(make_api: MakeApi) -> None:
    rates = '[rates]\nburst = 1000\nmessages = 0.006\n'
    api = make_api(f'[quotas]\nmessage_bytes = 1000\n{rates}')
    post = {'messages': [{'body': 'x' * 298}]}
    api('PUT', '/v2/queues/full', {'_max_messages': 1})
    api.post('full', 1)
    for _ in range(4):
        full = api('POST', '/v2/queues/full/messages', post)
        assert full.is_error(403, 'Queue is full')
    assert api('POST', '/v2/queues/q/messages', post).status == 201
    for _ in range(4):
        assert api('POST', '/v2/queues/q/messages', post).status == 429


def test_a_repetition_of_a_post_uses_nothing(make_api: MakeApi) -> None:
    api = make_api('[quotas]\nmessage_bytes = 1000\n').at(V2_1)
    path, post = '/v2/queues/q/messages', {'messages': [{'body': 'x' * 398}]}
    for _ in range(4):
        again = api('POST', path, post, headers={'Idempotency-Key': 'k'})
        assert again.status == 201
    assert [api('POST', path, post).status for _ in range(2)] == [201, 403]
