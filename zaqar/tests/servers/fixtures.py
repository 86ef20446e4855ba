# SPDX-License-Identifier: Apache-2.0
"""Servers as fixtures: started when a test first asks, one for all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zaqar.tests.servers import sql
from zaqar.tests.servers.galera import Cluster
from zaqar.tests.servers.haproxy import HAProxy


@pytest.fixture(scope='session')
def postgresql() -> Iterator[sql.SqlServer]:
    """A PostgreSQL server."""
    server = sql.start(sql.PostgreSQL)
    yield server
    server.stop()


@pytest.fixture(scope='session')
def mariadb() -> Iterator[sql.SqlServer]:
    """A MariaDB server."""
    server = sql.start(sql.MariaDB)
    yield server
    server.stop()


@pytest.fixture(scope='session')
def galera() -> Iterator[Cluster]:
    """A Galera cluster of three nodes; who breaks one mends it."""
    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture(scope='session')
def haproxy(galera: Cluster) -> Iterator[HAProxy]:
    """HAProxy before that cluster."""
    server = HAProxy(galera)
    yield server
    server.stop()
