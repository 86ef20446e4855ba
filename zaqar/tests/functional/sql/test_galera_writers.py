# SPDX-License-Identifier: Apache-2.0
"""A Galera cluster of which every node is written."""

from __future__ import annotations

import concurrent.futures
import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pymysql
import pytest

from zaqar.storage.sqlalchemy import migrations, schema_revision, sweeping
from zaqar.storage.sqlalchemy.database import ServerDatabase
from zaqar.storage.sqlalchemy.driver import DRIVER, parse
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import WEEK, Hand, Probe
from zaqar.tests.servers import galera
from zaqar.tests.servers.zaqar import Zaqar, with_database

T = TypeVar('T')

#: Seconds in which a call that does not wait for other nodes has returned.
SOON = 0.5


@pytest.fixture(scope='module')
def cluster() -> Iterator[galera.Cluster]:
    cluster = galera.Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture(scope='module')
def uris(cluster: galera.Cluster) -> list[str]:
    """A database with tables, through each node."""
    uri = cluster.database()
    migrations.upgrade(parse(uri), 'head')
    return [node.through(uri) for node in cluster.nodes]


@pytest.fixture
def queues(uris: list[str]) -> Iterator[list[Probe]]:
    """A queue through each node."""
    hand = Hand()
    stores = [DRIVER.open_messages(uri, {}) for uri in uris]
    first = Probe(stores[0], hand)
    yield [Probe(store, hand, first.qid) for store in stores]
    for store in stores:
        store.close()


@contextlib.contextmanager
def lagging(node: galera.Node) -> Iterator[None]:
    """Let a node apply nothing that others commit."""
    connection = pymysql.connect(host='127.0.0.1', port=node.port, user='root')
    with contextlib.closing(connection), connection.cursor() as cursor:
        # Not a lock of tables: it would also hold up our own calls.
        for stage in ('START', 'FLUSH', 'BLOCK_DDL', 'BLOCK_COMMIT'):
            cursor.execute(f'BACKUP STAGE {stage}')
        yield
        cursor.execute('BACKUP STAGE END')


def through_a_lag(
    node: galera.Node, change: Callable[[], object], call: Callable[[], T]
) -> T:
    """Make a call on a node that has not applied a change yet."""
    with concurrent.futures.ThreadPoolExecutor() as threads:
        with lagging(node):
            change()
            future = threads.submit(call)
            concurrent.futures.wait([future], SOON)
        return future.result()


def test_a_node_that_lags_shows_what_others_acknowledged(
    cluster: galera.Cluster, queues: list[Probe]
) -> None:
    one, other, _ = queues
    other.list()
    bodies = through_a_lag(
        cluster.nodes[1], lambda: one.post('a'), other.everything
    )
    assert bodies == ['a']


def test_a_deletion_through_a_node_that_lags_has_its_effect(
    cluster: galera.Cluster, queues: list[Probe]
) -> None:
    one, other, _ = queues
    other.list()
    ids: list[str] = []
    through_a_lag(
        cluster.nodes[1],
        lambda: ids.extend(one.post('a')),
        lambda: other.delete(ids[0]),
    )
    assert one.everything() == []


def test_a_subscription_is_seen_before_a_queue_is_unmarked(
    cluster: galera.Cluster, queues: list[Probe], uris: list[str]
) -> None:
    # As a notifier does: the mark on one node, the list on another.
    one, _, _ = queues
    marked, listed = (
        DRIVER.open_management(uris[number], {}) for number in (0, 1)
    )
    listed.ping()

    def subscribe() -> None:
        marked.create('subscription', one.qid, 'a', {})
        one.store.mark_subscribed(one.qid, now=one.hand.now)

    epochs: list[int] = []

    def read() -> list[str]:
        epochs.append(one.store.subscribed_epoch(one.qid, now=one.hand.now))
        records = listed.list('subscription', one.qid, after=None, limit=10)
        return [record.name for record in records]

    assert through_a_lag(cluster.nodes[1], subscribe, read) == ['a']
    assert epochs == [2]
    marked.close()
    listed.close()


@pytest.mark.parametrize(('option', 'bits'), [(True, 7), (False, 0)])
def test_the_wait_can_be_switched_off(
    uris: list[str], option: bool, bits: int
) -> None:
    store = DRIVER.open_messages(uris[0], {'galera_sync_wait': option})
    sql = 'SELECT @@wsrep_sync_wait'
    server: ServerDatabase = store._database  # type: ignore[attr-defined]  # noqa: SLF001
    assert server.read(lambda session: session.one(sql, {})) == (bits,)
    store.close()


def test_claims_through_all_nodes_conflict_and_none_fails(
    queues: list[Probe],
) -> None:
    queues[0].post(*range(120))

    def take(queue: Probe) -> list[Any]:
        bodies: list[Any] = []
        while (claim := queue.claim(limit=5)) is not None:
            bodies += [message.body for message in claim.messages]
        return bodies

    taken = [body for some in each(take, queues * 2) for body in some]
    assert len(taken) == len(set(taken)) == 120


def test_one_sweeper_works_in_a_cluster(queues: list[Probe]) -> None:
    one, other, _ = queues
    one.post('a')
    one.hand.move(WEEK)
    now = one.hand.now
    server: ServerDatabase = one.store._database  # type: ignore[attr-defined]  # noqa: SLF001
    assert server.write(lambda s: sweeping.take_turn(s, 'one', now))
    assert other.store.sweep(now=now, batch=10) == 0
    # The first one has died.
    later = now + sweeping.TURN
    assert other.store.sweep(now=later, batch=10) > 0


def test_a_turn_ends_with_the_sweep(queues: list[Probe]) -> None:
    for sweeper in queues:
        queues[0].post('a')
        queues[0].hand.move(WEEK)
        assert sweeper.store.sweep(now=sweeper.hand.now, batch=10) > 0


def test_controllers_upgrade_through_different_nodes_at_once(
    cluster: galera.Cluster, tmp_path: pathlib.Path
) -> None:
    uri = cluster.database()

    def upgrade(node: galera.Node) -> tuple[int, str]:
        folder = tmp_path / str(node.number)
        folder.mkdir()
        zaqar = Zaqar(folder, rest=with_database(node.through(uri)))
        done = zaqar.run('upgrade', 'head', program='manage')
        return done.returncode, done.stderr

    assert [code for code, _ in each(upgrade, cluster.nodes)] == [0, 0, 0]
    for node in cluster.nodes:
        assert migrations.current(parse(node.through(uri))) == (
            schema_revision.HEAD
        )
