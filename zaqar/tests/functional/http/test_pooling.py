# SPDX-License-Identifier: Apache-2.0
"""Queues in pools: reference/storage, "Pools and flavors"."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from zaqar import service_assembly
from zaqar.errors import QueueGone, StoreUnavailable
from zaqar.models import NewMessage, Scope
from zaqar.pools import (
    all_pools,
    pool_records,
    pool_selection,
    pooled_queue_catalogue,
)
from zaqar.storage.sqlalchemy import driver
from zaqar.storage.sqlalchemy.sqlite import SqliteDatabase
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import PATCH, Api
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL, MakeApi
from zaqar.tests.servers.sql import SqlServer
from zaqar.tests.servers.zaqar import Zaqar, with_database

QUEUE = '/v2/queues/q'

_CHANGE = [{'op': 'add', 'path': '/metadata/a', 'value': 1}]
_PATCH = {'Content-Type': PATCH}


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """An application with pools and no virtual pool."""
    return make_api(POOLED).as_admin()


@pytest.fixture
def twin(api: Api) -> Iterator[Api]:
    """Another process on the same stores, in effect."""
    built = service_assembly.Service(api.service.conf)
    yield Api(built, api.clock).as_admin()
    built.close()


def _catalogue(api: Api) -> Any:
    return api.service.catalogue


def _pool_of(api: Api, queue: str) -> str:
    """Return the pool that is recorded with a queue."""
    record = _catalogue(api).management.get('queue', api.project, queue)
    return str(record.data['pool'])


def _forget(api: Api) -> None:
    """Let time pass for what a process knows of queues."""
    catalogue = _catalogue(api)
    for record in catalogue.management.list(
        'queue', api.project, after=None, limit=1000
    ):
        catalogue.forget(Scope(api.project, record.name))


# Which pool.


def test_a_pool_of_weight_0_gets_no_queue(api: Api) -> None:
    pools.make(api, 'east', weight=0)
    pools.make(api, 'west', weight=1)
    for number in range(20):
        api('PUT', f'/v2/queues/q{number}')
        assert _pool_of(api, f'q{number}') == 'west'


def test_queues_are_shared_out_by_weight(api: Api) -> None:
    pools.make(api, 'east', weight=1)
    pools.make(api, 'west', weight=9)
    every = _catalogue(api).pools
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
        assert _pool_of(api, f'f{number}') == 'west'
        # Without a flavor: only pools without one.
        assert _pool_of(api, f'n{number}') == 'east'


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
    assert _pool_of(whole, 'q') == all_pools.VIRTUAL
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
    answer = whole('PUT', f'/v2/pools/{all_pools.VIRTUAL}', document)
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
    assert _pool_of(api, 'q') == 'east'


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


# Changing the flavor.


@pytest.fixture
def flavored(api: Api) -> Api:
    """An application with a flavor for each of two pools."""
    for flavor, pool in (('slow', 'east'), ('fast', 'west')):
        pools.make(api, pool)
        pools.flavor(api, flavor, pool)
    assert api('PUT', QUEUE, {'_flavor': 'slow'}).status == 201
    return api


def test_the_flavor_of_a_queue_with_messages_stays(flavored: Api) -> None:
    flavored.post('q', 1)
    answer = pools.set_flavor(flavored, 'q', 'fast')
    assert answer.is_error(409, 'Resource conflict', 'empty')
    assert flavored('GET', QUEUE).json['_flavor'] == 'slow'
    assert flavored.bodies('q') == [1]


@pytest.mark.parametrize('state', ['claimed', 'delayed'])
def test_messages_in_every_state_keep_a_queue_in_its_pool(
    flavored: Api, state: str
) -> None:
    flavored.post('q', 1, delay=60 if state == 'delayed' else 0)
    if state == 'claimed':
        assert flavored.claim('q').status == 201
    assert pools.set_flavor(flavored, 'q', 'fast').status == 409


def test_an_empty_queue_goes_where_its_new_flavor_is(flavored: Api) -> None:
    answer = pools.set_flavor(flavored, 'q', 'fast')
    assert answer.status == 200
    assert answer.json['_flavor'] == 'fast'
    assert _pool_of(flavored, 'q') == 'west'
    flavored.post('q', 1)
    assert (pools.holds(flavored, 'east'), pools.holds(flavored, 'west')) == (
        0,
        1,
    )
    assert flavored.bodies('q') == [1]


def test_a_queue_may_lose_its_flavor(flavored: Api) -> None:
    pools.make(flavored, 'north')
    change = [{'op': 'remove', 'path': '/metadata/_flavor'}]
    answer = flavored('PATCH', QUEUE, change, headers={'Content-Type': PATCH})
    assert answer.status == 200
    assert _pool_of(flavored, 'q') == 'north'


def test_a_flavor_without_a_pool_to_choose_changes_nothing(
    flavored: Api,
) -> None:
    flavored('PATCH', '/v2/pools/west', {'weight': 0})
    assert pools.set_flavor(flavored, 'q', 'fast').status == 403
    assert flavored('GET', QUEUE).json['_flavor'] == 'slow'
    assert _pool_of(flavored, 'q') == 'east'


def test_what_another_process_posts_to_the_former_pool_is_brought_along(
    flavored: Api, twin: Api
) -> None:
    # A post that was under way on the other one, and is stored late.
    catalogue = _catalogue(twin)
    former = catalogue.read(_scope(twin))
    store = catalogue.store(former)
    pools.set_flavor(flavored, 'q', 'fast')
    late = store.post(
        former.qid,
        [NewMessage(b'"late"', 60, 'f' * 16, flavored.client)],
        now=store.clock.now(),
        token='late',
    )
    assert pools.holds(flavored, 'east') == 1
    _forget(flavored)
    assert flavored.bodies('q') == ['late']
    shown = flavored('GET', f'{QUEUE}/messages/{late[0]}')
    assert shown.json['body'] == 'late'
    _forget(twin)
    assert twin.bodies('q') == ['late']
    assert pools.holds(flavored, 'west') == 1


def test_other_processes_post_to_the_new_pool_at_once(
    flavored: Api, twin: Api
) -> None:
    assert twin.bodies('q') == []
    pools.set_flavor(flavored, 'q', 'fast')
    twin.post('q', 'x')
    assert pools.holds(flavored, 'east') == 0
    assert pools.holds(flavored, 'west') == 1


def test_the_former_pool_is_let_go_after_a_while(flavored: Api) -> None:
    clock = pools.move_clock(flavored, 'east')
    pools.set_flavor(flavored, 'q', 'fast')
    flavored('DELETE', '/v2/flavors/slow')
    place = _catalogue(flavored).read(_scope(flavored)).former[0]
    clock.at = place.until - 1
    _forget(flavored)
    assert flavored.bodies('q') == []
    assert flavored('DELETE', '/v2/pools/east').status == 403
    clock.at = place.until
    _forget(flavored)
    assert flavored.bodies('q') == []
    assert _catalogue(flavored).read(_scope(flavored)).former == ()
    assert flavored('DELETE', '/v2/pools/east').status == 204


def _scope(api: Api) -> Scope:
    return Scope(api.project, 'q')


def test_messages_of_the_former_pool_go_with_a_deleted_queue(
    flavored: Api, twin: Api
) -> None:
    twin.bodies('q')
    pools.set_flavor(flavored, 'q', 'fast')
    place = _catalogue(flavored).find(_scope(flavored)).former[0]
    twin.post('q', 'late')
    flavored('DELETE', QUEUE)
    store = _catalogue(flavored).pools.store('east')
    with pytest.raises(QueueGone):
        store.stats(place.qid, now=store.clock.now())
    _forget(twin)
    assert flavored.bodies('q') == twin.bodies('q') == []
    flavored('DELETE', '/v2/flavors/slow')
    pools.tell(flavored, 'east')
    assert flavored('DELETE', '/v2/pools/east').status == 204


# Pools that come, change and go.


def test_a_change_of_a_pool_is_seen_by_other_processes(
    api: Api, twin: Api
) -> None:
    pools.make(api, 'east')
    api.post('q', 1)
    assert twin.bodies('q') == [1]
    # Its rows go elsewhere.
    pools.copy(api, 'east', 'moved')
    change = {'uri': pools.uri(api, 'moved')}
    assert api('PATCH', '/v2/pools/east', change).status == 200
    api.post('q', 2)
    assert api.bodies('q') == [1, 2]
    assert pools.holds(api, 'east') == 1
    _catalogue(twin).pools.stores.look_again('east')
    assert twin.bodies('q') == [1, 2]


@pytest.mark.sqlite
def test_options_of_two_pools_and_of_the_service_do_not_mix(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[str, set[str]] = {}

    def open_file(url: sa.URL, synchronous: str) -> SqliteDatabase:
        name = pathlib.Path(url.database or '').stem
        opened.setdefault(name, set()).add(synchronous)
        return SqliteDatabase(url, synchronous)

    monkeypatch.setattr(driver, 'SqliteDatabase', open_file)
    group = '[drivers:message_store:sqlalchemy]\nsqlite_synchronous = FULL\n'
    api = make_api(POOLED + VIRTUAL + group).as_admin()
    options = {'sqlite_synchronous': 'NORMAL'}
    pools.make(api, 'east', options=options)
    pools.make(api, 'west')
    for name in ('east', 'west', all_pools.VIRTUAL, 'east'):
        _catalogue(api).pools.store(name)
    assert opened == {'east': {'NORMAL'}, 'west': {'FULL'}, 'zaqar': {'FULL'}}
    assert (
        api.service.conf['drivers:message_store:sqlalchemy'].sqlite_synchronous
        == 'FULL'
    )


def test_a_pool_whose_folder_is_gone_fails_alone(api: Api) -> None:
    folder = pathlib.Path(api.service.conf.state_path) / 'away'
    folder.mkdir()
    pools.make(api, 'east', uri=f'sqlite:///{folder}/east.sqlite')
    api.post('far', 1)
    pools.make(api, 'west')
    api('PATCH', '/v2/pools/east', {'weight': 0})
    api.post('near', 2)
    hidden = folder.rename(f'{folder}-hidden')
    again = service_assembly.Service(api.service.conf)
    other = Api(again).as_admin()
    try:
        assert other.bodies('near') == [2]
        answer = other('GET', '/v2/queues/far/messages')
        assert answer.is_error(503, 'Service temporarily unavailable')
        assert other('GET', '/v2/ping').status == 503
        # Its weight can be changed all the same.
        change = {'weight': 3}
        assert other('PATCH', '/v2/pools/east', change).status == 200
        hidden.rename(folder)
        _catalogue(other).pools.stores.look_again('east')
        assert other.bodies('far') == [1]
        assert other('GET', '/v2/ping').status == 204
    finally:
        again.close()


def test_a_pool_that_is_down_gets_no_new_queue(api: Api) -> None:
    pools.make(api, 'east', weight=1)
    pools.make(api, 'west', weight=1000)
    records = _catalogue(api).pools.records
    there = records.get('west').uri
    records.change('west', {'uri': 'sqlite:////no/such/a'})
    for number in range(5):
        api.post(f'q{number}', 1)
        assert _pool_of(api, f'q{number}') == 'east'
    # With all of them down there is hope, hence 503 and no queue.
    records.change('east', {'weight': 0})
    assert api('PUT', QUEUE).status == 503
    listed = api('GET', '/v2/queues').json['queues']
    assert 'q' not in [queue['name'] for queue in listed]
    records.change('west', {'uri': there})
    assert api('PUT', QUEUE).status == 201
    assert _pool_of(api, 'q') == 'west'


def test_the_virtual_pool_takes_queues_while_the_others_are_down(
    whole: Api,
) -> None:
    pools.make(whole, 'east')
    _catalogue(whole).pools.records.change(
        'east', {'uri': 'sqlite:////no/such/a'}
    )
    whole.post('q', 1)
    assert pools.holds(whole, 'zaqar') == 1


def test_nothing_is_logged_of_a_pool_that_was_deleted_while_empty(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    pools.make(api, 'east')
    pools.make(api, 'west', weight=0)
    api.post('q', 1)
    # What goes through all pools may have begun before.
    opened = api.service.catalogue.outboxes()['west']
    assert api('DELETE', '/v2/pools/west').status == 204
    with pytest.raises(StoreUnavailable):
        opened()
    assert api.bodies('q') == [1]
    assert 'does not exist' not in caplog.text


def test_a_queue_whose_pool_is_missing_is_logged(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    _adopt(api, 'q', 'south')
    assert api('GET', f'{QUEUE}/stats').status == 503
    assert 'is in pool "south", which does not exist' in caplog.text


def test_ping_asks_every_pool(api: Api) -> None:
    assert api('GET', '/v2/ping').status == 204
    pools.make(api, 'east')
    pools.make(api, 'west')
    assert api('GET', '/v2/ping').status == 204
    record = _catalogue(api).management
    data = record.get('pool', '', 'west').data
    _catalogue(api).pools.records.change(
        'west', {'uri': 'sqlite:////no/such/a'}
    )
    assert api('GET', '/v2/ping').status == 503
    assert api('HEAD', '/v2/ping').status == 503
    _catalogue(api).pools.records.change('west', {'uri': data['uri']})
    assert api('GET', '/v2/ping').status == 204


def test_the_sweeper_sweeps_every_pool_that_answers(whole: Api) -> None:
    whole.post('virtual', 1)
    pools.make(whole, 'east')
    pools.make(whole, 'west', weight=0)
    pools.make(whole, 'north', weight=0)
    whole.post('east', 1)
    whole('PATCH', '/v2/pools/west', {'weight': 1})
    whole('PATCH', '/v2/pools/east', {'weight': 0})
    whole.post('west', 1)
    _catalogue(whole).pools.records.change(
        'north', {'uri': 'sqlite:////no/such/a'}
    )
    places = ('zaqar', 'east', 'west')
    assert [pools.holds(whole, name) for name in places] == [1, 1, 1]
    for name in ('east', 'west'):
        pools.move_clock(whole, name)
        whole('DELETE', f'/v2/queues/{name}')
    whole('DELETE', '/v2/queues/virtual')
    whole.clock.move(10 * 24 * 3600)
    _catalogue(whole).sweep(1000)
    assert [pools.holds(whole, name) for name in places] == [0, 0, 0]


# What the reference service has registered.


def _adopt(api: Api, queue: str, pool: str) -> None:
    management = _catalogue(api).management
    data = {'qid': f'{len(queue):032x}', 'metadata': {}}
    management.create('queue', api.project, queue, data)
    management.create('catalogue', api.project, queue, {'pool': pool})


def test_an_adopted_queue_is_where_its_catalogue_entry_says(
    api: Api,
) -> None:
    pools.make(api, 'east', weight=0)
    pools.make(api, 'west')
    _adopt(api, 'q', 'east')
    api.post('q', 1)
    assert (pools.holds(api, 'east'), pools.holds(api, 'west')) == (1, 0)
    change = [{'op': 'add', 'path': '/metadata/a', 'value': 1}]
    api('PATCH', QUEUE, change, headers={'Content-Type': PATCH})
    assert api.bodies('q') == [1]
    api('DELETE', QUEUE)
    api.post('q', 2)
    assert (pools.holds(api, 'west'), api.bodies('q')) == (1, [2])


def test_an_adopted_queue_whose_pool_is_missing_can_be_deleted(
    api: Api,
) -> None:
    _adopt(api, 'q', 'south')
    assert api('GET', f'{QUEUE}/stats').status == 503
    assert api('DELETE', QUEUE).status == 204
    assert api('GET', f'{QUEUE}/stats').json['messages']['total'] == 0


def test_an_adopted_pool_is_not_deleted(api: Api) -> None:
    # It may have queues of which it does not know yet.
    data = {
        'uri': pools.uri(api, 'old'),
        'weight': 1,
        'options': {},
        'flavor': None,
    }
    _catalogue(api).management.create('pool', '', 'old', data)
    assert api('DELETE', '/v2/pools/old').is_error(403, 'Unable to delete')
    api.post('q', 1)
    assert api.bodies('q') == [1]


# Races.


@pytest.mark.parametrize('is_stored', [False, True])
def test_a_move_whose_answer_is_lost_leaves_no_registration_behind(
    flavored: Api, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    management = _catalogue(flavored).management
    replace = management.replace

    def fail(*arguments: Any, **more: Any) -> bool:
        monkeypatch.setattr(management, 'replace', replace)
        if is_stored:
            replace(*arguments, **more)
        raise StoreUnavailable

    monkeypatch.setattr(management, 'replace', fail)
    assert pools.set_flavor(flavored, 'q', 'fast').status == 503
    assert management.replace == replace
    assert _pool_of(flavored, 'q') == ('west' if is_stored else 'east')
    record = management.get('queue', flavored.project, 'q')
    registered = _registered(flavored, 'west')
    assert registered == [record.data['qid']] * is_stored
    # It can be used as before.
    flavored.post('q', 1)
    assert flavored.bodies('q') == [1]
    assert pools.set_flavor(flavored, 'q', 'fast').status == (
        200 if is_stored else 409
    )


def test_a_move_that_was_prevented_is_not_made_later(
    flavored: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    management = _catalogue(flavored).management
    replace = management.replace
    late: list[Callable[[], bool]] = []

    def delay(*arguments: Any, **more: Any) -> bool:
        monkeypatch.setattr(management, 'replace', replace)
        late.append(partial(replace, *arguments, **more))
        raise StoreUnavailable

    monkeypatch.setattr(management, 'replace', delay)
    assert pools.set_flavor(flavored, 'q', 'fast').status == 503
    assert not late[0]()
    assert _pool_of(flavored, 'q') == 'east'
    assert _registered(flavored, 'west') == []


def test_whoever_comes_second_to_make_a_queue_leaves_no_registration(
    api: Api, twin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.make(api, 'east')
    management = _catalogue(api).management
    create = management.create

    def second(kind: str, *arguments: Any) -> bool:
        if kind == 'queue':
            monkeypatch.setattr(management, 'create', create)
            assert twin('PUT', QUEUE).status == 201
        return bool(create(kind, *arguments))

    monkeypatch.setattr(management, 'create', second)
    assert api('PUT', QUEUE).status == 204
    record = management.get('queue', api.project, 'q')
    assert _registered(api, 'east') == [record.data['qid']]


def test_a_queue_that_was_changed_before_its_creation_was_repeated_is_ours(
    api: Api, twin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.make(api, 'east')
    management = _catalogue(api).management
    create = management.create

    def repeated(kind: str, *arguments: Any) -> bool:
        created = bool(create(kind, *arguments))
        if kind == 'queue':
            # A driver that sends it again sees the record of another version.
            assert twin('PATCH', QUEUE, _CHANGE, headers=_PATCH).status == 200
            return False
        return created

    created: list[Scope] = []
    monkeypatch.setattr(_catalogue(api), 'created', created.append)
    monkeypatch.setattr(management, 'create', repeated)
    assert api('PUT', QUEUE).status == 201
    record = management.get('queue', api.project, 'q')
    assert _registered(api, 'east') == [record.data['qid']]
    # What waits for the queue looks it up.
    assert created == [Scope(api.project, 'q')]


def test_a_move_that_was_changed_before_it_was_repeated_is_ours(
    flavored: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    management = _catalogue(flavored).management
    replace = management.replace

    def repeated(*arguments: Any, **more: Any) -> bool:
        monkeypatch.setattr(management, 'replace', replace)
        assert replace(*arguments, **more)
        answer = flavored('PATCH', QUEUE, _CHANGE, headers=_PATCH)
        assert answer.status == 200
        return False

    monkeypatch.setattr(management, 'replace', repeated)
    assert pools.set_flavor(flavored, 'q', 'fast').status == 200
    record = management.get('queue', flavored.project, 'q')
    assert _registered(flavored, 'west') == [record.data['qid']]


def test_a_pool_is_used_while_a_queue_is_being_moved_there(
    flavored: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = _catalogue(flavored)
    use = catalogue.pools.records.use
    seen: list[bool] = []

    def slow(pool: str) -> bool:
        is_open: bool = use(pool)
        seen.append(catalogue.is_used('west'))
        return is_open

    monkeypatch.setattr(catalogue.pools.records, 'use', slow)
    assert pools.set_flavor(flavored, 'q', 'fast').status == 200
    assert seen == [True]
    record = catalogue.management.get('queue', flavored.project, 'q')
    assert _registered(flavored, 'west') == [record.data['qid']]


def _registered(api: Api, pool: str) -> list[str]:
    """Return the queues that are registered in a pool, by incarnation."""
    records = _catalogue(api).management.list(
        pooled_queue_catalogue.POOLED, pool, after=None, limit=100
    )
    return [record.name for record in records]


def test_a_queue_made_while_its_pool_is_deleted_goes_elsewhere(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.make(api, 'east')
    choose = pool_selection.choose

    def slow(every: all_pools.Pools, flavor: Any) -> str:
        result = choose(every, flavor)
        if result == 'east':
            pools.make(api, 'west')
            assert api('DELETE', '/v2/pools/east').status == 204
        return result

    monkeypatch.setattr(pool_selection, 'choose', slow)
    api.post('q', 1)
    assert _pool_of(api, 'q') == 'west'
    assert api.bodies('q') == [1]


def test_a_pool_is_not_deleted_while_a_queue_is_being_made_in_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.make(api, 'east')
    records = _catalogue(api).pools.records
    use = records.use
    statuses = []

    def slow(pool: str) -> bool:
        is_open: bool = use(pool)
        statuses.append(api('DELETE', '/v2/pools/east').status)
        return is_open

    monkeypatch.setattr(records, 'use', slow)
    api.post('q', 1)
    assert statuses == [403]
    assert api.bodies('q') == [1]


def test_of_two_pools_made_at_once_with_one_uri_one_is_refused(
    api: Api, twin: Api
) -> None:
    for number in range(5):
        document = {'uri': pools.uri(api, f'same{number}'), 'weight': 1}

        def make(
            who: Api,
            number: int = number,
            document: dict[str, Any] = document,
        ) -> int:
            name = f'{"left" if who is api else "right"}{number}'
            return who('PUT', f'/v2/pools/{name}', document).status

        with ThreadPoolExecutor(2) as executor:
            statuses = list(executor.map(make, (api, twin)))
        assert sorted(statuses) == [201, 409]
    listed = api('GET', '/v2/pools?limit=20').json['pools']
    assert len({pool['uri'] for pool in listed}) == len(listed) == 5


def test_a_pool_whose_deletion_has_died_is_used_again(
    api: Api, twin: Api
) -> None:
    pools.make(api, 'east')
    _catalogue(api).pools.records.begin_deletion('east')
    assert twin('PUT', QUEUE).status == 503
    api.clock.move(pool_records.CLOSING / 1000)
    twin.post('q', 1)
    assert api.bodies('q') == [1]
    assert api('DELETE', '/v2/pools/east').status == 403


def test_a_deletion_that_takes_too_long_gives_way_to_a_queue(
    api: Api, twin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.make(api, 'east')
    records = _catalogue(api).pools.records
    end_deletion = records.end_deletion

    def slow(*arguments: Any) -> bool:
        api.clock.move(pool_records.CLOSING / 1000)
        twin.post('q', 1)
        ended: bool = end_deletion(*arguments)
        return ended

    monkeypatch.setattr(records, 'end_deletion', slow)
    answer = api('DELETE', '/v2/pools/east')
    assert answer.is_error(503, 'Service temporarily unavailable')
    assert api.bodies('q') == twin.bodies('q') == [1]


def test_many_who_make_one_queue_at_once_make_it_in_one_pool(
    api: Api, twin: Api
) -> None:
    for name in ('east', 'west', 'north'):
        pools.make(api, name)

    def post(number: int) -> None:
        who = (api, twin)[number % 2]
        who.post(f'q{number // 8}', number)

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(post, range(80)))
    for number in range(10):
        seen = twin.bodies(f'q{number}', 'echo=true&limit=20')
        assert sorted(seen) == list(range(number * 8, number * 8 + 8))


def test_no_message_is_lost_while_the_flavor_goes_to_and_fro(
    flavored: Api, twin: Api
) -> None:
    seen: set[int] = set()
    moves = []

    def flip(_number: int) -> None:
        answer = flavored('DELETE', f'{QUEUE}/messages?pop=20')
        seen.update(item['body'] for item in answer.json['messages'])
        name = ('fast', 'slow')[len(moves) % 2]
        moves.append(pools.set_flavor(flavored, 'q', name).status)

    def post(number: int) -> None:
        (twin, flavored)[number % 2].post('q', number)
        if number % 10 == 0:
            _forget(twin)

    with ThreadPoolExecutor(3) as executor:
        posts = [executor.submit(post, number) for number in range(200)]
        for number in range(100):
            flip(number)
        for future in posts:
            future.result()
    assert {200, 409} >= set(moves)
    assert moves.count(200) > 2
    _drain(flavored, seen)
    assert seen == set(range(200))


def _drain(api: Api, seen: set[int]) -> None:
    """Take what is left, however many looks at former pools it needs."""
    quiet = 0
    while quiet < 3:
        _forget(api)
        answer = api('DELETE', f'{QUEUE}/messages?pop=20')
        bodies = [item['body'] for item in answer.json['messages']]
        seen.update(bodies)
        quiet = 0 if bodies else quiet + 1


# A server as a pool.


def test_a_pool_may_be_a_postgresql_database(
    api: Api, postgresql: SqlServer, tmp_path: pathlib.Path
) -> None:
    url = postgresql.database()
    folder = tmp_path / 'migration'
    folder.mkdir()
    migrated = Zaqar(folder, rest=with_database(url))
    done = migrated.run('upgrade', 'head', program='manage')
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
