# SPDX-License-Identifier: Apache-2.0
"""A node of a Galera cluster that has lost the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from zaqar.errors import StoreUnavailable
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.sqlalchemy import error_classification, migrations
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER, parse
from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.functional.redis.load import BOUND, Load
from zaqar.tests.servers import sql


@pytest.fixture(scope='module')
def node() -> Iterator[sql.Galera]:
    """A cluster of one."""
    galera = sql.Galera()
    yield galera
    galera.stop()


@pytest.fixture
def stores(
    node: sql.Galera,
) -> Iterator[tuple[MessageStore, ManagementStore]]:
    """Both planes, in a new database."""
    uri = node.database()
    migrations.upgrade(parse(uri), 'head')
    messages, management = (
        DRIVER.open_messages(uri, {}),
        DRIVER.open_management(uri, {}),
    )
    yield messages, management
    node.admit()
    messages.close()
    management.close()


CALLS: dict[str, Callable[[Probe, ManagementStore], Any]] = {
    'post': lambda queue, _: queue.post('b'),
    'list': lambda queue, _: queue.everything(),
    'claim': lambda queue, _: queue.claim(),
    'sweep': lambda queue, _: queue.store.sweep(now=0, batch=1),
    'get': lambda _, records: records.get('kind', 'parent', 'name'),
    'create': lambda _, records: records.create('kind', 'parent', 'b', {}),
    # Such a node answers "SELECT 1" and its clock.
    'ping': lambda queue, _: queue.store.ping(),
    'ping of the other': lambda _, records: records.ping(),
}


def test_a_node_without_quorum_is_unavailable(
    node: sql.Galera, stores: tuple[MessageStore, ManagementStore]
) -> None:
    messages, management = stores
    queue = Probe(messages, Hand())
    queue.post('a')
    node.refuse()
    for call in CALLS.values():
        with ends_within(BOUND), pytest.raises(StoreUnavailable):
            call(queue, management)
    node.admit()
    messages.ping()
    management.ping()
    assert queue.everything() == ['a']


def test_a_store_may_be_opened_meanwhile(node: sql.Galera) -> None:
    uri = node.database()
    migrations.upgrade(parse(uri), 'head')
    node.refuse()
    store = DRIVER.open_messages(uri, {})
    queue = Probe(store, Hand())
    try:
        with pytest.raises(StoreUnavailable):
            queue.post('early')
        node.admit()
        queue.post('late')
        assert queue.everything() == ['late']
    finally:
        node.admit()
        store.close()


def test_its_connections_are_given_up(
    node: sql.Galera, stores: tuple[MessageStore, ManagementStore]
) -> None:
    messages, management = stores
    queue = Probe(messages, Hand())
    queue.post('a')
    management.ping()
    before = _connections(node)
    node.refuse()
    for store in stores:
        with contextlib.suppress(StoreUnavailable):
            store.ping()
    # A balancer leads the next ones to another node.
    node.admit()
    messages.ping()
    management.ping()
    assert not before & _connections(node)


def _connections(node: sql.Galera) -> set[int]:
    engine = sa.create_engine(node.url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            'SELECT id FROM information_schema.processlist '
            "WHERE db LIKE 'zaqar%%'"
        )
        return {row[0] for row in rows}


def test_a_load_goes_through_a_node_that_comes_and_goes(
    node: sql.Galera, stores: tuple[MessageStore, ManagementStore]
) -> None:
    load = Load(stores[0])
    with load:
        for _ in range(2):
            load.wait_for(30)
            node.refuse()
            load.wait_for_refusal()
            node.admit()
        load.wait_for(30)
    load.check()


@pytest.mark.parametrize('number', [1047, 1180, 1317, 1969])
def test_what_a_server_cannot_do_now_is_no_fault_of_the_statement(
    number: int,
) -> None:
    # The second comes at a commit in the moment that the others are lost.
    assert error_classification.is_connection_loss(
        'mysql', Exception(number, 'text')
    )
