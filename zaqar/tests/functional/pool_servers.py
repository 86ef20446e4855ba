# SPDX-License-Identifier: Apache-2.0
"""A store of every kind, each on a server that tests may take away."""

from __future__ import annotations

import abc
import contextlib
import pathlib
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from zaqar.objects import NewMessage
from zaqar.storage import installed_drivers
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.driver_declaration import Driver
from zaqar.tests.servers import mongodb, redis, sql

#: What a Redis needs to keep every acknowledged change.
_DURABLE = {'appendonly': 'yes', 'appendfsync': 'always'}


#: Documents as they are.
_RAW = CodecOptions(document_class=RawBSONDocument)


class PoolServer(abc.ABC):
    """A store for a pool.

    :cvar name: of the pool, of its flavor and of its queue
    :cvar promises: capabilities that clients are shown
    :ivar uri: what the pool is made with
    """

    name: str
    promises: frozenset[str]
    uri: str

    @abc.abstractmethod
    def down(self) -> None:
        """End the server."""

    @abc.abstractmethod
    def up(self) -> None:
        """Start it again with what it had kept."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End it for good."""

    @abc.abstractmethod
    def spare(self) -> tuple[str, dict[str, Any]]:
        """Return URI and options of another, empty store there."""

    @abc.abstractmethod
    def stored(self) -> Iterable[bytes]:
        """Return all messages there, dead ones too, without our code."""

    def holds(self, mark: str) -> int:
        """Count the messages with a body that has a mark."""
        return sum(mark.encode() in message for message in self.stored())

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Have it ended for a while."""
        self.down()
        try:
            yield
        finally:
            self.up()

    def opened(self) -> contextlib.AbstractContextManager[MessageStore]:
        """Open the store beside the service."""
        return opened(self.uri)


class _Sql(PoolServer):
    promises = frozenset({'FIFO', 'CLAIMS', 'DURABILITY', 'AOD'})

    def stored(self) -> Iterable[bytes]:
        engine = sa.create_engine(self.uri, poolclass=sa.NullPool)
        with engine.connect() as connection:
            rows = connection.exec_driver_sql('SELECT body FROM message')
            return [bytes(row[0]) for row in rows]


class Sqlite(_Sql):
    """A file, which nobody serves and which cannot be away."""

    name = 'sqlite'

    def __init__(self, folder: pathlib.Path) -> None:
        self.uri = f'sqlite:///{folder}/pool.sqlite'

    def down(self) -> None:
        raise NotImplementedError

    def up(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Leave it to its folder."""

    def spare(self) -> tuple[str, dict[str, Any]]:
        return f'{self.uri}.spare', {}


class _SqlServer(_Sql):
    kind: type[sql.OwnServer]

    def __init__(self, folder: pathlib.Path) -> None:
        # Not one named by the environment, which is not ours to end.
        self._server = self.kind(durable=True)
        self.uri = self._server.database()

    def down(self) -> None:
        self._server.halt()

    def up(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def spare(self) -> tuple[str, dict[str, Any]]:
        return self._server.database(), {}


class PostgreSQL(_SqlServer):
    """PostgreSQL."""

    name = 'postgresql'
    kind = sql.PostgreSQL


class MariaDB(_SqlServer):
    """MariaDB."""

    name = 'mariadb'
    kind = sql.MariaDB


class Redis(PoolServer):
    """Redis, with a log of all changes."""

    name = 'redis'
    promises = frozenset({'FIFO', 'CLAIMS', 'AOD', 'HIGH_THROUGHPUT'})

    def __init__(self, folder: pathlib.Path) -> None:
        self._server = redis.Redis(_DURABLE)
        self.uri = self._server.url

    def down(self) -> None:
        self._server.kill()

    def up(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def spare(self) -> tuple[str, dict[str, Any]]:
        return f'{self.uri}?dbid=2', {}

    def stored(self) -> Iterable[bytes]:
        with self._server.client() as client:
            keys = [*client.scan_iter(match='zq:{*}:m', count=1000)]
            return [value for key in keys for value in client.hvals(key)]


class MongoDB(PoolServer):
    """MongoDB."""

    name = 'mongodb'
    promises = frozenset({'CLAIMS', 'DURABILITY', 'AOD', 'HIGH_THROUGHPUT'})

    def __init__(self, folder: pathlib.Path) -> None:
        self._server = mongodb.MongoDB('--sync-on-commit')
        self.uri = self._server.uri

    def down(self) -> None:
        self._server.kill()

    def up(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def spare(self) -> tuple[str, dict[str, Any]]:
        return f'{self.uri}&w=majority', {'database': 'spare'}

    def stored(self) -> Iterable[bytes]:
        with self._server.observer() as client:
            return [
                document.raw
                for name in client.list_database_names()
                if '_messages_p' in name
                for document in client[name]
                .get_collection('message', _RAW)
                .find()
            ]


KINDS: tuple[type[Any], ...] = (Sqlite, PostgreSQL, MariaDB, Redis, MongoDB)

#: Those that a server answers for.
SERVED = tuple(kind.name for kind in KINDS if kind is not Sqlite)


@contextlib.contextmanager
def opened(uri: str, **options: Any) -> Iterator[MessageStore]:
    """Open a store beside the service."""
    store = _driver(uri).open_messages(uri, {'unreliable': True, **options})
    try:
        yield store
    finally:
        store.close()


def post_for_a_minute(
    store: MessageStore, qid: str, count: int, *, now: int, mark: str = 'x'
) -> None:
    """Post messages that live for a minute."""
    messages = [
        NewMessage(mark.encode(), 60, secrets.token_hex(8), 'c')
        for _ in range(count)
    ]
    store.post(qid, messages, now=now, token=secrets.token_hex(16))


def _driver(uri: str) -> Driver:
    scheme = uri.partition(':')[0].partition('+')[0]
    for driver in installed_drivers.installed().values():
        if scheme in driver.schemes:
            return driver
    raise LookupError(f'no installed driver knows {scheme}: URIs')
