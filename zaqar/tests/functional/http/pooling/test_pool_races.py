# SPDX-License-Identifier: Apache-2.0
"""Races of those who create, move and delete queues and pools."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.objects import Scope
from zaqar.pools import (
    pool_records,
    pool_selection,
    pooled_catalogue,
    registered_and_virtual_pools,
)
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import PATCH, Api

pytestmark = pytest.mark.every_engine

QUEUE = '/v2/queues/q'
_CHANGE = [{'op': 'add', 'path': '/metadata/a', 'value': 1}]


_PATCH = {'Content-Type': PATCH}


@pytest.mark.parametrize('is_stored', [False, True])
def test_a_move_whose_answer_is_lost_leaves_no_registration_behind(
    flavored: Api, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    management = pools.catalogue(flavored).management
    replace = management.replace

    def fail(*arguments: Any, **more: Any) -> bool:
        monkeypatch.setattr(management, 'replace', replace)
        if is_stored:
            replace(*arguments, **more)
        raise StoreUnavailable

    monkeypatch.setattr(management, 'replace', fail)
    assert pools.set_flavor(flavored, 'q', 'fast').status == 503
    assert management.replace == replace
    assert pools.pool_of(flavored, 'q') == ('west' if is_stored else 'east')
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
    management = pools.catalogue(flavored).management
    replace = management.replace
    late: list[Callable[[], bool]] = []

    def delay(*arguments: Any, **more: Any) -> bool:
        monkeypatch.setattr(management, 'replace', replace)
        late.append(partial(replace, *arguments, **more))
        raise StoreUnavailable

    monkeypatch.setattr(management, 'replace', delay)
    assert pools.set_flavor(flavored, 'q', 'fast').status == 503
    assert not late[0]()
    assert pools.pool_of(flavored, 'q') == 'east'
    assert _registered(flavored, 'west') == []


def test_whoever_comes_second_to_make_a_queue_leaves_no_registration(
    api: Api, twin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.make(api, 'east')
    management = pools.catalogue(api).management
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
    management = pools.catalogue(api).management
    create = management.create

    def repeated(kind: str, *arguments: Any) -> bool:
        created = bool(create(kind, *arguments))
        if kind == 'queue':
            # A driver that sends it again sees the record of another version.
            assert twin('PATCH', QUEUE, _CHANGE, headers=_PATCH).status == 200
            return False
        return created

    created: list[Scope] = []
    monkeypatch.setattr(pools.catalogue(api), 'created', created.append)
    monkeypatch.setattr(management, 'create', repeated)
    assert api('PUT', QUEUE).status == 201
    record = management.get('queue', api.project, 'q')
    assert _registered(api, 'east') == [record.data['qid']]
    # What waits for the queue looks it up.
    assert created == [Scope(api.project, 'q')]


def test_a_move_that_was_changed_before_it_was_repeated_is_ours(
    flavored: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    management = pools.catalogue(flavored).management
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
    catalogue = pools.catalogue(flavored)
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
    records = pools.catalogue(api).management.list(
        pooled_catalogue.POOLED, pool, after=None, limit=100
    )
    return [record.name for record in records]


def test_a_queue_made_while_its_pool_is_deleted_goes_elsewhere(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.make(api, 'east')
    choose = pool_selection.choose

    def slow(every: registered_and_virtual_pools.Pools, flavor: Any) -> str:
        result = choose(every, flavor)
        if result == 'east':
            pools.make(api, 'west')
            assert api('DELETE', '/v2/pools/east').status == 204
        return result

    monkeypatch.setattr(pool_selection, 'choose', slow)
    api.post('q', 1)
    assert pools.pool_of(api, 'q') == 'west'
    assert api.bodies('q') == [1]


def test_a_pool_is_not_deleted_while_a_queue_is_being_made_in_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.make(api, 'east')
    records = pools.catalogue(api).pools.records
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
    pools.catalogue(api).pools.records.begin_deletion('east')
    assert twin('PUT', QUEUE).status == 503
    api.clock.move(pool_records.CLOSING / 1000)
    twin.post('q', 1)
    assert api.bodies('q') == [1]
    assert api('DELETE', '/v2/pools/east').status == 403


def test_a_deletion_that_takes_too_long_gives_way_to_a_queue(
    api: Api, twin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.make(api, 'east')
    records = pools.catalogue(api).pools.records
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
            pools.forget(twin)

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
        pools.forget(api)
        answer = api('DELETE', f'{QUEUE}/messages?pop=20')
        bodies = [item['body'] for item in answer.json['messages']]
        seen.update(bodies)
        quiet = 0 if bodies else quiet + 1
