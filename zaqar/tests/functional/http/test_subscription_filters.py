# SPDX-License-Identifier: Apache-2.0
"""Filters of subscriptions: reference/delivery, "Filters"."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.controllers import subscription_filters, subscription_records
from zaqar.microversion_constants import V2_0, V2_1
from zaqar.objects import Scope
from zaqar.tests.functional.http import subscription_calls
from zaqar.tests.functional.http.client import Api

FILTER = {'kind': ['a', {'prefix': 'b'}], '$or': [{'/n/0': [1]}, {'m': [2]}]}


def _in_force(api: Api, path: str) -> bool:
    subscription = subscription_records.find(
        api.service.catalogue.management,
        Scope(api.project, 'jobs'),
        path.rpartition('/')[2],
        api.clock.now(),
    )
    assert subscription is not None
    return bool(subscription.options.get(subscription_filters.IN_FORCE))


@pytest.mark.parametrize(
    ('condition', 'part'),
    [
        ([], '_filter must be an object'),
        ('x', '_filter must be an object'),
        ({'a': 'x'}, "_filter['a'] must be a list"),
        ({'a': [{'like': 'x'}]}, "'like' is no operator"),
        ({'$and': [{'a': [1]}]}, 'reserved'),
        ({str(n): [1] for n in range(11)}, '10 names'),
        ({'a': list(range(101))}, '100 conditions'),
        ({'a': ['x' * 4096]}, '4096 bytes'),
    ],
)
def test_a_malformed_filter_is_refused_from_2_1_on(
    api: Api, condition: Any, part: str
) -> None:
    options = {'_filter': condition}
    new, old = api.at(V2_1), api.at(V2_0)
    refused = subscription_calls.post(new, options=options)
    assert refused.is_error(400, 'Invalid API request', part)
    assert api('GET', '/v2/queues').json['queues'] == []
    # In 2.0 it is an option without a meaning.
    path = subscription_calls.make(old, options=options)
    assert old('GET', path).json['options'] == options
    assert new('PATCH', path, {'options': options}).status == 400
    assert not _in_force(api, path)


def test_a_filter_is_in_force_once_2_1_has_set_it(api: Api) -> None:
    options = {'_filter': FILTER}
    new, old = api.at(V2_1), api.at(V2_0)
    path = subscription_calls.make(old, options=options)
    assert not _in_force(api, path)
    for client, change, is_in_force in (
        (new, {'options': options}, True),
        # Whoever returns what it was shown changes nothing.
        (old, {'options': {**options, 'more': 1}}, True),
        (old, {'ttl': 600}, True),
        (old, {'options': {'_filter': {'kind': ['b']}}}, False),
        (new, {'options': {'_filter': None}}, False),
        (new, {'options': {'_filter': {}}}, True),
        (old, {'options': {'more': 1}}, False),
    ):
        assert client('PATCH', path, change).status == 204
        assert _in_force(api, path) == is_in_force
        shown = new('GET', path).json['options']
        assert shown == change.get('options', shown)
        assert subscription_filters.IN_FORCE not in shown
    own = {'options': {subscription_filters.IN_FORCE: True}}
    assert new('PATCH', path, own).status == 400
    assert new('PATCH', path, {'options': {'_filter': {'a': 1}}}).status == 400
    assert new('GET', path).json['options'] == {'more': 1}


def test_statistics_tell_more_from_2_1_on(api: Api) -> None:
    path = f'{subscription_calls.make(api)}/deliveries'
    old = api.at(V2_0)('GET', path).json
    new = {'filtered': 0, 'pending': 0, 'oldest_pending_at': None}
    assert api.at(V2_1)('GET', path).json == {**old, **new}
    assert not new.keys() & old.keys()
