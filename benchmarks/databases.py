# SPDX-License-Identifier: Apache-2.0
"""The databases to measure."""

from __future__ import annotations

import abc
import contextlib
import functools
import pathlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
import sqlalchemy as sa

from zaqar.tests.servers import galera, redis, sql
from zaqar.tests.servers.zaqar import children

#: What ``pytest`` raises where a server is not installed.
Missing = (pytest.skip.Exception, pytest.fail.Exception)


class Source(abc.ABC):
    """A kind of database.

    :ivar title: what it is, for the reader
    :ivar is_ours: whether it goes when we go
    """

    title: str
    is_ours = True

    @abc.abstractmethod
    def database(self) -> str:
        """Return the URL of an empty database, or of the given one."""

    def processes(self) -> Sequence[int]:
        """Return the processes of its servers, as far as they are ours."""
        return ()


class Sqlite(Source):
    """Files in a folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._count = 0
        self.title = f'SQLite {sqlite3.sqlite_version}, synchronous = FULL'

    def database(self) -> str:
        self._count += 1
        return f'sqlite:///{self._folder / f"{self._count}.sqlite"}'


class Own(Source):
    """A server of the tests, set so that it waits for the disk."""

    def __init__(self, server: sql.SqlServer) -> None:
        self._server = server
        self.title = _server_title(server.url)

    def database(self) -> str:
        return self._server.database()

    def processes(self) -> Sequence[int]:
        if not isinstance(self._server, sql.OwnServer):
            return ()
        first = self._server.process.child.pid
        return [first, *children(first)]


#: Settings of a Redis that waits for the disk. It never writes its log anew
#: meanwhile.
DURABLE: Mapping[str, str] = {
    'appendonly': 'yes',
    'appendfsync': 'always',
    'auto-aof-rewrite-percentage': '0',
}


class OwnRedis(Source):
    """A Redis of the tests."""

    def __init__(self, server: redis.Redis) -> None:
        self._server = server
        self._count = 0
        with server.client() as client:
            version = client.info('server')['redis_version']
            (sync,) = client.config_get('appendfsync').values()
            (logs,) = client.config_get('appendonly').values()
        kept = f'appendfsync = {sync}' if logs == 'yes' else 'in memory only'
        self.title = f'Redis {version}, {kept}'

    def database(self) -> str:
        self._count += 1
        return f'{self._server.url}?dbid={self._count}'

    def processes(self) -> Sequence[int]:
        return [self._server.process.child.pid]


class OwnCluster(Source):
    """A Galera cluster of the tests, of which the first node is written."""

    def __init__(self, cluster: galera.Cluster) -> None:
        self._cluster = cluster
        title = _server_title(cluster.nodes[0].url)
        self.title = f'Galera, {len(cluster.nodes)} nodes of {title}'

    def database(self) -> str:
        return self._cluster.database()

    def processes(self) -> Sequence[int]:
        return [node.process.child.pid for node in self._cluster.nodes]


class Existing(Source):
    """A database of somebody else."""

    is_ours = False

    def __init__(self, url: str) -> None:
        self._url = url
        self.title = hidden(url)

    def database(self) -> str:
        return self._url


@contextlib.contextmanager
def sqlite() -> Iterator[Source]:
    """Give SQLite files in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder:
        yield Sqlite(pathlib.Path(folder))


@contextlib.contextmanager
def own(kind: type[sql.OwnServer]) -> Iterator[Source]:
    """Give databases on a server that ends afterwards.

    :raises BaseException: one of :data:`Missing`: it is not installed
    """
    server = sql.start(kind, durable=True)
    try:
        yield Own(server)
    finally:
        server.stop()


@contextlib.contextmanager
def own_redis(
    settings: Mapping[str, str] = DURABLE,
) -> Iterator[Source]:
    """Give databases on a Redis that ends afterwards.

    :raises BaseException: one of :data:`Missing`: it is not installed
    """
    server = redis.Redis(settings)
    try:
        yield OwnRedis(server)
    finally:
        server.stop()


@contextlib.contextmanager
def own_cluster() -> Iterator[Source]:
    """Give databases on a Galera cluster that ends afterwards.

    :raises BaseException: one of :data:`Missing`: it is not installed
    """
    cluster = galera.Cluster(durable=True)
    try:
        yield OwnCluster(cluster)
    finally:
        cluster.stop()


#: What we start ourselves.
OWN: Mapping[str, Callable[[], contextlib.AbstractContextManager[Source]]] = {
    'sqlite': sqlite,
    'postgresql': functools.partial(own, sql.PostgreSQL),
    'mariadb': functools.partial(own, sql.MariaDB),
    'redis': own_redis,
    'redis-in-memory': functools.partial(own_redis, {}),
    'galera': own_cluster,
}

#: What is measured unless something is named.
DEFAULT = ('sqlite', 'postgresql', 'mariadb', 'redis')


@contextlib.contextmanager
def existing(url: str) -> Iterator[Source]:
    """Give the database that a URL names."""
    yield Existing(url)


def chosen(
    words: Sequence[str],
) -> Sequence[tuple[str, contextlib.AbstractContextManager[Source]]]:
    """Return what to measure, with a name.

    :param words: URLs and keys of :data:`OWN`; empty for :data:`DEFAULT`
    """
    return [
        (word, OWN[word]()) if word in OWN else (hidden(word), existing(word))
        for word in words or DEFAULT
    ]


def hidden(url: str) -> str:
    """Return a URL without its password."""
    scheme, mark, rest = url.partition('://')
    who, at, where = rest.rpartition('@')
    user, colon, _ = who.partition(':')
    return f'{scheme}{mark}{user}{colon}{"***" * bool(colon)}{at}{where}'


def _server_title(url: sa.URL) -> str:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        version = connection.scalar(sa.text('SELECT version()'))
    words = str(version).split()
    if url.get_backend_name() == 'postgresql':
        return f'{words[0]} {words[1]}, fsync = on'
    return f'MariaDB {words[0]}, innodb_flush_log_at_trx_commit = 1'
