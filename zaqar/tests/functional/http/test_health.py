# SPDX-License-Identifier: Apache-2.0
"""Health: reference/http, "Discovery and health"."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import POOLED, MakeApi

pytestmark = pytest.mark.every_engine

STEPS = [
    'create_queue',
    'post_messages',
    'claim_messages',
    'list_messages',
    'delete_messages',
    'delete_claim',
    'bulk_delete_messages',
    'delete_queue',
]


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    return make_api('admin_mode = true').as_admin()


def _is_well(state: dict[str, Any]) -> bool:
    assert state['storage_reachable'] is True
    assert list(state['operation_status']) == STEPS
    for step in state['operation_status'].values():
        assert set(step) == {'succeeded', 'seconds', 'ref'}
        assert step['succeeded'] is True
        assert 0 <= step['seconds'] < 5
        assert step['ref'] is None
    return True


def test_a_store_is_tried_step_by_step(api: Api) -> None:
    answer = api('GET', '/v2/health')
    assert answer.status == 200
    assert _is_well(answer.json)
    assert 'catalog_reachable' not in answer.json


def test_the_messages_of_all_queues_are_counted(api: Api) -> None:
    api.post('a', *range(4))
    api.as_project('other').post('b', 1)
    api.claim('a', limit=1)
    claimed = api('GET', '/v2/queues/a/stats').json['messages']['claimed']
    for _ in range(2):
        # Those of the probe itself are not among them.
        volume = api('GET', '/v2/health').json['message_volume']
        assert volume == {
            'free': 5 - claimed,
            'claimed': claimed,
            'total': 5,
        }
    api('DELETE', '/v2/queues/a')
    volume = api('GET', '/v2/health').json['message_volume']
    assert volume == {'free': 1, 'claimed': 0, 'total': 1}


@pytest.mark.parametrize('how', ['fails', 'cannot tell'])
def test_a_store_that_cannot_count_is_tried_all_the_same(
    api: Api, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def count(*, now: int) -> None:
        if how == 'fails':
            raise StoreUnavailable

    monkeypatch.setattr(api.service.catalogue.messages, 'volume', count)
    state = api('GET', '/v2/health').json
    assert _is_well(state)
    assert 'message_volume' not in state


def test_each_pool_counts_its_own(make_api: MakeApi) -> None:
    api = make_api(POOLED).as_admin()
    pools.make(api, 'east')
    api.post('q', 1, 2)
    pools.make(api, 'west')
    health = api('GET', '/v2/health').json
    assert health['east']['message_volume']['total'] == 2
    assert health['west']['message_volume']['total'] == 0


def test_nothing_is_left_behind(api: Api) -> None:
    api('GET', '/v2/health')
    store = api.service.catalogue.management
    assert store.list('probe', 'x', after=None, limit=10) == []
    assert api('GET', '/v2/queues').json['queues'] == []


def test_each_pool_is_tried(make_api: MakeApi) -> None:
    api = make_api(POOLED).as_admin()
    for name in ('east', 'west'):
        pools.make(api, name)
    health = api('GET', '/v2/health').json
    assert health.pop('catalog_reachable') is True
    assert set(health) == {'east', 'west'}
    assert all(_is_well(state) for state in health.values())


def test_pools_are_tried_at_once(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is silent for seconds costs the others nothing."""
    api = make_api(POOLED).as_admin()
    meeting = threading.Barrier(2, timeout=60)
    for name in ('east', 'west'):
        pools.make(api, name)
        store: Any = api.service.catalogue.pools.store(name)  # type: ignore
        monkeypatch.setattr(store, 'ping', meeting.wait)
    health = api('GET', '/v2/health').json
    assert all(_is_well(health[name]) for name in ('east', 'west'))


def test_each_pool_has_a_deadline(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api(POOLED).as_admin()
    pools.make(api, 'east')
    left = []
    store: Any = api.service.catalogue.pools.store('east')  # type: ignore
    monkeypatch.setattr(
        store, 'ping', lambda: left.append(request_deadline.left(60))
    )
    api('GET', '/v2/health')
    assert 0 < min(left) <= max(left) <= 10


def test_a_catalogue_that_does_not_answer_is_said_so(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_more: Any) -> Any:
        raise StoreUnavailable

    api = make_api(POOLED).as_admin()
    pools.make(api, 'east')
    management = api.service.catalogue.management
    for name in ('ping', 'get', 'list'):
        monkeypatch.setattr(management, name, fail)
    answer = api('GET', '/v2/health')
    assert (answer.status, answer.json) == (503, {'catalog_reachable': False})


def test_a_step_that_fails_ends_the_probe_and_has_a_reference(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_more: Any) -> Any:
        raise StoreUnavailable

    store = api.service.catalogue.messages
    monkeypatch.setattr(store, 'claim', fail)
    state = api('GET', '/v2/health').json
    assert state['storage_reachable'] is True
    assert list(state['operation_status']) == STEPS[:3]
    failed = state['operation_status']['claim_messages']
    assert failed['succeeded'] is False
    assert uuid.UUID(failed['ref'])


def test_a_store_that_does_not_answer_is_said_so(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_more: Any) -> Any:
        raise StoreUnavailable

    store = api.service.catalogue.messages
    for name in ('ping', 'drop'):
        monkeypatch.setattr(store, name, fail)
    answer = api('GET', '/v2/health')
    assert (answer.status, answer.json) == (
        200,
        {'storage_reachable': False, 'operation_status': {}},
    )


def test_health_is_for_administrators_where_it_is_served(
    make_api: MakeApi, api: Api
) -> None:
    member = api('GET', '/v2/health', headers={'X-Roles': 'member'})
    assert member.is_error(403, 'Not authorized')
    assert make_api()('GET', '/v2/health').is_error(404, '404 Not Found')
    home = api('GET', '/v2/').json['resources']
    assert home['rel/health']['href'] == '/v2/health'
