# SPDX-License-Identifier: Apache-2.0
"""The application, built as an operator's configuration says."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterator

import pytest

from zaqar import config_loading, service_assembly
from zaqar.tests.functional.http import engines
from zaqar.tests.functional.http.client import Api
from zaqar.tests.servers.sql import SqlServer

MakeApi = Callable[..., Api]

#: What serves pools and flavors, to be continued in [DEFAULT].
POOLED = 'admin_mode = true\npooling = true\n'

VIRTUAL = '[pooling:catalog]\nenable_virtual_pool = true\n'

#: With which every operation can succeed for an administrator.
EVERYTHING = (
    f'{POOLED}{VIRTUAL}'
    '[signed_url]\nsecret_key = a key of some length\n'
    '[quotas]\nproject_quotas = true\n'
)

_STATE = re.compile('^state_path = (.*)$', re.MULTILINE)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        'markers', 'sqlite: what concerns SQLite alone runs there alone'
    )
    config.addinivalue_line(
        'markers', 'every_engine: runs on each engine, not on one'
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of the application on one engine, or on each.

    What the stores do is for their contract; few tests here depend on it.
    """
    if 'engine' not in metafunc.fixturenames:
        return
    names = engines.chosen()
    marks = metafunc.definition
    if marks.get_closest_marker('sqlite'):
        names = ('sqlite',)
    elif not marks.get_closest_marker('every_engine'):
        names = names[:1]
    metafunc.parametrize('engine', names, indirect=True, scope='session')


@pytest.fixture(scope='session')
def on_postgresql(postgresql: SqlServer) -> engines.PostgreSQL:
    """Databases with tables, which outlast a change of the engine."""
    return engines.PostgreSQL(postgresql)


@pytest.fixture(scope='session')
def engine(request: pytest.FixtureRequest) -> Iterator[engines.Engine]:
    """The databases that the application runs on."""
    if request.param == 'postgresql':
        engines.current = request.getfixturevalue('on_postgresql')
    yield engines.current
    engines.current = engines.Sqlite()


@pytest.fixture
def make_api(
    tmp_path: pathlib.Path, engine: engines.Engine
) -> Iterator[MakeApi]:
    """A function that builds an application from configuration text."""
    built: list[service_assembly.Service] = []

    def make(text: str = '') -> Api:
        folder = tmp_path / str(len(built))
        folder.mkdir()
        file = folder / 'zaqar.conf'
        state = _STATE.search(text)
        place = engine.place(state[1] if state else str(folder))
        file.write_text(f'[DEFAULT]\nstate_path = {folder}\n{text}\n{place}')
        conf = config_loading.load(
            'zaqar-server', ['--config-file', str(file)]
        )
        built.append(service_assembly.Service(conf))
        return Api(built[-1])

    yield make
    for service in built:
        service.close()
    engine.clean(str(tmp_path))


@pytest.fixture
def whole(make_api: MakeApi) -> Api:
    """The application with all there is, for an administrator."""
    return make_api(POOLED + VIRTUAL).as_admin()


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """The application with default settings."""
    return make_api()
