# SPDX-License-Identifier: Apache-2.0
"""Pools that come, change and go."""

from __future__ import annotations

import pathlib

import pytest

from zaqar import service_assembly
from zaqar.errors import StoreUnavailable
from zaqar.pools import registered_and_virtual_pools
from zaqar.storage.sqlalchemy import store_factory
from zaqar.storage.sqlalchemy.sqlite_database import SqliteDatabase
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import PATCH, Api
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL, MakeApi

pytestmark = pytest.mark.every_engine

QUEUE = '/v2/queues/q'


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
    pools.catalogue(twin).pools.stores.look_again('east')
    assert twin.bodies('q') == [1, 2]


@pytest.mark.sqlite
def test_options_of_two_pools_and_of_the_service_do_not_mix(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[str, set[str]] = {}

    def open_file(path: str, synchronous: str) -> SqliteDatabase:
        opened.setdefault(pathlib.Path(path).stem, set()).add(synchronous)
        return SqliteDatabase(path, synchronous)

    monkeypatch.setattr(store_factory, 'SqliteDatabase', open_file)
    group = '[drivers:message_store:sqlalchemy]\nsqlite_synchronous = FULL\n'
    api = make_api(POOLED + VIRTUAL + group).as_admin()
    options = {'sqlite_synchronous': 'NORMAL'}
    pools.make(api, 'east', options=options)
    pools.make(api, 'west')
    for name in ('east', 'west', registered_and_virtual_pools.VIRTUAL, 'east'):
        pools.catalogue(api).pools.store(name)
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
        pools.catalogue(other).pools.stores.look_again('east')
        assert other.bodies('far') == [1]
        assert other('GET', '/v2/ping').status == 204
    finally:
        again.close()


def test_a_pool_that_is_down_gets_no_new_queue(api: Api) -> None:
    pools.make(api, 'east', weight=1)
    pools.make(api, 'west', weight=1000)
    records = pools.catalogue(api).pools.records
    there = records.get('west').uri
    records.change('west', {'uri': 'sqlite:////no/such/a'})
    for number in range(5):
        api.post(f'q{number}', 1)
        assert pools.pool_of(api, f'q{number}') == 'east'
    # With all of them down there is hope, hence 503 and no queue.
    records.change('east', {'weight': 0})
    assert api('PUT', QUEUE).status == 503
    listed = api('GET', '/v2/queues').json['queues']
    assert 'q' not in [queue['name'] for queue in listed]
    records.change('west', {'uri': there})
    assert api('PUT', QUEUE).status == 201
    assert pools.pool_of(api, 'q') == 'west'


def test_the_virtual_pool_takes_queues_while_the_others_are_down(
    whole: Api,
) -> None:
    pools.make(whole, 'east')
    pools.catalogue(whole).pools.records.change(
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
    record = pools.catalogue(api).management
    data = record.get('pool', '', 'west').data
    pools.catalogue(api).pools.records.change(
        'west', {'uri': 'sqlite:////no/such/a'}
    )
    assert api('GET', '/v2/ping').status == 503
    assert api('HEAD', '/v2/ping').status == 503
    pools.catalogue(api).pools.records.change('west', {'uri': data['uri']})
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
    pools.catalogue(whole).pools.records.change(
        'north', {'uri': 'sqlite:////no/such/a'}
    )
    places = ('zaqar', 'east', 'west')
    assert [pools.holds(whole, name) for name in places] == [1, 1, 1]
    for name in ('east', 'west'):
        pools.move_clock(whole, name)
        whole('DELETE', f'/v2/queues/{name}')
    whole('DELETE', '/v2/queues/virtual')
    whole.clock.move(10 * 24 * 3600)
    pools.catalogue(whole).sweep(1000)
    assert [pools.holds(whole, name) for name in places] == [0, 0, 0]


# What the reference service has registered.


def _adopt(api: Api, queue: str, pool: str) -> None:
    management = pools.catalogue(api).management
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
    pools.catalogue(api).management.create('pool', '', 'old', data)
    assert api('DELETE', '/v2/pools/old').is_error(403, 'Unable to delete')
    api.post('q', 1)
    assert api.bodies('q') == [1]
