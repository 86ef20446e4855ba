# SPDX-License-Identifier: Apache-2.0
"""Changes of the flavor of a queue."""

from __future__ import annotations

import pytest

from zaqar.errors import QueueGone
from zaqar.objects import NewMessage, Scope
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import PATCH, Api

pytestmark = pytest.mark.every_engine

QUEUE = '/v2/queues/q'


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
    assert pools.pool_of(flavored, 'q') == 'west'
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
    assert pools.pool_of(flavored, 'q') == 'north'


def test_a_flavor_without_a_pool_to_choose_changes_nothing(
    flavored: Api,
) -> None:
    flavored('PATCH', '/v2/pools/west', {'weight': 0})
    assert pools.set_flavor(flavored, 'q', 'fast').status == 403
    assert flavored('GET', QUEUE).json['_flavor'] == 'slow'
    assert pools.pool_of(flavored, 'q') == 'east'


def test_what_another_process_posts_to_the_former_pool_is_brought_along(
    flavored: Api, twin: Api
) -> None:
    # A post that was under way on the other one, and is stored late.
    catalogue = pools.catalogue(twin)
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
    pools.forget(flavored)
    assert flavored.bodies('q') == ['late']
    shown = flavored('GET', f'{QUEUE}/messages/{late[0]}')
    assert shown.json['body'] == 'late'
    pools.forget(twin)
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
    place = pools.catalogue(flavored).read(_scope(flavored)).former[0]
    clock.at = place.until - 1
    pools.forget(flavored)
    assert flavored.bodies('q') == []
    assert flavored('DELETE', '/v2/pools/east').status == 403
    clock.at = place.until
    pools.forget(flavored)
    assert flavored.bodies('q') == []
    assert pools.catalogue(flavored).read(_scope(flavored)).former == ()
    assert flavored('DELETE', '/v2/pools/east').status == 204


def _scope(api: Api) -> Scope:
    return Scope(api.project, 'q')


def test_messages_of_the_former_pool_go_with_a_deleted_queue(
    flavored: Api, twin: Api
) -> None:
    twin.bodies('q')
    pools.set_flavor(flavored, 'q', 'fast')
    place = pools.catalogue(flavored).find(_scope(flavored)).former[0]
    twin.post('q', 'late')
    flavored('DELETE', QUEUE)
    store = pools.catalogue(flavored).pools.store('east')
    with pytest.raises(QueueGone):
        store.stats(place.qid, now=store.clock.now())
    pools.forget(twin)
    assert flavored.bodies('q') == twin.bodies('q') == []
    flavored('DELETE', '/v2/flavors/slow')
    pools.tell(flavored, 'east')
    assert flavored('DELETE', '/v2/pools/east').status == 204
