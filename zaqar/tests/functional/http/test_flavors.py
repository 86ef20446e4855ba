# SPDX-License-Identifier: Apache-2.0
"""Flavors and their management: reference/http, "Flavors"."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import POOLED, MakeApi

FAST = '/v2/flavors/fast'

#: What the driver of the test's pools promises.
CAPABILITIES = ['FIFO', 'CLAIMS', 'DURABILITY', 'AOD']


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """An application with three pools and no virtual pool."""
    client = make_api(POOLED).as_admin()
    for name in ('east', 'north', 'west'):
        pools.make(client, name)
    return client


def _tags(api: Api) -> dict[str, str | None]:
    listed = api('GET', '/v2/pools').json['pools']
    return {pool['name']: pool['flavor'] for pool in listed}


def test_a_flavor_is_its_pools_and_what_they_promise(api: Api) -> None:
    document = {'pool_list': ['west', 'east'], 'capabilities': {'x': 1}}
    answer = api('PUT', FAST, document)
    assert (answer.status, answer.body) == (201, b'')
    assert answer.headers['location'] == FAST
    assert api('GET', FAST).json == {
        'name': 'fast',
        'capabilities': CAPABILITIES,
        'pool_list': ['east', 'west'],
        'href': FAST,
    }
    assert _tags(api) == {'east': 'fast', 'north': None, 'west': 'fast'}


def test_put_again_leaves_only_the_pools_that_it_names(api: Api) -> None:
    pools.flavor(api, 'fast', 'east', 'west')
    pools.flavor(api, 'fast', 'north', 'west')
    assert _tags(api) == {'east': None, 'north': 'fast', 'west': 'fast'}


def test_patch_tags_the_new_and_untags_the_dropped(api: Api) -> None:
    pools.flavor(api, 'fast', 'east', 'west')
    answer = api('PATCH', FAST, {'pool_list': ['west', 'north'], 'x': 1})
    assert answer.status == 200
    assert answer.json == {
        'name': 'fast',
        'capabilities': CAPABILITIES,
        'pool_list': ['west', 'north'],
        'href': FAST,
    }
    assert _tags(api) == {'east': None, 'north': 'fast', 'west': 'fast'}


def test_a_pool_that_is_named_in_another_flavor_moves_there(api: Api) -> None:
    pools.flavor(api, 'fast', 'east', 'west')
    pools.flavor(api, 'safe', 'west')
    assert api('GET', FAST).json['pool_list'] == ['east']
    assert api('GET', '/v2/flavors/safe').json['pool_list'] == ['west']


def test_deleting_a_flavor_frees_its_pools_and_can_be_repeated(
    api: Api,
) -> None:
    pools.flavor(api, 'fast', 'east', 'west')
    for _ in range(2):
        answer = api('DELETE', FAST)
        assert (answer.status, answer.body) == (204, b'')
    assert api('GET', FAST).status == 404
    assert _tags(api) == {'east': None, 'north': None, 'west': None}


@pytest.mark.parametrize(
    'document',
    [
        {},
        {'pool_list': 'east'},
        {'pool_list': None},
        {'pool_list': {}},
        {'pool_list': [1]},
        {'pool_list': ['east'], 'capabilities': []},
        {'pool_list': ['east'], 'pool_group': 'g'},
        {'pool_list': ['east'], 'pool': 'east'},
    ],
)
def test_a_body_of_another_shape_is_refused(
    api: Api, document: dict[str, Any]
) -> None:
    answer = api('PUT', FAST, document)
    assert answer.is_error(400, 'Invalid request body')
    assert api('GET', FAST).status == 404


def test_patch_needs_a_pool_list(api: Api) -> None:
    pools.flavor(api, 'fast', 'east')
    answer = api('PATCH', FAST, {'capabilities': {}})
    assert answer.is_error(400, 'Invalid request body')
    assert answer.description == '`pool_list` needs to be specified'


def test_a_flavor_needs_a_pool(api: Api) -> None:
    answer = api('PUT', FAST, {'pool_list': []})
    assert answer.is_error(400, 'Unable to create', 'Bad Request')
    pools.flavor(api, 'fast', 'east')
    assert api('PATCH', FAST, {'pool_list': []}).status == 400
    assert api('GET', FAST).json['pool_list'] == ['east']


def test_an_unknown_pool_is_told_and_nothing_is_changed(api: Api) -> None:
    answer = api('PUT', FAST, {'pool_list': ['east', 'south']})
    assert answer.json == {
        'title': 'Unable to create',
        'description': 'Flavor fast could not be created, error:Pool south '
        'does not exist',
    }
    assert answer.status == 400
    assert api('GET', FAST).status == 404
    pools.flavor(api, 'fast', 'west')
    answer = api('PATCH', FAST, {'pool_list': ['east', 'south']})
    assert answer.json == {
        'title': 'updatefail',
        'description': 'Flavor fast cant be updated, error:Pool south does '
        'not exist',
    }
    assert answer.status == 400
    assert _tags(api) == {'east': None, 'north': None, 'west': 'fast'}


@pytest.mark.parametrize('method', ['GET', 'PATCH'])
def test_an_unknown_flavor_is_404(api: Api, method: str) -> None:
    answer = api(method, FAST, {'pool_list': ['east']})
    assert answer.is_error(404, 'Not found')
    assert answer.description == 'Flavor fast does not exist'


def test_flavors_are_listed_by_name_page_by_page(api: Api) -> None:
    for name, pool in (('b', 'east'), ('a', 'west'), ('C', 'north')):
        pools.flavor(api, name, pool)
    first = api('GET', '/v2/flavors?limit=2&detailed=true')
    assert first.headers['content-location'] == (
        '/v2/flavors?limit=2&detailed=true'
    )
    assert first.json == {
        'flavors': [
            {
                'name': name,
                'pool_list': [pool],
                'href': f'/v2/flavors/{name}',
                'capabilities': CAPABILITIES,
            }
            for name, pool in (('C', 'north'), ('a', 'west'))
        ],
        'links': [
            {
                'rel': 'next',
                'href': '/v2/flavors?limit=2&detailed=true&marker=a',
            }
        ],
    }
    second = api('GET', first.json['links'][0]['href']).json
    assert [flavor['name'] for flavor in second['flavors']] == ['b']
    last = api('GET', second['links'][0]['href']).json
    assert last == {'flavors': [], 'links': []}


def test_a_list_shows_capabilities_only_in_detail(api: Api) -> None:
    pools.flavor(api, 'fast', 'east')
    shown = api('GET', '/v2/flavors').json['flavors'][0]
    assert set(shown) == {'name', 'href', 'pool_list'}


def test_a_flavor_without_pools_is_listed_with_none(api: Api) -> None:
    pools.flavor(api, 'fast', 'east')
    api('PATCH', '/v2/pools/east', {'flavor': ''})
    assert api('GET', '/v2/flavors').json['flavors'] == [
        {'name': 'fast', 'pool_list': [], 'href': FAST}
    ]
    assert api('GET', FAST).json['pool_list'] == []


def test_anyone_may_see_the_flavors_of_others_by_name(api: Api) -> None:
    pools.flavor(api, 'fast', 'east')
    other = Api(api.service, api.clock, project='another')
    assert other('GET', FAST).json['pool_list'] == ['east']
    assert other('GET', '/v2/flavors').json['flavors'] == []
    assert other('PUT', '/v2/queues/q', {'_flavor': 'fast'}).status == 201


def test_the_flavor_of_another_project_is_changed_not_doubled(
    api: Api,
) -> None:
    pools.flavor(api, 'fast', 'east')
    other = api.as_project('another')
    assert other('PATCH', FAST, {'pool_list': ['west']}).status == 200
    assert other('DELETE', FAST).status == 204
    assert api('GET', FAST).json['pool_list'] == ['west']
    assert api('DELETE', FAST).status == 204
    assert other('GET', FAST).status == 404


def test_a_flavor_that_two_projects_have_keeps_its_pools_until_both_let_go(
    api: Api,
) -> None:
    other = api.as_project('another')
    pools.flavor(api, 'fast', 'east')
    pools.flavor(other, 'fast', 'east', 'west')
    assert api('DELETE', FAST).status == 204
    assert other('GET', FAST).json['pool_list'] == ['east', 'west']
    assert other('DELETE', FAST).status == 204
    assert set(_tags(api).values()) == {None}
