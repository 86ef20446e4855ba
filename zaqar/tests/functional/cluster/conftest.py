# SPDX-License-Identifier: Apache-2.0
"""Topologies with a service before them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from benchmarks import target
from zaqar.tests.functional.cluster import topologies
from zaqar.tests.functional.cluster.load import Load
from zaqar.tests.functional.cluster.topologies import Topology
from zaqar.tests.servers import sql
from zaqar.tests.servers.haproxy import ALL_WRITERS, SINGLE_WRITER
from zaqar.tests.servers.postgresql_pair import Pair
from zaqar.tests.servers.zaqar import Zaqar

#: Whether all faults happen, three times each, as in "./dev cluster".
LONG = os.environ.get('ZAQAR_TEST_CLUSTER') == 'long'

#: How often each happens; how much of each kind is done on all nodes.
RUNS = int(os.environ.get('ZAQAR_TEST_CLUSTER_RUNS', '3' if LONG else '1'))
CHECKS = int(
    os.environ.get('ZAQAR_TEST_CLUSTER_CHECKS', '2000' if LONG else '30')
)

_NOTIFICATION = """
[notification]
allowed_networks = 127.0.0.0/8
"""

Make = Callable[[pytest.FixtureRequest], Topology]


def _galera(request: pytest.FixtureRequest, mode: str) -> Topology:
    return topologies.Galera(
        request.getfixturevalue('galera'),
        request.getfixturevalue('haproxy'),
        mode,
    )


def _pooled(request: pytest.FixtureRequest, mode: str) -> Topology:
    server = request.getfixturevalue('durable_postgresql')
    return topologies.Pooled(server, mode)


SINGLE, ALL = 'Galera, single writer', 'Galera, all writers'
TRANSACTION, SESSION = 'PgBouncer, transaction', 'PgBouncer, session'
STANDBY = 'PostgreSQL with a standby'

_MAKE: dict[str, Make] = {
    SINGLE: lambda request: _galera(request, SINGLE_WRITER),
    ALL: lambda request: _galera(request, ALL_WRITERS),
    TRANSACTION: lambda request: _pooled(request, 'transaction'),
    SESSION: lambda request: _pooled(request, 'session'),
    STANDBY: lambda request: topologies.Replicated(
        request.getfixturevalue('pair')
    ),
}


@dataclass(frozen=True)
class Site:
    """A topology and services on it."""

    name: str
    topology: Topology
    servers: Sequence[Zaqar]

    def load(self, subscribers: int = 1) -> Load:
        """Return a load that begins when it is entered."""
        return Load(self.servers, self.topology.writes(), subscribers)


@pytest.fixture(scope='session')
def durable_postgresql() -> Iterator[sql.PostgreSQL]:
    """A PostgreSQL server that may be killed."""
    server = sql.PostgreSQL(durable=True)
    yield server
    server.stop()


@pytest.fixture(scope='session')
def pair() -> Iterator[Pair]:
    """A PostgreSQL server with a standby."""
    servers = Pair()
    yield servers
    servers.stop()


@pytest.fixture(scope='session')
def make_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Site]]:
    """Return the site of a name, the last one if it is that."""
    current: list[Site] = []

    def make(name: str) -> Site:
        if current and current[0].name == name:
            return current[0]
        end()
        topology = _MAKE[name](request)
        servers = [
            Zaqar(
                tmp_path_factory.mktemp('zaqar'),
                rest=target.settings(topology.uri, sweep=1) + _NOTIFICATION,
            )
            for _ in range(2)
        ]
        target.create_tables(servers[0], topology.uri)
        for server in servers:
            server.start()
        current.append(Site(name, topology, servers))
        return current[0]

    def end() -> None:
        for site in current:
            for server in site.servers:
                server.stop()
            site.topology.close()
        current.clear()

    yield make
    end()
