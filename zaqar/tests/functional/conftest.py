# SPDX-License-Identifier: Apache-2.0
"""The running service on each database."""

from __future__ import annotations

import contextlib
import pathlib
import secrets
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from zaqar.tests.servers import fixtures
from zaqar.tests.servers.zaqar import Zaqar, with_database

postgresql = fixtures.postgresql
mariadb = fixtures.mariadb
galera = fixtures.galera
haproxy = fixtures.haproxy

# How long an example takes says more of the machine than of the code.
settings.register_profile(
    'zaqar', deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile('zaqar')

ENGINES = ('sqlite', 'postgresql', 'mariadb')


def _database(request: pytest.FixtureRequest, engine: str) -> str:
    if engine == 'sqlite':
        return ''
    return with_database(request.getfixturevalue(engine).database())


@contextlib.contextmanager
def _served(
    request: pytest.FixtureRequest,
    factory: pytest.TempPathFactory,
    engine: str,
) -> Iterator[Zaqar]:
    folder: pathlib.Path = factory.mktemp(f'zaqar-{engine}')
    server = Zaqar(folder, rest=_database(request, engine), workers=2)
    if engine != 'sqlite':
        done = server.run('upgrade', 'head', program='sql_db_manage')
        assert done.returncode == 0, done.stderr
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope='session')
def zaqar(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    """A server, one for all tests to which the engine does not matter."""
    with _served(request, tmp_path_factory, 'sqlite') as server:
        yield server


@pytest.fixture(scope='module', params=ENGINES)
def zaqar_on_each(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    """A server on each engine, one for all tests of a module."""
    if request.param == 'sqlite':
        yield request.getfixturevalue('zaqar')
        return
    with _served(request, tmp_path_factory, request.param) as server:
        yield server


@pytest.fixture
def project() -> str:
    """A project that nobody else has."""
    return secrets.token_hex(16)
