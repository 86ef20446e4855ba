# SPDX-License-Identifier: Apache-2.0
"""A server that is killed, hangs, forgets our scripts, or is full."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.contract.probe import Hand, Probe, bodies, token
from zaqar.tests.functional.redis.conftest import (
    DURABLE,
    Open,
    OpenRecords,
)
from zaqar.tests.functional.redis.load import BOUND, Load
from zaqar.tests.servers.redis import Redis

Start = Callable[..., Redis]


def test_what_was_acknowledged_survives_a_killed_server(
    own_server: Start, opened: Open, records: OpenRecords, hand: Hand
) -> None:
    server = own_server(**DURABLE)
    queue = Probe(opened(server.url), hand)
    management = records(server.url)
    management.create('queue', 'p', 'orders', {'qid': queue.qid})
    posted = queue.post(*range(2000))
    claim = queue.take(5)
    queue.delete(posted[0], claim.id)
    queue.post('delayed', delay=600)
    server.kill()
    with pytest.raises(StoreUnavailable):
        queue.list()
    server.start()
    assert queue.everything() == [*range(1, 2000), 'delayed']
    stored = queue.claimed(claim.id)
    assert stored is not None
    assert bodies(stored.messages) == [1, 2, 3, 4]
    assert queue.renew(claim.id)
    record = management.get('queue', 'p', 'orders')
    assert record is not None
    assert record.data == {'qid': queue.qid}


def test_a_load_goes_through_restarts(own_server: Start, opened: Open) -> None:
    server = own_server(**DURABLE)
    load = Load(opened(server.url))
    with load:
        for _ in range(3):
            load.wait_for(50)
            server.kill()
            server.start()
        load.wait_for(50)
    load.check()


def test_scripts_are_loaded_again(queue: Probe, server: Redis) -> None:
    name = token()
    posted = queue.post('a', token=name)
    with server.client() as client:
        client.script_flush()
    assert queue.post('a', token=name) == posted
    assert queue.everything() == ['a']
    before = server.calls().get('eval', 0)
    queue.list()
    assert server.calls().get('eval', 0) == before


def test_who_meets_a_hanging_server_knows_in_time(
    own_server: Start, opened: Open, hand: Hand
) -> None:
    server = own_server()
    queue = Probe(opened(server.url), hand)
    queue.post('a')
    server.pause()
    with ends_within(BOUND), pytest.raises(StoreUnavailable):
        queue.post('b')
    server.resume()
    assert queue.everything()[0] == 'a'


def test_a_full_server_is_unavailable_for_changes_alone(
    own_server: Start, opened: Open, hand: Hand
) -> None:
    server = own_server()
    queue = Probe(opened(server.url), hand)
    queue.post('a')
    with server.client() as client:
        client.config_set('maxmemory', 1)
        with pytest.raises(StoreUnavailable):
            queue.post('b')
        assert bodies(queue.get(*queue_ids(queue))) == ['a']
        client.config_set('maxmemory', 0)
    queue.post('b')
    assert queue.everything() == ['a', 'b']


def test_what_makes_room_works_on_a_full_server(
    own_server: Start, opened: Open, records: OpenRecords, hand: Hand
) -> None:
    server = own_server()
    store = opened(server.url)
    queue, lapsing, dropped = (Probe(store, hand) for _ in range(3))
    management = records(server.url)
    management.create('queue', 'p', 'orders', {'qid': dropped.qid})
    posted = queue.post(*range(10))
    claim = queue.take(2)
    lapsing.post('old', 'older', ttl=600)
    lapsing.take(1, ttl=60, grace=60)
    dropped.post('a')
    hand.move(120)
    with server.client() as client:
        client.config_set('maxmemory', 1)
        with pytest.raises(StoreUnavailable):
            queue.post('more')
        queue.delete(posted[0], claim.id)
        queue.delete_many(posted[1], claim_ids=[claim.id])
        queue.delete_many(*posted[2:4])
        assert bodies(queue.pop(2)) == [4, 5]
        assert bodies(lapsing.pop()) == ['old', 'older']
        assert queue.everything() == [6, 7, 8, 9]
        queue.purge()
        dropped.drop()
        assert management.delete('queue', 'p', 'orders')
        hand.move(600)
        while store.sweep(now=hand.now, batch=1000):
            pass
        client.config_set('maxmemory', 0)
    queue.post('b')
    assert queue.everything() == ['b']


def queue_ids(queue: Probe) -> list[str]:
    """Return the ids of a queue, of which there is one."""
    newest = queue.stats().newest
    assert newest is not None
    return [newest.id]


def test_a_server_that_may_give_up_keys_is_warned_of(
    own_server: Start, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    server = own_server(maxmemory='100mb', maxmemory_policy='allkeys-lru')
    opened(server.url)
    assert 'noeviction' in caplog.text


def test_numbers_go_on_after_a_loss_of_all_data(
    own_server: Start, opened: Open, hand: Hand
) -> None:
    server = own_server()
    queue = Probe(opened(server.url), hand)
    queue.post('lost')
    marker = queue.list(1).resume
    server.kill()
    server.start()
    hand.move(1)
    queue.post('new')
    assert bodies(queue.walk(marker=marker)) == ['new']
