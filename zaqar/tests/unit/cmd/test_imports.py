# SPDX-License-Identifier: Apache-2.0
"""A process imports no library that its configuration does not use."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

#: What an API worker does at start, as far as it imports something.
_START = """
import sys
from zaqar import config_loading, service_assembly
from zaqar.cmd import server
conf = config_loading.load(server.PROG, sys.argv[1:], server.register_opts)
service = service_assembly.Service(conf)
service.application()
service.report_when_asked()
service.close()
print(*sys.modules)
"""

_CONF = """
[DEFAULT]
state_path = {folder}
[drivers]
transport = wsgi
{more}
"""

#: Of other transports, stores and settings. The last two are of reports.
UNUSED = (
    *('alembic', 'autobahn', 'keystoneauth1', 'keystoneclient'),
    *('keystonemiddleware', 'osprofiler', 'prometheus_client', 'pymongo'),
    *('swiftclient', 'cryptography.hazmat.primitives.ciphers'),
    'pygments',
    *('oslo_reports.generators', 'psutil'),
)


def _imported(folder: pathlib.Path, more: str = '') -> frozenset[str]:
    """Return the modules that a configuration imports."""
    conf = folder / 'zaqar.conf'
    conf.write_text(_CONF.format(folder=folder, more=more))
    done = subprocess.run(
        [sys.executable, '-c', _START, '--config-file', str(conf)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return frozenset(done.stdout.split())


@pytest.fixture(scope='module')
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The modules of an API worker on SQLite."""
    return _imported(tmp_path_factory.mktemp('sqlite'))


@pytest.fixture(scope='module')
def on_redis(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """Those of one on a Redis that cannot be reached."""
    more = 'message_store = redis\nmanagement_store = redis\n'
    for plane in ('message', 'management'):
        more += f'[drivers:{plane}_store:redis]\nuri = redis://127.0.0.1:1\n'
    pytest.importorskip('redis')
    return _imported(tmp_path_factory.mktemp('redis'), more)


@pytest.mark.parametrize(
    'name', [*UNUSED, 'sqlalchemy', 'redis', 'psycopg', 'pymysql']
)
def test_a_worker_on_sqlite_imports_nothing_else(
    name: str, on_sqlite: frozenset[str]
) -> None:
    assert 'sqlite3' in on_sqlite
    assert name not in on_sqlite


@pytest.mark.parametrize('name', [*UNUSED, 'sqlalchemy', 'sqlite3'])
def test_a_worker_on_redis_imports_nothing_else(
    name: str, on_redis: frozenset[str]
) -> None:
    assert 'redis' in on_redis
    assert name not in on_redis


def test_what_is_configured_is_imported(tmp_path: pathlib.Path) -> None:
    more = '[transport]\nmessage_encryption_key = a key that is long\n'
    more += '[trustee]\nauth_type = password\nauth_url = http://127.0.0.1:1\n'
    modules = _imported(tmp_path, more)
    assert 'cryptography.hazmat.primitives.ciphers' in modules
    assert 'keystoneauth1' in modules
