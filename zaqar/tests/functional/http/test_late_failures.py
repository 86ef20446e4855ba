# SPDX-License-Identifier: Apache-2.0
"""What a request has changed is undone, however late the request fails."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable
from zaqar.pools.pool_records import PoolRecords
from zaqar.storage import store_call_interceptor
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import PATCH, Api
from zaqar.tests.functional.http.conftest import POOLED, MakeApi

pytestmark = pytest.mark.sqlite

QUEUE = '/v2/queues/jobs'
KEY = 'a key of some length'
ON = {'_enable_encrypt_messages': True}
OFF = {
    'op': 'replace',
    'path': '/metadata/_enable_encrypt_messages',
    'value': False,
}
DEAD = {'_dead_letter_queue': 'dead', '_max_claim_count': 1}


def _in_time(store: Any, last: str = '') -> Any:
    """Return a store that attempts nothing once the deadline has passed.

    :param last: the method whose first call uses up the time
    """
    is_used_up = False

    def run(name: str, method: Any, *arguments: Any, **more: Any) -> Any:
        nonlocal is_used_up
        if not request_deadline.left(60.0):
            raise StoreUnavailable
        result = method(*arguments, **more)
        if name == last and not is_used_up:
            is_used_up = True
            request_deadline.begin(-1.0)
        return result

    return store_call_interceptor.through(store, run)


def _use_up(api: Api, last: str) -> None:
    catalogue = api.service.catalogue
    catalogue.messages = _in_time(catalogue.messages, last)


def _counts(api: Api, queue: str = 'jobs') -> tuple[int, int]:
    stats = api('GET', f'/v2/queues/{queue}/stats').json['messages']
    return stats['free'], stats['claimed']


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    api = make_api(f'[transport]\nmessage_encryption_key = {KEY}')
    api('PUT', QUEUE, ON)
    return api


@pytest.fixture
def keyless(make_api: MakeApi, api: Api) -> Api:
    """Another process on the same stores, with a key that fits nothing."""
    other = make_api(
        f'state_path = {api.service.conf.state_path}\n[transport]\n'
        'message_encryption_key = another key of length\n'
    )
    return Api(other.service, api.clock)


def test_popped_messages_that_cannot_be_read_are_put_back(
    api: Api, keyless: Api
) -> None:
    api.post('jobs', 'a', 'b')
    api('PATCH', QUEUE, [OFF], headers={'Content-Type': PATCH})
    _use_up(keyless, 'pop')
    answer = keyless('DELETE', f'{QUEUE}/messages?pop=2')
    assert answer.is_error(503, 'Service temporarily unavailable')
    assert sorted(api.bodies('jobs')) == ['a', 'b']


def test_popped_messages_that_cannot_be_read_are_put_back_together(
    api: Api, keyless: Api
) -> None:
    posted = api.post('jobs', 'a', 'b', 'c')
    api('PATCH', QUEUE, [OFF], headers={'Content-Type': PATCH})
    counts = []

    def run(name: str, method: Any, *arguments: Any, **more: Any) -> Any:
        if name == 'post':
            counts.append(len(arguments[1]))
        return method(*arguments, **more)

    catalogue = keyless.service.catalogue
    catalogue.messages = store_call_interceptor.through(
        catalogue.messages, run
    )
    assert keyless('DELETE', f'{QUEUE}/messages?pop=5').status == 503
    assert counts == [3]
    listed = api('GET', f'{QUEUE}/messages?echo=true').json['messages']
    assert [item['href'].split('/')[-1] for item in listed] == posted


def test_a_pop_that_cannot_delete_frees_its_messages(api: Api) -> None:
    api.post('jobs', 'a', 'b')
    _use_up(api, 'claim')
    answer = api('DELETE', f'{QUEUE}/messages?pop=2')
    assert answer.is_error(503, 'Service temporarily unavailable')
    assert _counts(api) == (2, 0)
    # Nor has it counted.
    popped = api('DELETE', f'{QUEUE}/messages?pop=2').json['messages']
    assert [item['claim_count'] for item in popped] == [0, 0]


def test_a_claim_that_cannot_be_read_is_released(
    api: Api, keyless: Api
) -> None:
    api.post('jobs', 'a')
    _use_up(keyless, 'claim')
    answer = keyless.claim('jobs', ttl=3600)
    assert answer.is_error(503, 'Service temporarily unavailable')
    assert _counts(api) == (1, 0)


def test_a_claim_whose_dead_letters_cannot_be_moved_is_released(
    api: Api,
) -> None:
    api('PUT', '/v2/queues/b', DEAD)
    api.post('b', 'a', ttl=7200)
    assert api.claim('b', ttl=60).status == 201
    api.clock.move(60)
    api.post('b', 'b')
    _use_up(api, 'claim')
    answer = api.claim('b', ttl=3600)
    assert answer.is_error(503, 'Service temporarily unavailable')
    assert _counts(api, 'b') == (2, 0)


def test_a_pool_that_cannot_be_deleted_takes_queues_again(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api(POOLED).as_admin()
    pools.make(api, 'one')
    catalogue: Any = api.service.catalogue
    records = PoolRecords(_in_time(catalogue.management), lambda _: None)
    monkeypatch.setattr(catalogue.pools, 'records', records)

    def fail(*_: Any) -> None:
        assert records.get('one').closing
        request_deadline.begin(-1.0)
        raise StoreUnavailable

    monkeypatch.setattr(catalogue, 'is_used', fail)
    assert api('DELETE', '/v2/pools/one').status == 503
    assert not records.get('one').closing
