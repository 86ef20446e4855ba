# SPDX-License-Identifier: Apache-2.0
"""Servers as fixtures: started when a test first asks, one for all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zaqar.tests.servers import sql


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
