# SPDX-License-Identifier: Apache-2.0
"""One address behind which servers change: a proxy, a name, a cloud's.

Connections that are open stay with the server they were made to, whatever has
become of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.redis import node_connection_pool
from zaqar.tests.contract.crowd import each, ends_within
from zaqar.tests.contract.probe import Hand, Probe, bodies
from zaqar.tests.contract.proxy import Proxy
from zaqar.tests.functional.redis.conftest import Open, OpenRecords
from zaqar.tests.functional.redis.load import BOUND, Load
from zaqar.tests.servers import process
from zaqar.tests.servers.redis import Cluster, Redis

Start = Callable[..., Redis]


class Pair:
    """A primary and its replica behind a relay, which leads to the primary."""

    def __init__(self, start: Start, **settings: Any) -> None:
        self.old = start(**settings)
        self.new = start(replicaof=f'127.0.0.1 {self.old.port}')
        self.relay = Proxy(('127.0.0.1', self.old.port))
        self.url = f'redis://127.0.0.1:{self.relay.port}'
        self.new.process.wait_until(self._is_connected)

    def promote(self) -> None:
        """Let the replica take over, once it has everything."""
        self.new.process.wait_until(self._is_level)
        _tell(self.new, 'REPLICAOF', 'NO', 'ONE')

    def demote(self) -> None:
        """Let the old primary follow the new one."""
        _tell(self.old, 'REPLICAOF', '127.0.0.1', self.new.port)

    def lead_on(self) -> None:
        """Let the relay lead to the new primary."""
        self.relay.lead_to(('127.0.0.1', self.new.port))

    def fail_over(self) -> None:
        """Do all of it; connections to the old primary live on."""
        self.promote()
        self.demote()
        self.lead_on()

    def _is_connected(self) -> bool:
        return _role(self.new)['master_link_status'] == 'up'

    def _is_level(self) -> bool:
        ours = _role(self.old)['master_repl_offset']
        return bool(_role(self.new)['slave_repl_offset'] >= ours)


def _role(server: Redis) -> Any:
    with server.client() as client:
        return client.info('replication')


def _tell(server: Redis, *command: Any) -> None:
    with server.client() as client:
        client.execute_command(*command)


def _connections(server: Redis) -> int:
    """Return how many there are over TCP, beside that of a replica."""
    with server.client() as client:
        clients = client.client_list(_type='normal')
    return sum('127.0.0.1' in one['addr'] for one in clients)


@pytest.fixture
def pair(own_server: Start) -> Iterator[Pair]:
    """A primary and a replica behind one address."""
    servers = Pair(own_server)
    with servers.relay:
        yield servers


def _busy(store: MessageStore) -> Probe:
    """Return a queue of a store that has eight connections."""
    queue = Probe(store, Hand())
    each(lambda number: queue.post(number), range(8))
    assert sorted(queue.everything()) == [*range(8)]
    return queue


def test_the_first_call_after_a_failover_is_done_by_the_new_primary(
    pair: Pair, opened: Open
) -> None:
    queue = _busy(opened(pair.url))
    pair.fail_over()
    with ends_within(BOUND):
        queue.post('more')
    assert sorted(queue.everything(), key=str) == [*range(8), 'more']
    # Those that were idle are not kept for the next.
    assert _connections(pair.old) == 0


def test_a_load_goes_through_failovers_and_loses_nothing(
    pair: Pair, opened: Open
) -> None:
    load = Load(opened(pair.url))
    with load:
        load.wait_for(100)
        # Nothing is acknowledged by two: the old one first takes no more.
        _tell(pair.old, 'CLIENT', 'PAUSE', 5000, 'WRITE')
        pair.promote()
        pair.demote()
        _tell(pair.old, 'CLIENT', 'UNPAUSE')
        load.wait_for_refusal()
        pair.lead_on()
        load.wait_for(100)
    load.check()


def test_until_the_address_leads_to_the_new_primary_it_is_503(
    pair: Pair, opened: Open
) -> None:
    queue = _busy(opened(pair.url))
    pair.promote()
    pair.demote()
    with ends_within(BOUND), pytest.raises(StoreUnavailable):
        queue.post('early')
    pair.lead_on()
    queue.post('late')
    assert 'late' in queue.everything()


def test_who_only_reads_does_not_read_what_a_replica_has(
    pair: Pair,
    opened: Open,
    records: OpenRecords,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_connection_pool, 'ROLE_INTERVAL', 0.0)
    queue, management = _busy(opened(pair.url)), records(pair.url)
    assert management.create('kind', 'parent', 'old', {})
    pair.promote()
    # Cut off, it is asked for what has long been changed elsewhere.
    _tell(pair.old, 'REPLICAOF', '127.0.0.1', process.free_port())
    pair.lead_on()
    aside = records(pair.new.url)
    aside.delete('kind', 'parent', 'old')
    Probe(opened(pair.new.url), queue.hand, queue.qid).purge()
    assert management.get('kind', 'parent', 'old') is None
    assert queue.everything() == []
    queue.store.ping()


def test_a_replica_is_noticed_within_seconds() -> None:
    assert node_connection_pool.ROLE_INTERVAL <= 5


@pytest.mark.parametrize(
    'cut_off',
    [
        # MASTERDOWN: a replica that knows that it knows nothing.
        [
            ('CONFIG', 'SET', 'replica-serve-stale-data', 'no'),
            ('REPLICAOF', '127.0.0.1', '1'),
        ],
        # NOREPLICAS: a primary that its replicas have left.
        [
            ('CONFIG', 'SET', 'min-replicas-max-lag', '1'),
            ('CONFIG', 'SET', 'min-replicas-to-write', '1'),
        ],
    ],
    ids=['masterdown', 'noreplicas'],
)
def test_a_server_that_is_cut_off_is_left_for_another(
    pair: Pair, opened: Open, cut_off: list[tuple[str, ...]]
) -> None:
    queue = _busy(opened(pair.url))
    pair.promote()
    for command in cut_off:
        _tell(pair.old, *command)
    with ends_within(BOUND), pytest.raises(StoreUnavailable):
        queue.post('early')
    pair.lead_on()
    queue.post('late')
    assert 'late' in queue.everything()
    assert _connections(pair.old) == 0


def test_a_server_that_still_loads_is_left_for_another(
    pair: Pair, opened: Open, own_server: Start
) -> None:
    loading = own_server(
        appendonly='yes',
        key_load_delay=10_000,
        loading_process_events_interval_bytes=1024,
    )
    with loading.client() as client, client.pipeline() as pipeline:
        for number in range(1500):
            pipeline.set(number, 'x' * 100)
        pipeline.execute()
    loading.kill()
    queue = _busy(opened(pair.url))
    pair.promote()
    loading.launch()
    loading.process.wait_until(loading.is_loading)
    pair.relay.cut()
    pair.relay.lead_to(('127.0.0.1', loading.port))
    pair.relay.restore()
    with ends_within(BOUND), pytest.raises(StoreUnavailable):
        queue.post('early')
    pair.lead_on()
    queue.post('late')
    assert bodies(queue.walk())[-1] == 'late'


def test_a_server_of_a_cluster_behind_the_address_is_left_for_another(
    pair: Pair, opened: Open, cluster: Cluster
) -> None:
    queue = _busy(opened(pair.url))
    own = Probe(queue.store, queue.hand)
    for node in cluster.nodes:
        # MOVED by two of them.
        pair.relay.cut()
        pair.relay.lead_to(('127.0.0.1', node.port))
        pair.relay.restore()
        with ends_within(BOUND), contextlib.suppress(StoreUnavailable):
            own.post('astray')
    pair.relay.lead_to(('127.0.0.1', pair.old.port))
    # Nothing but the answers tells that the address leads elsewhere.
    queue.post('late')
    assert 'late' in queue.everything()


def test_a_server_of_a_cluster_without_slots_is_left_for_another(
    pair: Pair, opened: Open, own_server: Start
) -> None:
    lone = own_server(cluster_enabled='yes')
    queue = _busy(opened(pair.url))
    pair.relay.cut()
    pair.relay.lead_to(('127.0.0.1', lone.port))
    pair.relay.restore()
    with ends_within(BOUND), pytest.raises(StoreUnavailable):
        # CLUSTERDOWN.
        queue.post('early')
    pair.relay.lead_to(('127.0.0.1', pair.old.port))
    queue.post('late')
    assert 'late' in queue.everything()
