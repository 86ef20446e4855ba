# SPDX-License-Identifier: Apache-2.0
"""Databases and programs of deployments."""

from __future__ import annotations

import pathlib

import pytest

from zaqar.tests.servers.zaqar import Zaqar, with_database


@pytest.fixture(params=['sqlite', 'postgresql', 'mariadb'])
def database(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """The URL of an empty database, on each engine."""
    if request.param == 'sqlite':
        return f'sqlite:///{tmp_path}/zaqar.sqlite'
    url: str = request.getfixturevalue(request.param).database()
    return url


@pytest.fixture
def programs(tmp_path: pathlib.Path, database: str) -> Zaqar:
    """Our programs on a database with tables."""
    zaqar = Zaqar(tmp_path, rest=with_database(database))
    done = zaqar.run('upgrade', 'head', program='sql_db_manage')
    assert done.returncode == 0, done.stderr
    return zaqar
