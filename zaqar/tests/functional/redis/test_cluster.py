# SPDX-License-Identifier: Apache-2.0
"""A cluster: slots that move, servers that go, keys that stay together."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pytest
from redis.crc import key_slot

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import OUTBOX
from zaqar.storage.redis.driver_declaration import DRIVER
from zaqar.tests.contract.crowd import each, ends_within, timed
from zaqar.tests.contract.probe import (
    Hand,
    Probe,
    bodies,
    ids,
    message,
    token,
)
from zaqar.tests.functional.redis.conftest import Open, OpenRecords
from zaqar.tests.functional.redis.load import BOUND, Load
from zaqar.tests.servers.redis import Cluster


def slot_of(qid: str) -> int:
    """Return the slot of a queue."""
    return int(key_slot(qid.encode()))


def test_queues_lie_on_all_servers_and_each_on_one(
    cluster: Cluster, opened: Open
) -> None:
    store, hand = opened(cluster.url), Hand()
    queues = [Probe(store, hand) for _ in range(40)]
    for queue in queues:
        queue.post('a', 'b')
        queue.take(1)
    homes = set()
    for queue in queues:
        keys = []
        for number, node in enumerate(cluster.nodes):
            with node.client() as client:
                there = client.keys(f'zq:{{{queue.qid}}}:*')
            if there:
                keys.append((number, len(there)))
        ((home, count),) = keys
        homes.add(home)
        assert count > 5
        assert slot_of(queue.qid) in range(16384)
    assert homes == {0, 1, 2}


def test_a_slot_may_move_during_load(cluster: Cluster, opened: Open) -> None:
    load = Load(opened(cluster.url))
    slot = slot_of(load.qid)
    with load:
        load.wait_for(50)
        for _ in range(3):
            home = cluster.owner(slot)
            cluster.move(slot, (home + 1) % 3)
            load.wait_for(50)
    load.check()


def test_while_a_slot_moves_a_call_waits_or_fails_in_time(
    cluster: Cluster, opened: Open
) -> None:
    queue = Probe(opened(cluster.url), Hand())
    posted = queue.post('a', 'b')
    slot = slot_of(queue.qid)
    results: list[Exception | None] = []
    turns = iter(range(100))

    def call() -> None:
        # When one of its keys has gone and the others have not.
        if next(turns) == 1:
            with ends_within(BOUND):
                _, error = timed(lambda: queue.post('c', token='once'))
            results.append(error)

    target = (cluster.owner(slot) + 1) % 3
    cluster.move(slot, target, between=call)
    (error,) = results
    assert isinstance(error, StoreUnavailable)
    queue.post('c', token='once')
    assert queue.everything() == ['a', 'b', 'c']
    assert ids(queue.walk())[:2] == posted


def test_a_store_that_has_never_seen_the_move_follows_it(
    cluster: Cluster, opened: Open
) -> None:
    store = opened(cluster.url)
    queue = Probe(store, Hand())
    queue.post('a')
    slot = slot_of(queue.qid)
    cluster.move(slot, (cluster.owner(slot) + 1) % 3)
    queue.post('b')
    assert bodies(queue.take().messages) == ['a', 'b']


def test_one_server_that_hangs_leaves_the_others_serving(
    cluster: Cluster, opened: Open
) -> None:
    store, hand = opened(cluster.url), Hand()
    with cluster.nodes[0].client() as client:
        client.config_set('cluster-require-full-coverage', 'no')
    queues: dict[int, Probe] = {}
    while len(queues) < 3:
        queue = Probe(store, hand)
        queue.post('a')
        queues[cluster.owner(slot_of(queue.qid))] = queue
    with contextlib.ExitStack() as stack:
        for node in cluster.nodes:
            with node.client() as client:
                client.config_set('cluster-require-full-coverage', 'no')
        cluster.nodes[1].pause()
        stack.callback(cluster.nodes[1].resume)
        with ends_within(BOUND), pytest.raises(StoreUnavailable):
            queues[1].post('b')
        for number in (0, 2):
            queues[number].post('b')
            assert queues[number].everything() == ['a', 'b']
        late = opened(cluster.url)
        late.ping()
        assert abs(late.clock.now() - store.clock.now()) < BOUND * 1000
        assert Probe(late, hand, queues[0].qid).everything() == ['a', 'b']
    cluster.nodes[1].process.wait_until(lambda: answers(queues[1], 'a'))


def answers(queue: Probe, body: str | None) -> bool:
    """Tell whether a queue is there again, with a message if one is named."""
    try:
        everything = queue.everything()
        return body is None or body in everything
    except StoreUnavailable:
        return False


def test_a_notice_of_a_repeated_post_is_made_once_in_its_own_slot(
    cluster: Cluster, opened: Open
) -> None:
    store, hand = opened(cluster.url), Hand()
    outbox = Probe(store, hand, OUTBOX)
    earlier = set(outbox.everything())
    qid, name = token(), token()

    def notice(_: Sequence[int]) -> NewMessage:
        return message(qid)

    for _ in range(3):
        store.post(
            qid, [message('a')], now=hand.now, token=name, notice=notice
        )
    notices = [body for body in outbox.everything() if body not in earlier]
    assert notices == [qid]


def test_records_of_any_parent_are_kept(
    cluster: Cluster, records: OpenRecords
) -> None:
    store = records(cluster.url)
    for parent in ('', 'a', '{a}', '}', '{', 'a}b{c', 'ä', token()):
        for name in ('b', 'a', '{}'):
            assert store.create('queue', parent, name, {'of': parent})
        listed = store.list('queue', parent, after=None, limit=10)
        assert [one.name for one in listed] == ['a', 'b', '{}']
        assert {one.data['of'] for one in listed} == {parent}
        assert store.count('queue', parent) == 3


def test_one_host_of_the_uri_is_enough(cluster: Cluster, opened: Open) -> None:
    node = cluster.nodes[2]
    store = opened(f'redis+cluster://127.0.0.1:1,127.0.0.1:{node.port}')
    for _ in range(10):
        queue = Probe(store, Hand())
        queue.post('a')
        assert queue.everything() == ['a']


def test_a_server_of_a_cluster_is_not_a_single_one(cluster: Cluster) -> None:
    with pytest.raises(ConfigurationError, match=r'use redis\+cluster://'):
        DRIVER.open_messages(cluster.nodes[0].url, {})


def test_when_all_hang_twenty_callers_know_in_time(
    cluster: Cluster, opened: Open
) -> None:
    store = opened(cluster.url)
    store.ping()
    with contextlib.ExitStack() as stack:
        for node in cluster.nodes:
            node.pause()
            stack.callback(node.resume)
        late = opened(cluster.url)
        queues = [Probe(one, Hand()) for one in (store, late)]
        with ends_within(BOUND):
            results = each(lambda queue: timed(queue.list), queues * 10)
    assert {type(error) for _, error in results} == {StoreUnavailable}
    cluster.nodes[0].process.wait_until(lambda: answers(queues[0], None))
