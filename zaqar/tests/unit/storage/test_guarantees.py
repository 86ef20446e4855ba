# SPDX-License-Identifier: Apache-2.0
"""What the settings of servers promise that no test can start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pymongo.write_concern import WriteConcern

from zaqar.storage.mongodb import durability_and_failover_guarantees as mongodb
from zaqar.storage.sqlalchemy import (
    durability_and_failover_guarantees as sqlalchemy,
)
from zaqar.storage.store_guarantees import LAST_SECOND, Guarantees, Order

THREE = {'setName': 'rs', 'hosts': ['a', 'b'], 'passives': ['c']}
ONE = {'setName': 'rs', 'hosts': ['a']}


class Deployment:
    """The part of a database that is read."""

    def __init__(self, hello: Mapping[str, Any], **concern: Any) -> None:
        self.write_concern = WriteConcern(**concern)
        self._hello = hello

    def hello(self) -> Mapping[str, Any]:
        """Return what the server says of itself."""
        return self._hello


def of_mongodb(hello: Mapping[str, Any], **concern: Any) -> Guarantees:
    """Return what a deployment promises."""
    deployment: Any = Deployment(hello, **concern)
    return mongodb.read(deployment, strictly=False)


def test_a_replica_set_survives_a_failover_with_a_majority() -> None:
    shown = of_mongodb(THREE, w='majority', j=True)
    assert (shown.store_kill, shown.failover) == (True, True)
    assert shown.order == Order.ALMOST
    assert shown.because[1] == (
        'w = majority, 3 members with data: a majority has each write'
    )
    assert of_mongodb(THREE, w=2, j=True).failover is True


@pytest.mark.parametrize(
    ('hello', 'w'), [(THREE, 1), (ONE, 'majority'), ({}, 1)]
)
def test_other_deployments_do_not(hello: Mapping[str, Any], w: Any) -> None:
    assert of_mongodb(hello, w=w, j=True).failover is False


def test_shards_survive_it_with_a_majority() -> None:
    mongos = {'msg': 'isdbgrid'}
    assert of_mongodb(mongos, w='majority', j=True).failover is True
    assert of_mongodb(mongos, w=2, j=True).failover is None


def test_without_the_journal_a_crash_loses_a_moment() -> None:
    assert of_mongodb(THREE, w='majority', j=False).store_kill == LAST_SECOND


class Session:
    """A connection to MariaDB with these variables."""

    dialect = 'mysql'
    takes_compounds = True

    def __init__(self, **settings: str) -> None:
        self._settings = {'innodb_flush_log_at_trx_commit': '1'} | settings

    def all(self, query: str, values: Any) -> list[tuple[str, str]]:
        """Return all variables with the first query."""
        rows = [] if 'STATUS' in query else [*self._settings.items()]
        return [(name.title(), value) for name, value in rows]


def of_mariadb(**settings: str) -> Guarantees:
    """Return what a server promises."""
    session: Any = Session(**settings)
    return sqlalchemy.read(session)


@pytest.mark.parametrize(
    'settings',
    [
        {'innodb_doublewrite': 'OFF'},
        {'innodb_flush_method': 'nosync'},
        {'log_bin': 'ON', 'sync_binlog': '0'},
    ],
)
def test_settings_of_mariadb_that_lose_commits(
    settings: Mapping[str, str],
) -> None:
    shown = of_mariadb(**settings)
    assert shown.store_kill is False
    for name, value in settings.items():
        assert f'{name} = {value}' in shown.because[0]


def test_a_binary_log_that_is_flushed_is_fine() -> None:
    assert of_mariadb(log_bin='ON', sync_binlog='1').store_kill is True


def test_galera_survives_the_crash_of_a_node() -> None:
    shown = of_mariadb(
        wsrep_on='ON',
        wsrep_cluster_size='3',
        wsrep_cluster_status='Primary',
        innodb_flush_log_at_trx_commit='0',
    )
    assert (shown.store_kill, shown.failover) == (True, True)
    assert 'if all nodes crash at once' in shown.because[0]
    assert 'wsrep_cluster_size = 3 (Primary)' in shown.because[1]
    shown = of_mariadb(
        wsrep_on='ON',
        wsrep_cluster_size='3',
        wsrep_cluster_status='non-Primary',
    )
    assert shown.failover is False
