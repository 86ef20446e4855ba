# SPDX-License-Identifier: Apache-2.0
"""How the suite opens the stores of each driver, on a real server."""

from __future__ import annotations

import abc
import contextlib
import enum
import os
import pathlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib import parse

import pytest
import sqlalchemy as sa

from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.driver_declaration import Driver
from zaqar.storage.redis.driver_declaration import DRIVER as REDIS
from zaqar.storage.sqlalchemy import (
    server_connections_and_poolers,
    server_database,
)
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
from zaqar.tests.servers import pgbouncer, redis, sql, sql_tables


class Feature(enum.StrEnum):
    """What a back end has beside the contract; tests may need it.

    :cvar ENDPOINT: it is reached over TCP, so that connections can be cut
    :cvar SERVER_CLOCK: it has a clock, which may differ from ours
    :cvar FILE: it is a file that another process can lock
    :cvar REMAINS: what is purged or dropped is left to the sweeper, since the
        server does not free it by itself
    :cvar WATCH: it reports changes
    :cvar GROUPS: messages may have groups
    :cvar HELD_BYTES: it counts the bytes that queues hold
    """

    ENDPOINT = 'endpoint'
    SERVER_CLOCK = 'server clock'
    FILE = 'file'
    REMAINS = 'remains'
    WATCH = 'watch'
    GROUPS = 'groups'
    HELD_BYTES = 'held bytes'


class Harness(abc.ABC):
    """A driver, and a server to run it on.

    :cvar name: shown in the names of the tests
    :cvar features: what tests may count on
    :cvar options: those of the driver's group, by name
    :cvar core: modules that are run by default where the server is too slow
        for all; None for all
    :ivar slowness: what large counts of tests are divided by
    """

    name: ClassVar[str]
    driver: ClassVar[Driver]
    features: ClassVar[frozenset[Feature]] = frozenset()
    options: ClassVar[Mapping[str, Any]] = {}
    core: ClassVar[frozenset[str] | None] = None
    slowness: int = 1

    @abc.abstractmethod
    def start(self) -> None:
        """Start the server, or call ``process.missing``."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End it and leave nothing behind."""

    @abc.abstractmethod
    def database(self) -> str:
        """Return the URI of a place that is empty and ready for use."""

    def server(self) -> str:
        """Return name and version of the server."""
        return self.name

    def refused(self) -> Sequence[str]:
        """Return what was sent so far and stricter servers would refuse."""
        return ()

    def give_time(self, patch: pytest.MonkeyPatch) -> None:
        """Let calls take longer, where the server is slow."""
        return

    def forget(self, uri: str) -> None:
        """Remove all messages, where the server is the slower for them."""
        return

    def open_messages(self, uri: str) -> MessageStore:
        """Open a message store."""
        return self.driver.open_messages(uri, self.options)

    def open_management(self, uri: str) -> ManagementStore:
        """Open a management store."""
        return self.driver.open_management(uri, self.options)

    def connections(self, uri: str) -> int:
        """Return how many connections the server counts, ours left out.

        A harness that cannot tell answers 0.
        """
        return 0

    def transactions(self, uri: str) -> int:
        """Return how many transactions are open; see :meth:`connections`."""
        return 0

    def borrowed(self) -> int:
        """Return how many pooled connections are not back in their pools."""
        return 0

    def endpoint(self, uri: str) -> tuple[str, int]:
        """Return host and port of the server (``ENDPOINT``)."""
        raise NotImplementedError

    def via(self, uri: str, port: int) -> str:
        """Return the URI with a port of 127.0.0.1 instead (``ENDPOINT``)."""
        raise NotImplementedError

    def locked(self, uri: str) -> contextlib.AbstractContextManager[None]:
        """Keep all other writers out (``FILE``)."""
        raise NotImplementedError

    @abc.abstractmethod
    def faulty(self) -> Mapping[str, str]:
        """Return URIs that no store can be opened with, by their faults."""


class Sqlite(Harness):
    """SQLite, each database a file of its own."""

    name = 'sqlite'
    driver = DRIVER
    features = frozenset(
        {
            Feature.FILE,
            Feature.REMAINS,
            Feature.WATCH,
            Feature.GROUPS,
            Feature.HELD_BYTES,
        }
    )

    def start(self) -> None:
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self._made = 0

    def stop(self) -> None:
        shutil.rmtree(self._folder)

    def server(self) -> str:
        return f'SQLite {sqlite3.sqlite_version}'

    def database(self) -> str:
        self._made += 1
        return f'sqlite:///{self._folder}/{self._made}.sqlite'

    def connections(self, uri: str) -> int:
        path = _path(uri)
        return sum(target == path for target in _open_files())

    def transactions(self, uri: str) -> int:
        path = _path(uri)
        if not os.path.exists(path):
            return 0
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
            # Busy as long as anyone reads or writes.
            row = other.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()
        return int(row[0])

    @contextlib.contextmanager
    def locked(self, uri: str) -> Iterator[None]:
        other = sqlite3.connect(_path(uri), isolation_level=None)
        with contextlib.closing(other):
            other.execute('BEGIN IMMEDIATE')
            yield
            other.execute('ROLLBACK')

    def faulty(self) -> Mapping[str, str]:
        file = self._folder / 'no-folder'
        file.write_text('')
        return {
            'malformed URI': 'sqlite:/',
            'another engine': 'oracle://127.0.0.1/zaqar',
            'missing folder': f'sqlite:///{self._folder}/none/z.sqlite',
            'folder is a file': f'sqlite:///{file}/z.sqlite',
            'in memory': 'sqlite:///:memory:',
            'relative path': 'sqlite:///zaqar.sqlite',
        }


class _Server(Harness):
    """A database server, and databases made in it.

    :cvar open_count: SQL that counts a database's connections
    :cvar busy_count: SQL that counts its open transactions
    :cvar version: SQL that names the server
    """

    driver = DRIVER
    features = frozenset(
        {
            Feature.ENDPOINT,
            Feature.SERVER_CLOCK,
            Feature.REMAINS,
            Feature.GROUPS,
            Feature.HELD_BYTES,
        }
    )
    kind: ClassVar[type[sql.OwnServer]]
    open_count: ClassVar[str]
    busy_count: ClassVar[str]
    version: ClassVar[str]

    def server(self) -> str:
        return str(self._observer.scalar(sa.text(self.version)))

    def give_time(self, patch: pytest.MonkeyPatch) -> None:
        # A busy machine needs seconds for a post of thousands.
        patch.setattr(server_database, 'DEADLINE', 20.0)
        patch.setattr(
            server_connections_and_poolers, 'STATEMENT_TIMEOUT', 20_000
        )

    def start(self) -> None:
        self._server = sql.start(self.kind)
        self._made: list[str] = []
        self._borrowed: set[Any] = set()
        self._observer = _engine(self._server.url).connect()
        sa.event.listen(sa.QueuePool, 'checkout', self._lend)
        sa.event.listen(sa.QueuePool, 'checkin', self._take_back)

    def stop(self) -> None:
        sa.event.remove(sa.QueuePool, 'checkout', self._lend)
        sa.event.remove(sa.QueuePool, 'checkin', self._take_back)
        self._observer.close()
        for uri in self._made:
            self._server.drop(uri)
        self._server.stop()

    def database(self) -> str:
        uri = self._empty()
        _prepare(uri)
        return uri

    def connections(self, uri: str) -> int:
        return self._ask(uri, self.open_count)

    def transactions(self, uri: str) -> int:
        return self._ask(uri, self.busy_count)

    def borrowed(self) -> int:
        return len(self._borrowed)

    def endpoint(self, uri: str) -> tuple[str, int]:
        url = sa.make_url(uri)
        return str(url.host), int(url.port or 0)

    def via(self, uri: str, port: int) -> str:
        return _text(sa.make_url(uri).set(host='127.0.0.1', port=port))

    def faulty(self) -> Mapping[str, str]:
        url = self._server.url
        return {
            'malformed URI': _text(url).replace('://', ':/'),
            'malformed port': f'{self.name}://zaqar@127.0.0.1:port/zaqar',
            'another engine': 'oracle://127.0.0.1/zaqar',
            'unknown user': _text(url.set(username='nobody_known')),
            'unknown database': _text(url.set(database='zaqar_none')),
            'missing tables': self._empty(),
        }

    def _empty(self) -> str:
        uri = self._server.database()
        self._made.append(uri)
        return uri

    def _ask(self, uri: str, question: str) -> int:
        name = sa.make_url(uri).database
        return int(
            self._observer.scalar(sa.text(question), {'name': name}) or 0
        )

    def _lend(self, _connection: Any, record: Any, _proxy: Any) -> None:
        self._borrowed.add(record)

    def _take_back(self, _connection: Any, record: Any) -> None:
        # May have failed before it was lent.
        self._borrowed.discard(record)


class PostgreSQL(_Server):
    """PostgreSQL."""

    name = 'postgresql'
    features = _Server.features | {Feature.WATCH}
    kind = sql.PostgreSQL
    # The server's own vacuum workers are not connections of ours.
    open_count = (
        'SELECT count(*) FROM pg_stat_activity WHERE datname = :name '
        "AND backend_type = 'client backend'"
    )
    busy_count = f"{open_count} AND state <> 'idle'"
    version = "SELECT 'PostgreSQL ' || current_setting('server_version')"


class PgBouncer(PostgreSQL):
    """PostgreSQL behind PgBouncer, which lends connections it shares."""

    name = 'pgbouncer'
    features = _Server.features
    core = frozenset(
        {
            'test_claims',
            'test_concurrency',
            'test_deleting',
            'test_lost_answers',
            'test_opening',
            'test_posting',
            'test_settling',
            'test_watch',
        }
    )

    def server(self) -> str:
        return f'{super().server()} behind {self._bouncer.version()}'

    def start(self) -> None:
        super().start()
        self._bouncer = pgbouncer.PgBouncer(
            self._server.url, pool_mode='transaction'
        )

    def stop(self) -> None:
        self._bouncer.stop()
        super().stop()

    def database(self) -> str:
        return self._bouncer.url(super().database())

    def connections(self, uri: str) -> int:
        # They are PgBouncer's own, and stay.
        return 0

    def faulty(self) -> Mapping[str, str]:
        return {
            name: uri
            if 'malformed' in name or 'another' in name
            else self._bouncer.url(uri)
            for name, uri in super().faulty().items()
        }


class MariaDB(_Server):
    """MariaDB."""

    name = 'mariadb'
    kind = sql.MariaDB
    open_count = (
        'SELECT count(*) FROM information_schema.processlist WHERE db = :name'
    )
    busy_count = (
        'SELECT count(*) FROM information_schema.innodb_trx t '
        'JOIN information_schema.processlist p '
        'ON p.id = t.trx_mysql_thread_id WHERE p.db = :name'
    )
    version = "SELECT concat('MariaDB ', version())"


class Redis(Harness):
    """Redis, each place a database of one server."""

    name = 'redis'
    driver = REDIS
    features = frozenset(
        {
            Feature.ENDPOINT,
            Feature.SERVER_CLOCK,
            Feature.WATCH,
            Feature.GROUPS,
            Feature.HELD_BYTES,
        }
    )

    def start(self) -> None:
        self._server = self._start()
        self._client = self._server.client()
        self._made = 0

    def _start(self) -> redis.Redis | redis.GivenRedis:
        return redis.start()

    def stop(self) -> None:
        self._client.close()
        self._server.stop()

    def server(self) -> str:
        info = self._client.info('server')
        if 'valkey_version' in info:
            return f'Valkey {info["valkey_version"]}'
        return f'Redis {info["redis_version"]}'

    def database(self) -> str:
        # Ours is the first one.
        self._made += 1
        with self._server.client(db=self._made) as client:
            client.flushdb()
        return f'{self._server.url}?dbid={self._made}'

    def connections(self, uri: str) -> int:
        number = uri.rpartition('=')[2]
        return sum(
            client['db'] == number for client in self._client.client_list()
        )

    def endpoint(self, uri: str) -> tuple[str, int]:
        address = parse.urlsplit(uri)
        return str(address.hostname), int(address.port or 6379)

    def via(self, uri: str, port: int) -> str:
        netloc = f'127.0.0.1:{port}'
        return parse.urlsplit(uri)._replace(netloc=netloc).geturl()

    def faulty(self) -> Mapping[str, str]:
        url = self._server.url
        place = url.partition('//')[2]
        return {
            'malformed URI': f'redis:{place}',
            'malformed port': 'redis://127.0.0.1:port',
            'no host': 'redis://',
            'user without password': f'redis://user@{place}',
            'several hosts': f'redis://{place},{place}',
            'option of another driver': f'{url}?replicaSet=x',
            'database that is none': f'{url}?dbid=x',
            'missing database': f'{url}?dbid=100000',
            'unknown user': f'redis://nobody:password@{place}',
            'no cluster': f'redis+cluster://{place}',
            'no Sentinel': f'{url}?master=zaqar',
            'missing file': f'rediss://{place}?ssl_ca_certs=/none.pem',
        }


class Valkey(Redis):
    """Valkey, which runs the same scripts."""

    name = 'valkey'
    core = frozenset(
        {
            'test_availability',
            'test_claims',
            'test_dead_letters',
            'test_duplicates',
            'test_extending',
            'test_message_fields',
            'test_opening',
            'test_posting',
            'test_settling',
            'test_watch',
        }
    )

    def _start(self) -> redis.Redis:
        return redis.Redis(program=redis.valkey())


class RedisCluster(Harness):
    """A Redis Cluster, each place a prefix of its own."""

    name = 'redis+cluster'
    driver = REDIS
    features = frozenset(
        {
            Feature.SERVER_CLOCK,
            Feature.WATCH,
            Feature.GROUPS,
            Feature.HELD_BYTES,
        }
    )

    def start(self) -> None:
        self._cluster = redis.Cluster()
        self._made = 0

    def stop(self) -> None:
        self._cluster.stop()

    def server(self) -> str:
        with self._cluster.nodes[0].client() as client:
            version = client.info('server')['redis_version']
        return f'Redis Cluster {version}'

    def database(self) -> str:
        self._made += 1
        return f'{self._cluster.url}?prefix=place{self._made}'

    def faulty(self) -> Mapping[str, str]:
        node = self._cluster.nodes[0].url
        return {
            'no host': 'redis+cluster://',
            'malformed host': 'redis+cluster://a:b:1',
            'part of a cluster': node,
            'a database': f'{self._cluster.url}?dbid=1',
            'a master': f'{self._cluster.url}?master=zaqar',
            'malformed prefix': f'{self._cluster.url}?prefix={{x}}',
        }


#: All harnesses; see the package's docstring on how to add one.
HARNESSES: list[type[Harness]] = [
    Sqlite,
    PostgreSQL,
    PgBouncer,
    MariaDB,
    Redis,
    Valkey,
    RedisCluster,
]


def register(harness: type[Harness]) -> None:
    """Let the suite run over one more driver."""
    HARNESSES.append(harness)


def is_whole() -> bool:
    """Tell whether every harness runs everything."""
    return bool(os.environ.get('ZAQAR_TEST_WHOLE'))


def chosen() -> list[type[Harness]]:
    """Return the harnesses that ``ZAQAR_TEST_ENGINE`` names, or all.

    :raises ValueError: one that it names does not exist
    """
    names = os.environ.get('ZAQAR_TEST_ENGINE')
    if not names:
        return HARNESSES
    by_name = {harness.name: harness for harness in HARNESSES}
    unknown = sorted(set(names.split(',')) - set(by_name))
    if unknown:
        raise ValueError(f'ZAQAR_TEST_ENGINE: there is no {unknown[0]}')
    return [by_name[name] for name in names.split(',')]


def _prepare(uri: str) -> None:
    """Make the tables in an empty database."""
    engine = _engine(uri)
    with engine.connect() as connection:
        sql_tables.create(connection)


def _engine(url: str | sa.URL) -> sa.Engine:
    return sa.create_engine(
        url, poolclass=sa.NullPool, isolation_level='AUTOCOMMIT'
    )


def _text(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)


def _path(uri: str) -> str:
    return str(sa.make_url(uri).database)


def _open_files() -> Iterator[str]:
    for entry in pathlib.Path('/proc/self/fd').iterdir():
        with contextlib.suppress(OSError):
            yield os.readlink(entry)
