# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that exist: reference/http, "Subscriptions"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zaqar.controllers import subscription_records
from zaqar.errors import StoreUnavailable
from zaqar.tests.functional.http import subscription_calls
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.subscription_calls import ALL, HOOK, QUEUE

pytestmark = pytest.mark.every_engine

# Listing.


def test_subscriptions_are_listed_in_the_order_of_creation(
    api: Api,
) -> None:
    names = [f'http://{name}' for name in 'cab']
    for name in names:
        subscription_calls.make(api, subscriber=name)
        api.clock.move(0.001)
    assert subscription_calls.listed(api) == names


def test_pages_link_on_until_one_is_empty(api: Api) -> None:
    for number in range(12):
        subscription_calls.make(api, subscriber=f'http://h{number:02}')
        api.clock.move(0.001)
    page = api('GET', ALL).json
    assert len(page['subscriptions']) == 10
    seen = []
    path = f'{ALL}?limit=5&detailed=true'
    while True:
        page = api('GET', path).json
        assert bool(page['links']) is bool(page['subscriptions'])
        if not page['links']:
            break
        seen += [one['subscriber'] for one in page['subscriptions']]
        path = page['links'][0]['href']
        assert path.startswith(f'{ALL}?limit=5&marker=')
    assert seen == [f'http://h{number:02}' for number in range(12)]


def test_a_missing_queue_has_none(api: Api) -> None:
    answer = api('GET', ALL)
    assert (answer.status, answer.json) == (
        200,
        {'subscriptions': [], 'links': []},
    )


@pytest.mark.parametrize('marker', ['x', 'f' * 32, '%00', '%C3%A9'])
def test_an_unknown_marker_gives_an_empty_page(api: Api, marker: str) -> None:
    subscription_calls.make(api)
    answer = api('GET', f'{ALL}?marker={marker}')
    assert answer.json == {'subscriptions': [], 'links': []}


@pytest.mark.parametrize('limit', ['0', '-1', '21'])
def test_a_limit_out_of_range_is_refused(api: Api, limit: str) -> None:
    answer = api('GET', f'{ALL}?limit={limit}')
    assert answer.is_error(
        400,
        'Invalid API request',
        'Limit must be at least 1 and may not be greater than 20.',
    )


def test_a_subscription_ends_at_the_second(api: Api) -> None:
    path = subscription_calls.make(api, ttl=60)
    api.clock.move(59.999)
    assert api('GET', path).status == 200
    api.clock.move(0.001)
    assert api('GET', path).status == 404
    assert api('PATCH', path, {'ttl': 60}).status == 404
    confirmed = {'confirmed': True}
    assert api('PUT', f'{path}/confirm', confirmed).status == 404
    assert subscription_calls.listed(api) == []


def test_expired_ones_do_not_shorten_a_page(api: Api) -> None:
    for number in range(150):
        subscription_calls.make(api, subscriber=f'http://dead{number}', ttl=60)
    api.clock.move(60)
    subscription_calls.make(api)
    assert subscription_calls.listed(api, '?limit=1') == [HOOK]


def test_a_list_of_a_process_whose_clock_errs_removes_none_that_lives(
    api: Api,
) -> None:
    subscription_calls.make(api, ttl=3600)
    api.clock.ahead = 7_200_000
    assert subscription_calls.listed(api) == []
    api.clock.ahead = 0
    assert subscription_calls.listed(api) == [HOOK]


def test_a_list_removes_a_bounded_number_of_expired_ones(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_records, 'BATCH', 10)
    monkeypatch.setattr(subscription_records, 'MAX_SCANNED', 20)
    for number in range(50):
        subscription_calls.make(api, subscriber=f'http://dead{number}', ttl=60)
    api.clock.move(60)
    subscription_calls.make(api)
    removed = []
    remove = subscription_records.remove

    def counted(*names: Any) -> Any:
        removed[-1] += 1
        return remove(*names)

    monkeypatch.setattr(subscription_records, 'remove', counted)
    href, subscribers = f'{ALL}?limit=5', []
    while href:
        removed.append(0)
        page = api('GET', href).json
        subscribers += [item['subscriber'] for item in page['subscriptions']]
        href = page['links'][0]['href'] if page['links'] else ''
    assert subscribers == [HOOK]
    assert removed == [20, 20, 10, 0]


# One of them.


@pytest.mark.parametrize('bad', ['x', 'f' * 32, '%00', '%C3%A9'])
def test_one_that_is_not_there(api: Api, bad: str) -> None:
    path = f'{ALL}/{bad}'
    answers = [
        api('GET', path),
        api('PATCH', path, {'ttl': 60}),
        api('PUT', f'{path}/confirm', {'confirmed': True}),
    ]
    for answer in answers:
        assert answer.is_error(404, 'Not found')
    if bad == 'x':
        assert answers[0].description == 'Subscription x does not exist'
    assert api('DELETE', path).status == 204


@pytest.mark.proves('ids are scoped')
def test_one_belongs_to_its_queue_and_project(api: Api) -> None:
    path = subscription_calls.make(api)
    item = path.split('/')[-1]
    elsewhere = f'/v2/queues/other/subscriptions/{item}'
    for who, where in ((api, elsewhere), (api.as_project('b'), path)):
        assert who('GET', where).status == 404
        assert who('PATCH', where, {'ttl': 60}).status == 404
        confirmed = {'confirmed': True}
        assert who('PUT', f'{where}/confirm', confirmed).status == 404
        assert who('DELETE', where).status == 204
    assert api('GET', path).json['confirmed'] is False


def test_an_update_changes_what_it_names(api: Api) -> None:
    path = subscription_calls.make(api, ttl=600, options={'a': 1})
    api.clock.move(100)
    answer = api('PATCH', path, {'ttl': 120, 'options': None, 'more': 1})
    assert (answer.status, answer.body) == (204, b'')
    assert answer.headers['location'] == path
    subscription = api('GET', path).json
    assert (
        subscription['ttl'],
        subscription['options'],
        subscription['age'],
    ) == (
        120,
        {'a': 1},
        100,
    )
    # The life begins anew.
    api.clock.move(119)
    assert api('GET', path).status == 200
    assert api('PATCH', path, {'options': {}}).status == 204
    assert api('GET', path).json['options'] == {}
    api.clock.move(1)
    assert api('GET', path).status == 404


@pytest.mark.parametrize('arguments', [(), ({},), ([],)])
def test_an_update_needs_something(api: Api, arguments: Any) -> None:
    answer = api('PATCH', subscription_calls.make(api), *arguments)
    assert answer.is_error(
        400, 'Invalid API request', 'No subscription to create.'
    )


def test_an_update_is_an_object(api: Api) -> None:
    answer = api('PATCH', subscription_calls.make(api), [1])
    assert answer.is_error(
        400, 'Invalid API request', 'Subscriptions must be a dict.'
    )


@pytest.mark.parametrize(
    'document', [{'other': 1}, {'ttl': None, 'options': None}]
)
def test_an_update_of_nothing_known_is_refused(
    api: Api, document: Any
) -> None:
    answer = api('PATCH', subscription_calls.make(api), document)
    assert answer.is_error(400, 'Unable to update subscription')


def test_a_new_subscriber_has_to_confirm_anew(api: Api) -> None:
    path = subscription_calls.make(api)
    api('PUT', f'{path}/confirm', {'confirmed': True})
    assert api('PATCH', path, {'subscriber': 'http://new'}).status == 204
    subscription = api('GET', path).json
    assert (subscription['subscriber'], subscription['confirmed']) == (
        'http://new',
        False,
    )
    # The old one is free again, and the new one is taken.
    assert subscription_calls.make(api) != path
    assert subscription_calls.make(api, subscriber='http://new') == path


def test_a_subscriber_that_is_taken_is_a_conflict(api: Api) -> None:
    subscription_calls.make(api, subscriber='http://taken')
    path = subscription_calls.make(api)
    answer = api('PATCH', path, {'subscriber': 'http://taken'})
    assert answer.is_error(409, 'Resource conflict')
    assert api('GET', path).json['subscriber'] == HOOK
    same = {'subscriber': HOOK, 'ttl': 60, 'options': {}}
    assert api('PATCH', path, same).status == 204


def test_a_subscriber_that_has_expired_is_not_taken(api: Api) -> None:
    subscription_calls.make(api, subscriber='http://gone', ttl=60)
    path = subscription_calls.make(api)
    api.clock.move(60)
    assert api('PATCH', path, {'subscriber': 'http://gone'}).status == 204
    assert subscription_calls.listed(api) == ['http://gone']
    assert subscription_calls.make(api, subscriber='http://gone') == path


def _between(
    api: Api, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]
) -> None:
    """Have something happen right before a change is stored."""
    management = api.service.catalogue.management
    store = management.replace

    def stored(kind: str, *place: Any, **more: Any) -> bool:
        if kind == 'subscription':
            monkeypatch.setattr(management, 'replace', store)
            act()
        return store(kind, *place, **more)

    monkeypatch.setattr(management, 'replace', stored)


def test_the_same_change_twice_at_once_keeps_the_subscriber_taken(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = subscription_calls.make(api)
    new = {'subscriber': 'http://new'}
    _between(api, monkeypatch, lambda: api('PATCH', path, new))
    assert api('PATCH', path, new).status == 204
    assert subscription_calls.make(api, **new) == path
    assert subscription_calls.listed(api) == ['http://new']


def test_a_subscription_that_ends_while_it_is_changed_keeps_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = subscription_calls.make(api)
    new = {'subscriber': 'http://new'}
    _between(api, monkeypatch, lambda: api('DELETE', path))
    assert api('PATCH', path, new).status == 404
    api.clock.move(60)
    assert api('PATCH', subscription_calls.make(api), new).status == 204
    assert subscription_calls.listed(api) == ['http://new']


def test_a_change_that_died_half_way_is_no_subscription(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise StoreUnavailable

    path = subscription_calls.make(api)
    other = subscription_calls.make(api, subscriber='http://other')
    new = {'subscriber': 'http://new'}
    _between(api, monkeypatch, die)
    assert api('PATCH', path, new).status == 503
    # It may be under way still.
    assert subscription_calls.post(api, **new).status == 503
    assert api('PATCH', other, new).status == 409
    api.clock.move(60)
    fresh = subscription_calls.make(api, **new)
    assert fresh not in (path, other)
    assert subscription_calls.make(api, **new) == fresh
    assert sorted(subscription_calls.listed(api)) == [
        *sorted(['http://new', 'http://other']),
        HOOK,
    ]


def test_confirming_and_withdrawing(api: Api) -> None:
    path = subscription_calls.make(api)
    for wanted in (True, True, False, False, True):
        answer = api('PUT', f'{path}/confirm', {'confirmed': wanted})
        assert (answer.status, answer.body) == (204, b'')
        assert answer.headers['location'] == f'{path}/confirm'
        assert api('GET', path).json['confirmed'] is wanted
    assert api('POST', f'{path}/confirm', {}).status == 405


@pytest.mark.parametrize(
    'arguments',
    [(), ({},), ({'confirmed': 1},), ({'confirmed': None},)],
)
def test_a_confirmation_is_a_boolean(api: Api, arguments: Any) -> None:
    answer = api('PUT', f'{subscription_calls.make(api)}/confirm', *arguments)
    assert answer.is_error(
        400, 'Invalid API request', "The 'confirmed' should be boolean."
    )


def test_other_confirmations_are_refused(api: Api) -> None:
    path = f'{subscription_calls.make(api)}/confirm'
    answer = api('PUT', path, [])
    assert answer.is_error(400, 'Unable to confirm subscription')
    answer = api('PUT', path, raw=b'{')
    assert answer.is_error(
        400, 'Invalid request body', 'Request body could not be parsed.'
    )


# What outlives what.


def test_subscriptions_outlive_their_queue(api: Api) -> None:
    path = subscription_calls.make(api)
    api('DELETE', QUEUE)
    assert api('GET', path).status == 200
    api.post('jobs', 1)
    assert subscription_calls.listed(api) == [HOOK]


@pytest.mark.parametrize(
    ('types', 'left'),
    [
        (['subscriptions'], (0, 1)),
        (['messages'], (25, 0)),
        (['messages', 'subscriptions'], (0, 0)),
        ([], (25, 1)),
    ],
)
def test_a_purge_takes_all_of_what_it_names(
    api: Api, types: list[str], left: tuple[int, int]
) -> None:
    api.post('jobs', 1)
    for number in range(25):
        subscription_calls.make(api, subscriber=f'http://h{number}')
    document = {'resource_types': types}
    assert api('POST', f'{QUEUE}/purge', document).status == 204
    count = len(subscription_calls.listed(api, '?limit=20'))
    assert (min(count, 20), len(api.bodies('jobs'))) == (
        min(left[0], 20),
        left[1],
    )
    if not left[0]:
        # Nothing keeps them from subscribing again.
        subscription_calls.make(api, subscriber='http://h1')


def test_a_purge_without_a_body_takes_subscriptions_too(api: Api) -> None:
    subscription_calls.make(api)
    api('POST', f'{QUEUE}/purge')
    assert subscription_calls.listed(api) == []
