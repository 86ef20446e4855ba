# SPDX-License-Identifier: Apache-2.0
"""Attempts of deliveries: reference/delivery, "Attempts"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from zaqar.controllers import (
    delivery_attempt_history,
    outbox_notices,
    subscription_statistics_record,
)
from zaqar.controllers.delivery_attempt_history import Attempt, Outcome
from zaqar.microversion_constants import V2_0, V2_1
from zaqar.objects import NewMessage, Scope
from zaqar.storage.abstract_stores import GIVEN_UP, OUTBOX
from zaqar.tests.functional.http import subscription_calls
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import MakeApi

NOTICE = 'f' * 32


@pytest.fixture
def new(api: Api) -> Api:
    """Somebody who asks in the version that has attempts."""
    return api.at(V2_1)


def attempt(number: int, outcome: Outcome, **more: Any) -> Attempt:
    """Return an attempt that was made some seconds after the start."""
    at = 1_800_000_000_000 + number * 1000
    return Attempt(f'{NOTICE}.{number}', at, 1, outcome, **more)


def record(api: Api, path: str, attempts: Sequence[Attempt]) -> str:
    """Record attempts as notifiers do; return how their ids begin."""
    key = Scope(api.project, 'jobs'), path.rpartition('/')[2]
    rows = [one.row() for one in attempts]
    subscription_statistics_record.change(
        api.service.catalogue.management,
        key,
        lambda data: {**data, delivery_attempt_history.MEMBER: rows},
    )
    return delivery_attempt_history.prefix(key)


def keep(api: Api) -> dict[str, str]:
    """Keep a delivery that was given up; return where it is."""
    ((pool, opener),) = api.service.catalogue.outboxes().items()
    store = opener()
    kept = NewMessage(body=b'{}', ttl=60, rnd='0' * 16, client='c')
    now = store.clock.now()
    (copy_id,) = store.post(GIVEN_UP, [kept], now=now, token='t')
    return {'pool': pool, 'copy_id': copy_id}


def requests(api: Api) -> list[Any]:
    """Return what notifiers are to do."""
    store = api.service.catalogue.messages
    page = store.list(OUTBOX, now=store.clock.now(), limit=10)
    cipher = api.service.internal.cipher
    return [outbox_notices.read(cipher, one) for one in page.messages]


def test_attempts_are_shown_the_newest_first(new: Api) -> None:
    path = subscription_calls.make(new, ttl=8 * 86_400)
    start = record(
        new,
        path,
        [
            attempt(1, 'delivered', http_status=204, duration_ms=7),
            attempt(
                2,
                'retried',
                http_status=503,
                error='answered 503',
                next_at=1_800_000_060_000,
            ),
            attempt(3, 'given_up', error='timed out'),
        ],
    )
    new.clock.move(60)
    page = new('GET', f'{path}/attempts').json
    assert page['attempts'] == [
        {
            'id': f'{start}{NOTICE}.3',
            'at': '2027-01-15T08:00:03.000Z',
            'attempt': 1,
            'outcome': 'given_up',
            'http_status': None,
            'duration_ms': 0,
            'error': 'timed out',
            'next_attempt_at': None,
        },
        {
            'id': f'{start}{NOTICE}.2',
            'at': '2027-01-15T08:00:02.000Z',
            'attempt': 1,
            'outcome': 'retried',
            'http_status': 503,
            'duration_ms': 0,
            'error': 'answered 503',
            'next_attempt_at': '2027-01-15T08:01:00.000Z',
        },
        {
            'id': f'{start}{NOTICE}.1',
            'at': '2027-01-15T08:00:01.000Z',
            'attempt': 1,
            'outcome': 'delivered',
            'http_status': 204,
            'duration_ms': 7,
            'error': None,
            'next_attempt_at': None,
        },
    ]
    some = new('GET', f'{path}/attempts?state=retried').json['attempts']
    assert some == page['attempts'][1:2]
    # Page by page.
    href, seen = f'{path}/attempts?limit=2', []
    while (part := new('GET', href).json)['attempts']:
        seen += part['attempts']
        (link,) = part['links']
        href = link['href']
    assert (seen, part['links']) == (page['attempts'], [])
    for query in ('state=lost', 'limit=101', 'limit=0', 'limit=x'):
        assert new('GET', f'{path}/attempts?{query}').status == 400
    assert new('GET', f'{path}/attempts?marker=x').json['attempts'] == []
    assert new('GET', f'{path[:-1]}/attempts').status == 404
    assert new.at(V2_0)('GET', f'{path}/attempts').status == 404
    new.clock.move(7 * 86_400)
    assert new('GET', f'{path}/attempts').json['attempts'] == []


def test_only_what_was_given_up_and_is_kept_is_sent_again(new: Api) -> None:
    path = subscription_calls.make(new)
    kept = keep(new)
    start = record(
        new,
        path,
        [
            attempt(1, 'given_up', **kept),
            attempt(2, 'given_up', **{**kept, 'copy_id': '0' * 32}),
            attempt(3, 'given_up'),
            attempt(4, 'retried'),
            attempt(5, 'delivered'),
        ],
    )
    new.clock.move(9)
    for number, status in ((2, 409), (3, 409), (4, 409), (5, 409), (6, 404)):
        one = f'{path}/attempts/{start}{NOTICE}.{number}/resend'
        assert new('POST', one).status == status
    one = f'{path}/attempts/{start}{NOTICE}.1/resend'
    assert new.at(V2_0)('POST', one).status == 404
    answer = new('POST', one)
    assert (answer.status, answer.body) == (202, b'')
    (request,) = requests(new)
    assert request.delivery == kept['copy_id']
    assert request.subscription == path.rpartition('/')[2]


@pytest.mark.parametrize(
    'document',
    [
        {},
        [],
        {'marker': 5},
        {'marker': ''},
        {'since': 5},
        {'since': '2027-01-15'},
        {'marker': 'x', 'since': '2027-01-15T08:00:00Z'},
        {'since': '2027-01-15T08:00:00Z', 'more': 1},
    ],
    ids=str,
)
def test_a_malformed_replay_is_400(new: Api, document: Any) -> None:
    path = subscription_calls.make(new)
    assert new('POST', f'{path}/replay', document).status == 400
    assert requests(new) == []


def test_a_replay_is_requested_once_a_minute(new: Api) -> None:
    path = f'{subscription_calls.make(new)}/replay'
    since = {'since': '2027-01-15T09:00:01.5+01:00'}
    answer = new('POST', path, since)
    assert (answer.status, answer.body) == (202, b'')
    assert new('POST', path, {'marker': 'x'}).status == 409
    new.clock.move(60)
    assert new('POST', path, {'marker': 'x'}).status == 202
    first, second = requests(new)
    assert (first.since, first.marker) == (1_800_000_001_500, None)
    assert (second.since, second.marker) == (0, 'x')
    assert new.at(V2_0)('POST', path, since).status == 404
    assert new('POST', path.replace('jobs', 'other'), since).status == 404


def test_without_notifiers_nothing_is_sent_again(make_api: MakeApi) -> None:
    new = make_api('[storage]\nmessage_pipeline =\n').at(V2_1)
    path = subscription_calls.make(new)
    document = {'marker': 'x'}
    assert new('POST', f'{path}/replay', document).status == 400
    assert new('POST', f'{path}/attempts/x/resend').status == 400
