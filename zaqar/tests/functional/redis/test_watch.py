# SPDX-License-Identifier: Apache-2.0
"""What servers report to those that wait, through outages and failovers."""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections.abc import Callable, Iterator

import pytest
from redis.crc import key_slot

from zaqar.errors import StoreUnavailable
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.redis import pubsub_connection, queue_watch
from zaqar.storage.store_watch_interface import Watch
from zaqar.tests.contract.probe import Hand, Probe, deleted, message, token
from zaqar.tests.contract.proxy import Proxy
from zaqar.tests.functional.redis.conftest import Open
from zaqar.tests.functional.redis.test_access import ALLOWED
from zaqar.tests.functional.redis.test_failover import is_master
from zaqar.tests.functional.redis.test_relay import Pair
from zaqar.tests.servers.redis import Cluster, Redis, Watched

Start = Callable[..., Redis]

#: Seconds within which a report arrives.
PATIENCE = 60.0

#: A module of these logs one line for each outage.
LOGGER = queue_watch.__name__


class Reports:
    """What a watch has reported, in order."""

    def __init__(self) -> None:
        self._reports: queue.Queue[tuple[str | None, int]] = queue.Queue()

    def __call__(self, qid: str | None, count: int) -> None:
        self._reports.put((qid, count))

    def next(self) -> tuple[str | None, int]:
        """Return the next report, which may still be on its way."""
        return self._reports.get(timeout=PATIENCE)

    def wait_for(self, qid: str | None, count: int) -> None:
        """Return when this has been reported; skip others."""
        while self.next() != (qid, count):
            pass

    def wait_until_back(self, qid: str) -> None:
        """Return when an outage is over for a queue."""
        self.wait_for(None, 0)
        self.wait_for(qid, 0)


@pytest.fixture
def reports() -> Reports:
    """What the watch of the test reports."""
    return Reports()


@pytest.fixture
def watched_by(reports: Reports) -> Iterator[Callable[[MessageStore], Watch]]:
    """Open a watch that ends with the test."""
    with contextlib.ExitStack() as stack:

        def open_(store: MessageStore) -> Watch:
            watch = store.watch(reports)
            assert watch is not None
            stack.callback(watch.close)
            return watch

        yield open_


Watching = Callable[[MessageStore], Watch]


def kill(server: Redis) -> int:
    """Cut the connections of watches; return how many there were."""
    with server.client() as client:
        return int(client.client_kill_filter(_type='pubsub'))


def flag(server: Redis, qid: str) -> bytes | None:
    """Return the command that announces posts to a queue, if any."""
    with server.client() as client:
        value: bytes | None = client.hget(f'zq:{{{qid}}}:s', 'publish')
    return value


def published(server: Redis) -> int:
    """Return how often scripts have published."""
    calls = server.calls()
    return calls.get('publish', 0) + calls.get('spublish', 0)


def outages(caplog: pytest.LogCaptureFixture) -> int:
    """Return how many outages were logged."""
    return sum(record.name == LOGGER for record in caplog.records)


def wait_for_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    """Return when the thread of a watch has noticed one."""
    end = time.monotonic() + PATIENCE
    while not outages(caplog):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_post_is_published_only_while_somebody_waits(
    own_server: Start, opened: Open, reports: Reports, watched_by: Watching
) -> None:
    server = own_server()
    there = Probe(opened(server.url), Hand())
    watch = watched_by(there.store)
    before = published(server)
    there.post('a')
    assert published(server) == before
    watch.add(there.qid)
    reports.wait_for(there.qid, 0)
    there.post('b', 'c')
    assert reports.next() == (there.qid, 2)
    watch.close()
    # The first one finds nobody there.
    for body in 'def':
        there.post(body)
    assert published(server) == before + 2
    assert flag(server, there.qid) is None


def test_delayed_messages_are_no_free_ones(
    queue: Probe, reports: Reports, watched_by: Watching
) -> None:
    watched_by(queue.store).add(queue.qid)
    reports.wait_for(queue.qid, 0)
    queue.post('a', 'b', 'c', delay=60)
    assert reports.next() == (queue.qid, 0)


def test_a_release_is_reported(
    queue: Probe, reports: Reports, watched_by: Watching
) -> None:
    queue.post('a')
    claim = queue.take()
    watched_by(queue.store).add(queue.qid)
    reports.wait_for(queue.qid, 0)
    queue.release(claim.id)
    assert reports.next() == (queue.qid, 0)


@pytest.mark.parametrize('how', ['delete', 'delete_many', 'settle'])
def test_a_deletion_that_frees_a_group_is_reported(
    queue: Probe, reports: Reports, watched_by: Watching, how: str
) -> None:
    first, second, _ = queue.send(
        [message(body, group='g') for body in 'abc'],
    )
    claim = queue.take(2)
    watched_by(queue.store).add(queue.qid)
    reports.wait_for(queue.qid, 0)
    # The group is still busy.
    queue.delete(first, claim.id)
    if how == 'delete':
        queue.delete(second, claim.id)
    elif how == 'delete_many':
        queue.delete_many(second, claim_ids=[claim.id])
    else:
        queue.settle(claim.id, deleted(second))
    assert reports.next() == (queue.qid, 0)
    queue.post('next')
    assert reports.next() == (queue.qid, 1)


def test_a_dropped_queue_is_not_reported(
    server: Redis, queue: Probe, reports: Reports, watched_by: Watching
) -> None:
    queue.post('a')
    queue.drop()
    other = Probe(queue.store, queue.hand)
    watch = watched_by(queue.store)
    watch.add(queue.qid)
    watch.add(other.qid)
    assert reports.next() == (other.qid, 0)
    assert flag(server, queue.qid) is None


def test_thousands_of_queues_share_a_connection(
    own_server: Start, opened: Open, reports: Reports, watched_by: Watching
) -> None:
    server = own_server()
    store, hand = opened(server.url), Hand()
    queues = [Probe(store, hand) for _ in range(3000)]
    watch = watched_by(store)
    for one in queues:
        watch.add(one.qid)
    ready = {reports.next() for _ in queues}
    assert ready == {(one.qid, 0) for one in queues}
    with server.client() as client:
        assert len(client.client_list(_type='pubsub')) == 1
    queues[1234].post('a')
    assert reports.next() == (queues[1234].qid, 1)


def test_what_is_not_wanted_any_more_is_left(
    own_server: Start,
    opened: Open,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
    watched_by: Watching,
) -> None:
    monkeypatch.setattr(queue_watch, 'INTERVAL', 0.05)
    server = own_server()
    there = Probe(opened(server.url), Hand())
    watch = watched_by(there.store)
    watch.add(there.qid)
    reports.wait_for(there.qid, 0)
    watch.remove(there.qid)
    with server.client() as client:
        server.process.wait_until(
            lambda: not client.client_list(_type='pubsub')
        )


def test_after_a_cut_connection_all_queues_are_reported(
    own_server: Start,
    opened: Open,
    reports: Reports,
    watched_by: Watching,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = own_server()
    there = Probe(opened(server.url), Hand())
    watched_by(there.store).add(there.qid)
    reports.wait_for(there.qid, 0)
    assert kill(server) == 1
    reports.wait_until_back(there.qid)
    there.post('a')
    reports.wait_for(there.qid, 1)
    assert outages(caplog) == 1


def test_an_outage_is_one_line_of_the_log(
    own_server: Start,
    opened: Open,
    reports: Reports,
    watched_by: Watching,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = own_server()
    there = Probe(opened(server.url), Hand())
    watch = watched_by(there.store)
    watch.add(there.qid)
    reports.wait_for(there.qid, 0)
    server.kill()
    wait_for_an_outage(caplog)
    # It is added while there is no server.
    late = Probe(there.store, there.hand)
    watch.add(late.qid)
    server.start()
    reports.wait_for(None, 0)
    ready = {reports.next() for _ in range(2)}
    assert ready == {(there.qid, 0), (late.qid, 0)}
    for one in (there, late):
        # Its data are gone, and the field with them.
        one.post('a')
        reports.wait_for(one.qid, 1)
    assert outages(caplog) == 1


def test_a_watch_goes_with_the_primary_that_sentinels_name(
    watched: Watched, opened: Open, reports: Reports, watched_by: Watching
) -> None:
    there = Probe(opened(watched.url), Hand())
    watched_by(there.store).add(there.qid)
    reports.wait_for(there.qid, 0)
    with watched.sentinels[0].client() as client:
        client.execute_command('SENTINEL', 'FAILOVER', 'zaqar')
    watched.replica.process.wait_until(lambda: is_master(watched.replica))
    reports.wait_until_back(there.qid)
    watched.replica.process.wait_until(lambda: posts(there))
    reports.wait_for(there.qid, 1)


def posts(there: Probe) -> bool:
    """Post, and tell whether that was possible."""
    try:
        return bool(there.post('a'))
    except StoreUnavailable:
        return False


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A master, a replica and three Sentinels."""
    sentinels = Watched()
    yield sentinels
    sentinels.stop()


def test_a_watch_leaves_a_server_that_has_become_a_replica(
    own_server: Start,
    opened: Open,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
    watched_by: Watching,
) -> None:
    monkeypatch.setattr(queue_watch, 'INTERVAL', 0.05)
    pair = Pair(own_server)
    with pair.relay:
        there = Probe(opened(pair.url), Hand())
        watched_by(there.store).add(there.qid)
        reports.wait_for(there.qid, 0)
        # Its connection stays open.
        pair.fail_over()
        reports.wait_until_back(there.qid)
        there.post('a')
        reports.wait_for(there.qid, 1)
        assert kill(pair.old) == 0
        assert kill(pair.new) == 1


def test_a_server_that_says_nothing_is_left(
    own_server: Start,
    opened: Open,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
    watched_by: Watching,
) -> None:
    monkeypatch.setattr(queue_watch, 'INTERVAL', 0.05)
    server = own_server()
    with Proxy(('127.0.0.1', server.port)) as proxy:
        store = opened(f'redis://127.0.0.1:{proxy.port}')
        there = Probe(store, Hand())
        watched_by(store).add(there.qid)
        reports.wait_for(there.qid, 0)
        server.pause()
        # Time for the watch to give the connection up.
        server.process.wait_until(lambda: not store_answers(store))
        server.resume()
        reports.wait_until_back(there.qid)
        there.post('a')
        reports.wait_for(there.qid, 1)


def store_answers(store: MessageStore) -> bool:
    """Tell whether a server answers."""
    try:
        store.ping()
    except StoreUnavailable:
        return False
    return True


def test_a_user_who_may_not_subscribe_polls(
    own_server: Start,
    opened: Open,
    reports: Reports,
    watched_by: Watching,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = own_server()
    with server.client() as client:
        for name, more in {
            'old': ['resetchannels'],
            'deaf': ['resetchannels', '+@pubsub'],
            # As doc/source/admin/stores.rst says.
            'zaqar': ['resetchannels', '&zq:*', '+@pubsub'],
        }.items():
            client.execute_command(
                *('ACL', 'SETUSER', name, 'on', '>secret', '~zq:*'),
                *(*ALLOWED, *more),
            )
    place = server.url.partition('//')[2]
    store = opened(f'redis://zaqar:secret@{place}')
    qid = token()
    watched_by(store).add(qid)
    reports.wait_for(qid, 0)
    for name in ('old', 'deaf'):
        caplog.clear()
        lesser = opened(f'redis://{name}:secret@{place}')
        assert lesser.watch(reports) is None
        assert lesser.watch(reports) is None
        (line,) = [one for one in caplog.records if one.name == LOGGER]
        assert line.levelno == logging.WARNING
        assert 'NOPERM' in line.getMessage()
        # Posting is no matter of these permissions.
        there = Probe(lesser, Hand(), qid)
        there.post('a')
    assert flag(server, qid) == b'PUBLISH'
    Probe(store, there.hand, qid).post('b')
    assert reports.next() == (qid, 1)


def test_without_a_server_there_is_no_watch_yet(
    own_server: Start, opened: Open, reports: Reports
) -> None:
    server = own_server()
    store = opened(server.url)
    server.kill()
    with pytest.raises(StoreUnavailable):
        store.watch(reports)


@pytest.mark.parametrize('since', [7, 99], ids=['sharded', 'plain'])
def test_queues_of_a_cluster_are_watched_where_they_lie(
    cluster: Cluster,
    opened: Open,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
    watched_by: Watching,
    since: int,
) -> None:
    monkeypatch.setattr(pubsub_connection, 'SHARDED_SINCE', since)
    store, hand = opened(cluster.url), Hand()
    queues = [Probe(store, hand) for _ in range(12)]
    watch = watched_by(store)
    for one in queues:
        watch.add(one.qid)
    assert {reports.next() for _ in queues} == {(it.qid, 0) for it in queues}
    before = sharded(cluster)
    for one in queues:
        one.post('a')
        assert reports.next() == (one.qid, 1)
        assert one.availability().free == 1
    assert sharded(cluster) - before == (12 if since == 7 else 0)
    offers = store.availability([one.qid for one in queues], now=hand.now)
    assert [offer.free for offer in offers] == [1] * 12


def sharded(cluster: Cluster) -> int:
    """Return how often scripts have published to sharded channels."""
    return sum(node.calls().get('spublish', 0) for node in cluster.nodes)


def test_a_watch_follows_a_slot_that_moves(
    cluster: Cluster, opened: Open, reports: Reports, watched_by: Watching
) -> None:
    there = Probe(opened(cluster.url), Hand())
    there.post('a')
    watched_by(there.store).add(there.qid)
    reports.wait_for(there.qid, 0)
    slot = int(key_slot(there.qid.encode()))
    number = (cluster.owner(slot) + 1) % 3
    cluster.move(slot, number)
    reports.wait_for(there.qid, 0)
    target = cluster.nodes[number]
    # A server that is told again what it knows ends subscriptions once more.
    target.process.wait_until(lambda: subscriptions(target) == 1)
    there.post('b')
    reports.wait_for(there.qid, 1)
    assert there.availability().free == 2


def subscriptions(server: Redis) -> int:
    """Return the number of subscriptions to channels of a server."""
    with server.client() as client:
        clients = client.client_list(_type='pubsub')
    return sum(int(one['sub']) + int(one.get('ssub', 0)) for one in clients)


def test_the_rest_of_a_cluster_is_watched_while_a_server_is_gone(
    opened: Open, reports: Reports, watched_by: Watching
) -> None:
    servers = Cluster()
    try:
        settings = 'CONFIG', 'SET', 'cluster-require-full-coverage', 'no'
        for node in servers.nodes:
            with node.client() as client:
                client.execute_command(*settings)
        store, hand = opened(servers.url), Hand()
        by_owner: dict[int, Probe] = {}
        while len(by_owner) < 3:
            one = Probe(store, hand)
            by_owner[servers.owner(int(key_slot(one.qid.encode())))] = one
        watch = watched_by(store)
        for one in by_owner.values():
            watch.add(one.qid)
            reports.wait_for(one.qid, 0)
        servers.nodes[0].kill()
        for owner in (1, 2):
            by_owner[owner].post('a')
            reports.wait_for(by_owner[owner].qid, 1)
        servers.nodes[0].start()
        reports.wait_until_back(by_owner[0].qid)
        servers.nodes[0].process.wait_until(lambda: posts(by_owner[0]))
        reports.wait_for(by_owner[0].qid, 1)
    finally:
        servers.stop()
