# SPDX-License-Identifier: Apache-2.0
"""The running service on each database."""

from __future__ import annotations

import pathlib
import secrets
from collections.abc import Iterator

import pytest
from hypothesis import settings

from zaqar.tests.servers import fixtures
from zaqar.tests.servers.zaqar import Zaqar, with_database

postgresql = fixtures.postgresql
mariadb = fixtures.mariadb
galera = fixtures.galera
haproxy = fixtures.haproxy

# How long an example takes says more of the machine than of the code.
settings.register_profile('zaqar', deadline=None)
settings.load_profile('zaqar')

ENGINES = ('sqlite', 'postgresql', 'mariadb')


def _database(request: pytest.FixtureRequest, engine: str) -> str:
    if engine == 'sqlite':
        return ''
    return with_database(request.getfixturevalue(engine).database())


@pytest.fixture(scope='session', params=ENGINES)
def zaqar(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    """A server, one for all tests on its engine."""
    folder: pathlib.Path = tmp_path_factory.mktemp(f'zaqar-{request.param}')
    server = Zaqar(folder, rest=_database(request, request.param), workers=2)
    if request.param != 'sqlite':
        done = server.run('upgrade', 'head', program='manage')
        assert done.returncode == 0, done.stderr
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def project() -> str:
    """A project that nobody else has."""
    return secrets.token_hex(16)
