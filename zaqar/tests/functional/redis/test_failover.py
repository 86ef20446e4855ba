# SPDX-License-Identifier: Apache-2.0
"""A master that Sentinels watch, and what a failover may lose."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.storage.redis.driver_declaration import DRIVER
from zaqar.tests.contract.crowd import each, ends_within, timed
from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.functional.redis.conftest import Open
from zaqar.tests.functional.redis.load import BOUND, Load
from zaqar.tests.servers.redis import (
    Redis,
    Sentinel,
    Watched,
    installed,
    valkey,
)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A master, a replica and three Sentinels."""
    sentinels = Watched()
    yield sentinels
    sentinels.stop()


def test_a_load_goes_through_a_failover_and_loses_nothing(
    watched: Watched, opened: Open
) -> None:
    load = Load(opened(watched.url, wait_replicas=1))
    with load:
        load.wait_for(100)
        # Nobody takes part in a failover that is out of date.
        watched.master.kill()
        watched.replica.process.wait_until(lambda: is_master(watched.replica))
        # The only replica is the master now, and has none.
        load_on = opened(watched.url)
        load.go_on_with(load_on)
        load.wait_for(50)
    load.check()


def is_master(server: Redis) -> bool:
    """Tell whether a server takes changes."""
    with server.client() as client:
        return bool(client.info('replication')['role'] == 'master')


def test_a_store_finds_the_new_master(watched: Watched, opened: Open) -> None:
    store = opened(watched.url)
    queue = Probe(store, Hand())
    queue.post('a')
    watched.replica.process.wait_until(lambda: has_key(watched.replica))
    with watched.sentinels[0].client() as client:
        client.execute_command('SENTINEL', 'FAILOVER', 'zaqar')
    watched.replica.process.wait_until(lambda: is_master(watched.replica))

    def goes_on() -> bool:
        try:
            return queue.everything() == ['a'] and bool(queue.post('b'))
        except StoreUnavailable:
            return False

    watched.replica.process.wait_until(goes_on)
    assert queue.everything() == ['a', 'b']


def has_key(server: Redis) -> bool:
    """Tell whether anything has reached a replica."""
    with server.client() as client:
        return bool(client.dbsize())


def test_one_sentinel_is_enough(watched: Watched, opened: Open) -> None:
    for sentinel in watched.sentinels[:2]:
        sentinel.kill()
    queue = Probe(opened(watched.url), Hand())
    queue.post('a')
    assert queue.everything() == ['a']


def test_sentinels_may_have_a_password_of_their_own(
    own_server: Callable[..., Redis], opened: Open
) -> None:
    master = own_server(requirepass='of-master')
    sentinel = Sentinel(master, {'requirepass': 'of-sentinel'})
    place = f'127.0.0.1:{sentinel.port}?master=zaqar'
    try:
        queue = Probe(
            opened(
                f'redis://:of-master@{place}&sentinel_password=of-sentinel'
            ),
            Hand(),
        )
        queue.post('a')
        assert queue.everything() == ['a']
        for uri in (
            f'redis://:of-master@{place}',
            f'redis://:of-master@{place}&sentinel_password=wrong',
            f'redis://:wrong@{place}&sentinel_password=of-sentinel',
        ):
            with pytest.raises(ConfigurationError, match='refuses us'):
                DRIVER.open_messages(uri, {})
    finally:
        sentinel.stop()


def test_when_all_hang_twenty_callers_know_in_time(
    watched: Watched, opened: Open
) -> None:
    first, late = opened(watched.url), opened(watched.url)
    first.ping()
    everything = (*watched.sentinels, watched.master, watched.replica)
    for server in everything:
        server.pause()
    calls = [(store.ping,) for store in (first, late) for _ in range(10)]
    with ends_within(BOUND):
        results = each(lambda call: timed(*call), calls)
    for server in everything:
        server.resume()
    assert {type(error) for _, error in results} == {StoreUnavailable}


def test_a_name_that_sentinels_do_not_know_is_told(watched: Watched) -> None:
    uri = watched.url.replace('master=zaqar', 'master=other')
    with pytest.raises(ConfigurationError, match='know no master "other"'):
        DRIVER.open_messages(uri, {})


def test_a_sentinel_without_a_name_is_told(watched: Watched) -> None:
    with pytest.raises(ConfigurationError, match='master=NAME'):
        DRIVER.open_messages(watched.sentinels[0].url, {})


def test_without_sentinels_a_store_opens_and_waits(
    watched: Watched, opened: Open
) -> None:
    for sentinel in watched.sentinels:
        sentinel.kill()
    store = opened(watched.url)
    with pytest.raises(StoreUnavailable):
        store.ping()
    watched.sentinels[0].start()
    store.ping()


def test_a_replica_that_is_missing_is_no_success(
    own_server: Callable[..., Redis], opened: Open
) -> None:
    store = opened(own_server().url, wait_replicas=1, wait_timeout=0.05)
    queue = Probe(store, Hand())
    with pytest.raises(StoreUnavailable):
        queue.post('a')
    # It was made all the same, and is not made twice.
    assert queue.everything() == ['a']


def test_a_change_waits_for_its_replica(
    watched: Watched, opened: Open
) -> None:
    queue = Probe(opened(watched.url, wait_replicas=1), Hand())
    for number in range(20):
        queue.post(number)
        with watched.replica.client() as client:
            key = f'zq:{{{queue.qid}}}:a'
            assert client.zcard(key) == number + 1
    before = watched.master.calls()['wait']
    queue.list()
    queue.get('0' * 32)
    queue.stats()
    assert watched.master.calls()['wait'] == before
    queue.pop()
    assert watched.master.calls()['wait'] > before


@pytest.mark.parametrize('program', [installed, valkey])
def test_a_repeated_change_waits_for_its_replica_too(
    opened: Open, program: Callable[[], str]
) -> None:
    master = Redis(program=program())
    source = {'replicaof': f'127.0.0.1 {master.port}'}
    replica = Redis(source, program=program())
    try:
        replica.process.wait_until(lambda: is_connected(replica))
        patient = opened(master.url, wait_replicas=1, wait_timeout=2.0)
        queue = Probe(patient, Hand())
        (message_id,) = queue.post('a')
        replica.pause()
        # The first one is made, but is nowhere else; the others find nothing.
        for _ in range(3):
            store = opened(master.url, wait_replicas=1, wait_timeout=0.2)
            again = Probe(store, queue.hand, queue.qid)
            with pytest.raises(StoreUnavailable):
                again.delete(message_id)
        assert queue.everything() == []
        replica.resume()
        queue.delete(message_id)
    finally:
        replica.stop()
        master.stop()


def is_connected(replica: Redis) -> bool:
    """Tell whether a replica follows its master."""
    with replica.client() as client:
        return bool(client.info('replication')['master_link_status'] == 'up')
