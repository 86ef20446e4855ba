# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL and MariaDB servers.

``ZAQAR_TEST_POSTGRESQL_URL`` and ``ZAQAR_TEST_MARIADB_URL`` name servers to be
used instead of our own; databases of random names are made in them.
"""

from __future__ import annotations

import abc
import contextlib
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence

import pymysql
import sqlalchemy as sa

from zaqar.tests.servers import process


class SqlServer(abc.ABC):
    """A server in which each test has databases of its own.

    :ivar url: an administrator's URL
    """

    url: sa.URL

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f'zaqar_{secrets.token_hex(6)}'
        self._administer(f'CREATE DATABASE {name}')
        return self.url.set(database=name).render_as_string(
            hide_password=False
        )

    def drop(self, url: str) -> None:
        """Remove a database."""
        name = sa.make_url(url).database
        force = ' WITH (FORCE)' if url.startswith('postgresql') else ''
        self._administer(f'DROP DATABASE IF EXISTS {name}{force}')

    @abc.abstractmethod
    def stop(self) -> None:
        """End the server if it is ours."""

    def _administer(self, sql: str) -> None:
        engine = sa.create_engine(
            self.url, isolation_level='AUTOCOMMIT', poolclass=sa.NullPool
        )
        with engine.connect() as connection:
            connection.exec_driver_sql(sql)


class GivenServer(SqlServer):
    """A server named by the environment; it is not ours to stop."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)

    def stop(self) -> None:
        """Leave it alone."""


class OwnServer(SqlServer):
    """A server of our own, in a folder that goes with it.

    :param durable: whether it waits for the disk, as tests of what survives
        a crash need
    """

    #: Accounts it may run as if we are root.
    users: Sequence[str]

    def __init__(self, *, durable: bool = False) -> None:
        self.durable = durable
        self.user = process.unprivileged(*self.users)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self.port = process.free_port()
        if self.user is not None:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self._initialize()
        self.start()

    def start(self) -> None:
        """Start it on its port and data, and wait until it answers."""
        self.process = process.Process(
            self._command(), self.folder / 'log', user=self.user
        )
        self.process.wait_until(lambda: process.accepts(self.port))
        self.process.wait_until(self._answers)

    def kill(self) -> None:
        """End it without a warning, children and all."""
        self.process.stop(signal.SIGKILL)

    def halt(self) -> None:
        """End it in good order; :meth:`start` brings it back."""
        self.process.stop(signal.SIGINT)

    def stop(self) -> None:
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abc.abstractmethod
    def _initialize(self) -> None:
        """Make the data folder."""

    @abc.abstractmethod
    def _command(self) -> Sequence[str]:
        """Return what starts the server."""

    def _answers(self) -> bool:
        try:
            self._administer('SELECT 1')
        except sa.exc.DBAPIError:
            return False
        return True

    def _run(self, *command: str) -> str:
        """Run a program to its end and return its output."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            user=_uid(self.user),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f'{command[0]}: {done.stdout}{done.stderr}')
        return done.stdout + done.stderr


class PostgreSQL(OwnServer):
    """A PostgreSQL server, from the newest Debian package there is."""

    users = ('postgres',)

    def _initialize(self) -> None:
        self._locate()
        self._run(
            str(self._bin / 'initdb'),
            *('--pgdata', str(self.folder / 'data')),
            *('--username', 'zaqar', '--auth', 'trust'),
            *('--encoding', 'UTF8', '--locale', 'C.UTF-8', '--no-sync'),
        )

    def _locate(self) -> None:
        """Find the programs."""
        self._bin = _postgresql_programs()
        self.url = sa.make_url(
            f'postgresql+psycopg://zaqar@127.0.0.1:{self.port}/postgres'
        )

    def _settings(self) -> dict[str, str]:
        settings = {
            'listen_addresses': '127.0.0.1',
            'port': str(self.port),
            'unix_socket_directories': str(self.folder),
            'max_connections': '300',
            'shared_buffers': '256MB',
        }
        if not self.durable:
            settings |= {'fsync': 'off', 'synchronous_commit': 'off'}
        return settings

    def _command(self) -> Sequence[str]:
        settings = self._settings().items()
        options = [f'--{key}={value}' for key, value in settings]
        data = str(self.folder / 'data')
        return [str(self._bin / 'postgres'), '-D', data, *options]


class MariaDB(OwnServer):
    """A MariaDB server, from Debian's package."""

    users = ('mysql',)

    def _initialize(self) -> None:
        self._locate()
        self._run(
            self._install,
            '--no-defaults',
            '--auth-root-authentication-method=normal',
            '--skip-test-db',
            f'--datadir={self.folder / "data"}',
            # A server that starts removes the files of others in a shared one.
            f'--tmpdir={self.folder}',
        )

    def _locate(self) -> None:
        """Find the programs."""
        self.url = sa.make_url(
            f'mysql+pymysql://root@127.0.0.1:{self.port}/mysql'
        )
        install = shutil.which('mariadb-install-db')
        server = shutil.which('mariadbd', path=f'{os.defpath}:/usr/sbin')
        if install is None or server is None:
            process.missing('MariaDB is not installed')
        self._install, self._server = install, server

    def _command(self) -> Sequence[str]:
        durable = int(self.durable)
        return [
            self._server,
            '--no-defaults',
            f'--datadir={self.folder / "data"}',
            f'--tmpdir={self.folder}',
            f'--socket={self.folder / "socket"}',
            f'--pid-file={self.folder / "pid"}',
            f'--port={self.port}',
            '--bind-address=127.0.0.1',
            '--max-connections=300',
            '--max-allowed-packet=64M',
            f'--innodb-flush-log-at-trx-commit={durable}',
            *([] if durable else ['--innodb-flush-method=nosync']),
        ]

    def halt(self) -> None:
        self.process.stop(signal.SIGTERM)


class Galera(MariaDB):
    """A Galera cluster of one node, which can be told to lose the others."""

    def _command(self) -> Sequence[str]:
        library = pathlib.Path('/usr/lib/galera/libgalera_smm.so')
        if not library.exists():
            process.missing('Galera is not installed')
        port = process.free_port()
        return [
            *super()._command(),
            '--wsrep-on=ON',
            f'--wsrep-provider={library}',
            '--wsrep-new-cluster',
            '--wsrep-cluster-address=gcomm://',
            '--wsrep-node-address=127.0.0.1',
            '--wsrep-provider-options='
            f'base_port={port};gmcast.listen_addr=tcp://127.0.0.1:{port}',
            '--wsrep-sst-method=skip',
            '--binlog-format=ROW',
            '--innodb-autoinc-lock-mode=2',
        ]

    def refuse(self) -> None:
        """Answer as a node without quorum does."""
        self._reject('ALL')

    def admit(self) -> None:
        """Serve again."""
        self._reject('NONE')

    def _reject(self, what: str) -> None:
        # SQLAlchemy begins with questions that such a node does not answer.
        connection = pymysql.connect(
            host='127.0.0.1', port=self.port, user='root'
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(f'SET GLOBAL wsrep_reject_queries = {what}')


def start(kind: type[OwnServer], *, durable: bool = False) -> SqlServer:
    """Return a server of a kind: the one the environment names, or ours."""
    configured = os.environ.get(f'ZAQAR_TEST_{kind.__name__.upper()}_URL')
    return GivenServer(configured) if configured else kind(durable=durable)


def _postgresql_programs() -> pathlib.Path:
    versions = pathlib.Path('/usr/lib/postgresql').glob('*/bin/initdb')
    programs = sorted(versions, key=lambda path: int(path.parts[-3]))
    if not programs:
        process.missing('PostgreSQL is not installed')
    return programs[-1].parent


def _uid(user: pwd.struct_passwd | None) -> int | None:
    return None if user is None else user.pw_uid
