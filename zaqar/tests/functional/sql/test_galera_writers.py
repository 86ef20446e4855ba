# SPDX-License-Identifier: Apache-2.0
"""A Galera cluster of which every node is written."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pymysql
import pytest

from zaqar.objects import Claim
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.sqlalchemy import (
    claim_request,
    claimable_rows,
    claiming_in_several_statements,
    database_schema_revision,
    driver_declaration,
    migrations,
    mysql_claims_sharing_transactions,
    sweeping,
)
from zaqar.storage.sqlalchemy.database_interface import SqlDatabase
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER, parse
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import WEEK, Hand, Probe, bodies, token
from zaqar.tests.contract.settlers import settle_all
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


class Silencing:
    """A subscription to a queue that a notifier is about to silence.

    :param messages: where to mark, and where to unmark
    :param records: where to create the subscription, and where to look for it
    """

    #: The calls of a controller, and those of a notifier.
    SUBSCRIBING = ('create', 'mark')
    NOTIFYING = ('read', 'list', 'unmark')

    def __init__(
        self, messages: list[MessageStore], records: list[ManagementStore]
    ) -> None:
        self.marking, self.unmarking = messages
        self.creating, self.listing = records
        self.qid = token()
        self.now = Hand().now
        self.marking.mark_subscribed(self.qid, now=self.now)
        # The node of the list has come so far.
        self.unmarking.subscribed_epoch(self.qid, now=self.now)
        self.list()

    @classmethod
    def orders(cls) -> Iterator[list[str]]:
        """Yield each order in which the calls of both can be made."""
        length = len(cls.SUBSCRIBING) + len(cls.NOTIFYING)
        for places in itertools.combinations(range(length), 2):
            calls = (iter(cls.NOTIFYING), iter(cls.SUBSCRIBING))
            yield [next(calls[place in places]) for place in range(length)]

    def create(self) -> None:
        self.creating.create('subscription', self.qid, 'a', {})

    def mark(self) -> None:
        self.marking.mark_subscribed(self.qid, now=self.now)

    def read(self) -> None:
        self.epoch = self.marking.subscribed_epoch(self.qid, now=self.now)

    def list(self) -> None:
        self.subscriptions = self.listing.list(
            'subscription', self.qid, after=None, limit=10
        )

    def unmark(self) -> None:
        if not self.subscriptions:
            self.unmarking.unmark_subscribed(
                self.qid, self.epoch, now=self.now
            )

    def is_silenced(self) -> bool:
        return not self.marking.subscribed_epoch(self.qid, now=self.now)


@pytest.mark.parametrize(
    ('unmarking', 'waits'), [(2, True), (2, False), (1, False)]
)
def test_no_order_of_calls_silences_a_subscription(
    cluster: galera.Cluster, uris: list[str], unmarking: int, waits: bool
) -> None:
    options = {'galera_sync_wait': waits}
    messages = [
        DRIVER.open_messages(uris[number], options)
        for number in (0, unmarking)
    ]
    records = [DRIVER.open_management(uri, options) for uri in uris[:2]]
    for order in Silencing.orders():
        silencing = Silencing(messages, records)
        with (
            concurrent.futures.ThreadPoolExecutor() as threads,
            contextlib.ExitStack() as lag,
        ):
            lag.enter_context(lagging(cluster.nodes[1]))
            for name in order:
                call = threads.submit(getattr(silencing, name))
                if concurrent.futures.wait([call], SOON).not_done:
                    # It waits for the node.
                    lag.close()
                call.result()
        assert not silencing.is_silenced(), order
    for store in (*messages, *records):
        store.close()


@pytest.mark.parametrize(('option', 'bits'), [(True, 7), (False, 0)])
def test_the_wait_can_be_switched_off(
    uris: list[str], option: bool, bits: int
) -> None:
    server = driver_declaration.open_database(
        uris[0], {'galera_sync_wait': option}
    )
    sql = 'SELECT @@wsrep_sync_wait'
    with contextlib.closing(server):
        assert server.read(lambda session: session.one(sql, {})) == (bits,)


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


def test_settlers_through_all_nodes_never_hold_the_same(
    queues: list[Probe],
) -> None:
    posted = queues[0].post(*range(60), ttl=1_000_000)
    settle_all(queues * 2, posted, queues[0].hand)


@pytest.fixture
def server(uris: list[str]) -> Iterator[SqlDatabase]:
    """The database through the first node."""
    with contextlib.closing(
        driver_declaration.open_database(uris[0], {})
    ) as server:
        yield server


@pytest.mark.parametrize('is_undone_unnoticed', [False, True])
@pytest.mark.parametrize('together', [False, True])
def test_a_claim_takes_nothing_that_another_node_has_given_away(
    server: SqlDatabase,
    queues: list[Probe],
    monkeypatch: pytest.MonkeyPatch,
    together: bool,
    is_undone_unnoticed: bool,
) -> None:
    one, other, _ = queues
    one.post(*range(5))
    request = claim_request.ClaimRequest(
        one.qid,
        token(),
        claim_request.lifetime_values(one.hand.now, 300, 60),
        limit=5,
        max_claims=0,
        version=None,
    )
    select = claimable_rows.select_free_of_each
    claims: list[Claim] = []
    rivals = iter([other])

    def select_before_a_rival(*args: Any) -> Any:
        rows = select(*args)
        claims.extend(rival.take(3) for rival in rivals)
        return rows

    def work(session: Any) -> Any:
        if together:
            claim = mysql_claims_sharing_transactions.claim(
                session, [request]
            )[0]
        else:
            claim = claiming_in_several_statements.claim(session, request)
        # What was put off is sent, even without a transaction.
        session.commit()
        return claim

    for module in (claimable_rows, mysql_claims_sharing_transactions):
        monkeypatch.setattr(
            module, 'select_free_of_each', select_before_a_rival
        )
    # Without a transaction there are no locks, as after one whose end was
    # missed.
    run = server.read if is_undone_unnoticed else server.write
    with contextlib.suppress(
        claiming_in_several_statements.RepeatedClaimError
    ):
        run(work)
    claims += filter(None, [one.claimed(request.claim_id)])
    taken = [body for claim in claims for body in bodies(claim.messages)]
    assert sorted(taken) == list(range(5))


def test_one_sweeper_works_in_a_cluster(
    server: SqlDatabase, queues: list[Probe]
) -> None:
    one, other, _ = queues
    one.post('a')
    one.hand.move(WEEK)
    now = one.hand.now
    assert server.write(sweeping.take_turn, 'one', now)
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
        run = zaqar.run('upgrade', 'head', program='sql_db_manage')
        # What it says about rivals is no error.
        return run.returncode, run.stderr if run.returncode else ''

    assert each(upgrade, cluster.nodes) == [(0, '')] * 3
    for node in cluster.nodes:
        assert migrations.current(parse(node.through(uri))) == (
            database_schema_revision.HEAD
        )
