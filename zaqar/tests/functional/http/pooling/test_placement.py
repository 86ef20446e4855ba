# SPDX-License-Identifier: Apache-2.0
"""Which pool a queue is in: reference/storage, "Pools and flavors"."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from zaqar.pools import pool_selection, registered_and_virtual_pools
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import PATCH, Api
from zaqar.tests.functional.http.conftest import POOLED, MakeApi
from zaqar.tests.servers.sql import SqlServer
from zaqar.tests.servers.zaqar import Zaqar, with_database

pytestmark = pytest.mark.every_engine

QUEUE = '/v2/queues/q'


# Which pool.


def test_a_pool_of_weight_0_gets_no_queue(api: Api) -> None:
    pools.make(api, 'east', weight=0)
    pools.make(api, 'west', weight=1)
    for number in range(20):
        api('PUT', f'/v2/queues/q{number}')
        assert pools.pool_of(api, f'q{number}') == 'west'


def test_queues_are_shared_out_by_weight(api: Api) -> None:
    pools.make(api, 'east', weight=1)
    pools.make(api, 'west', weight=9)
    every = pools.catalogue(api).pools
    chosen = [pool_selection.choose(every, None) for _ in range(2000)]
    # Six times the deviation of the binomial distribution.
    assert 120 < chosen.count('east') < 280


def test_messages_are_in_the_pool_of_their_queue_and_nowhere_else(
    api: Api,
) -> None:
    pools.make(api, 'east', weight=1)
    pools.make(api, 'west', weight=0)
    api.post('q', 1, 2, 3)
    assert pools.holds(api, 'east') == 3
    assert pools.holds(api, 'west') == 0
    assert pools.holds(api, 'zaqar') == 0
    assert api('GET', f'{QUEUE}/stats').json['messages']['total'] == 3


@pytest.mark.parametrize('weights', [[], [0], [0, 0]])
def test_without_a_pool_no_queue_can_be_made(
    api: Api, weights: list[int]
) -> None:
    for number, weight in enumerate(weights):
        pools.make(api, f'p{number}', weight=weight)
    messages = {'messages': [{'body': 1}]}
    for answer in (
        api('PUT', QUEUE),
        api('POST', f'{QUEUE}/messages', messages),
    ):
        assert answer.is_error(
            403,
            'No pool for the queue',
            'There is no pool for queues without a flavor. An administrator '
            'has to create one with a weight above 0.',
        )
    assert api('GET', '/v2/queues').json['queues'] == []
    assert api('GET', f'{QUEUE}/messages').json['messages'] == []


def test_a_queue_that_exists_needs_no_pool_to_be_put_again(api: Api) -> None:
    pools.make(api, 'east')
    assert api('PUT', QUEUE).status == 201
    api('PATCH', '/v2/pools/east', {'weight': 0})
    assert api('PUT', QUEUE).status == 204


def test_a_flavor_leads_to_its_pools(api: Api) -> None:
    pools.make(api, 'east', weight=1000)
    pools.make(api, 'west', weight=1)
    pools.flavor(api, 'fast', 'west')
    for number in range(10):
        api('PUT', f'/v2/queues/f{number}', {'_flavor': 'fast'})
        api('PUT', f'/v2/queues/n{number}')
        assert pools.pool_of(api, f'f{number}') == 'west'
        # Without a flavor: only pools without one.
        assert pools.pool_of(api, f'n{number}') == 'east'


@pytest.mark.parametrize('flavor', ['slow', 7, True, [], 'a b', 'x' * 500])
def test_an_unknown_flavor_is_400_on_put(api: Api, flavor: Any) -> None:
    pools.make(api, 'east')
    answer = api('PUT', QUEUE, {'_flavor': flavor or ['x']})
    assert answer.is_error(400, 'Invalid API request', 'does not exist')
    assert api('GET', '/v2/queues').json['queues'] == []


def test_the_answer_to_an_unknown_flavor_names_it(api: Api) -> None:
    pools.make(api, 'east')
    answer = api('PUT', QUEUE, {'_flavor': 'slow'})
    assert answer.description == 'Flavor slow does not exist'
    api('PUT', QUEUE)
    answer = pools.set_flavor(api, 'q', 'slow')
    assert answer.is_error(404, 'Not found')
    assert answer.description == 'Flavor slow does not exist'
    assert '_flavor' not in api('GET', QUEUE).json


def test_a_flavor_without_a_pool_to_choose_is_403(api: Api) -> None:
    pools.make(api, 'east')
    pools.make(api, 'west', weight=0)
    pools.flavor(api, 'fast', 'west')
    answer = api('PUT', QUEUE, {'_flavor': 'fast'})
    assert answer.is_error(403, 'No pool for the queue')
    assert 'of the flavor fast' in answer.description
    assert api('GET', '/v2/queues').json['queues'] == []


def test_without_pooling_a_flavor_is_stored_unchecked(
    make_api: MakeApi,
) -> None:
    api = make_api()
    assert api('PUT', QUEUE, {'_flavor': 'slow'}).status == 201
    assert api('GET', QUEUE).json['_flavor'] == 'slow'
    assert pools.set_flavor(api, 'q', 'other').status == 200


def test_topics_are_in_pools_too(api: Api) -> None:
    pools.make(api, 'east')
    document = {'messages': [{'body': 1}]}
    assert api('POST', '/v2/topics/q/messages', document).status == 201
    assert pools.holds(api, 'east') == 1
    assert api('DELETE', '/v2/pools/east').status == 403
    api('DELETE', '/v2/topics/q')
    pools.tell(api, 'east')
    assert api('DELETE', '/v2/pools/east').status == 204


# The virtual pool.


def test_without_pools_the_configured_store_is_used_if_it_may_be(
    whole: Api,
) -> None:
    whole.post('q', 1)
    assert pools.pool_of(whole, 'q') == registered_and_virtual_pools.VIRTUAL
    assert pools.holds(whole, 'zaqar') == 1


def test_a_queue_of_the_virtual_pool_stays_there_when_pools_are_added(
    whole: Api,
) -> None:
    whole.post('q', 1)
    pools.make(whole, 'east')
    whole('PUT', QUEUE, {'a': 1})
    whole(
        'PATCH',
        QUEUE,
        [{'op': 'add', 'path': '/metadata/a', 'value': 2}],
        headers={'Content-Type': PATCH},
    )
    whole.post('q', 2)
    assert whole.bodies('q') == [1, 2]
    whole.post('new', 3)
    assert (pools.holds(whole, 'zaqar'), pools.holds(whole, 'east')) == (2, 1)


def test_the_virtual_pool_has_no_flavor(whole: Api) -> None:
    pools.make(whole, 'east', weight=0)
    pools.flavor(whole, 'fast', 'east')
    assert whole('PUT', QUEUE, {'_flavor': 'fast'}).status == 403


def test_no_pool_can_be_called_as_the_virtual_one(whole: Api) -> None:
    document = {'uri': pools.uri(whole, 'a'), 'weight': 1}
    answer = whole(
        'PUT', f'/v2/pools/{registered_and_virtual_pools.VIRTUAL}', document
    )
    assert answer.status == 400


def test_queues_from_before_there_were_pools_are_where_they_were(
    make_api: MakeApi,
) -> None:
    before = make_api()
    before.post('q', 1)
    folder = before.service.conf.state_path
    after = make_api(f'{POOLED}state_path = {folder}\n').as_admin()
    pools.make(after, 'east')
    assert after.bodies('q') == [1]
    after.post('q', 2)
    assert after.bodies('q') == [1, 2]
    assert pools.holds(after, 'east') == 0


# What never happens to the messages of a queue.


def test_put_with_another_flavor_moves_nothing(api: Api) -> None:
    pools.make(api, 'east')
    pools.make(api, 'west')
    pools.flavor(api, 'fast', 'west')
    api.post('q', 1)
    for _ in range(3):
        assert api('PUT', QUEUE, {'_flavor': 'fast'}).status == 204
        assert api.bodies('q') == [1]
    assert '_flavor' not in api('GET', QUEUE).json


def test_patches_of_anything_but_the_flavor_move_nothing(api: Api) -> None:
    pools.make(api, 'east')
    pools.flavor(api, 'fast', 'east')
    api('PUT', QUEUE, {'_flavor': 'fast'})
    api.post('q', 1)
    pools.make(api, 'west', weight=1000)
    # Now the pool of the queue has another flavor than the queue.
    pools.flavor(api, 'other', 'east')
    for number in range(5):
        change = {'op': 'add', 'path': '/metadata/a', 'value': number}
        same = {'op': 'replace', 'path': '/metadata/_flavor', 'value': 'fast'}
        answer = api(
            'PATCH', QUEUE, [change, same], headers={'Content-Type': PATCH}
        )
        assert answer.status == 200
        assert api.bodies('q') == [1]
    assert pools.pool_of(api, 'q') == 'east'


def test_new_pools_leave_queues_where_they_are(api: Api, twin: Api) -> None:
    pools.make(api, 'east')
    api.post('q', 1)
    for name in ('west', 'north'):
        pools.make(api, name, weight=1000)
    api.post('q', 2)
    assert api.bodies('q') == [1, 2]
    assert twin.bodies('q') == [1, 2]


def test_after_a_restart_everything_is_where_it_was(
    make_api: MakeApi,
) -> None:
    first = make_api(POOLED).as_admin()
    pools.make(first, 'east')
    pools.make(first, 'west')
    for number in range(10):
        first.post(f'q{number}', number)
    folder = first.service.conf.state_path
    again = make_api(f'{POOLED}state_path = {folder}\n').as_admin()
    for number in range(10):
        assert again.bodies(f'q{number}') == [number]


def test_a_pool_that_is_retired_by_weight_keeps_serving_its_queues(
    api: Api,
) -> None:
    pools.make(api, 'east')
    api.post('q', 1)
    pools.make(api, 'west')
    api('PATCH', '/v2/pools/east', {'weight': 0})
    api.post('q', 2)
    assert api.bodies('q') == [1, 2]


def test_a_deleted_queue_is_gone_from_its_pool(api: Api) -> None:
    pools.make(api, 'east')
    api.post('q', 1)
    assert api('DELETE', QUEUE).status == 204
    assert api.bodies('q') == []
    api.post('q', 2)
    assert api.bodies('q') == [2]


# A server as a pool.


def test_a_pool_may_be_a_postgresql_database(
    api: Api, postgresql: SqlServer, tmp_path: pathlib.Path
) -> None:
    url = postgresql.database()
    folder = tmp_path / 'migration'
    folder.mkdir()
    migrated = Zaqar(folder, rest=with_database(url))
    done = migrated.run('upgrade', 'head', program='sql_db_manage')
    assert done.returncode == 0, done.stderr
    pools.make(api, 'north', uri=url)
    pools.make(api, 'east')
    pools.flavor(api, 'safe', 'north')
    api('PUT', QUEUE, {'_flavor': 'safe'})
    api.post('q', 1, 2)
    assert api.claim('q').status == 201
    assert api('GET', f'{QUEUE}/stats').json['messages']['claimed'] == 2
    assert pools.holds(api, 'east') == pools.holds(api, 'zaqar') == 0
    assert api('GET', '/v2/ping').status == 204
    assert api('DELETE', '/v2/pools/north').status == 403


def test_a_database_without_tables_is_no_pool(
    api: Api, postgresql: SqlServer
) -> None:
    url = postgresql.database()
    answer = api('PUT', '/v2/pools/north', {'uri': url, 'weight': 1})
    assert answer.is_error(400, 'Invalid request body', 'cannot connect to')
