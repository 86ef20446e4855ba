# SPDX-License-Identifier: Apache-2.0
"""The databases that the application runs on in these tests.

``ZAQAR_TEST_ENGINE`` names one of them, or several with commas between;
without it the tests run on all.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import sqlalchemy as sa

from zaqar.storage.sqlalchemy import sqlite_creation, tables
from zaqar.tests.servers import sql, sql_tables
from zaqar.tests.servers.zaqar import with_database

#: What the database of the service itself is called beside those of pools.
OWN = 'zaqar'


class Engine(abc.ABC):
    """Databases by a folder, which is that of a service, and by a name.

    :cvar version: the header of a version that each request has, '' for none
    """

    version: ClassVar[str] = ''

    @abc.abstractmethod
    def uri(self, folder: str, name: str) -> str:
        """Return the URI of a database, empty when it is first asked for."""

    @abc.abstractmethod
    def place(self, folder: str) -> str:
        """Return what a configuration says of the service's own database."""

    @abc.abstractmethod
    def clean(self, folder: str) -> None:
        """Forget the databases of a folder and of those in it."""

    def rows(self, folder: str, name: str, statement: Any) -> list[Any]:
        """Run a statement on a database; return the rows of its answer."""
        engine = sa.create_engine(
            self.uri(folder, name), poolclass=sa.NullPool
        )
        with engine.begin() as connection:
            result = connection.execute(statement)
            return (
                [tuple(row) for row in result] if result.returns_rows else []
            )

    def copy(self, folder: str, source: str, target: str) -> None:
        """Put all rows of a database into an empty one."""
        for table in tables.METADATA.sorted_tables:
            rows = self.rows(folder, source, sa.select(table))
            if rows:
                statement = sa.insert(table).values(rows)
                self.rows(folder, target, statement)


class Sqlite(Engine):
    """Files in the folder."""

    def uri(self, folder: str, name: str) -> str:
        return f'sqlite:///{folder}/{name}.sqlite'

    def place(self, folder: str) -> str:
        return ''

    def clean(self, folder: str) -> None:
        """Leave the files; they go with the folder."""

    def copy(self, folder: str, source: str, target: str) -> None:
        sqlite_creation.create_sqlite(f'{folder}/{target}.sqlite')
        super().copy(folder, source, target)


class PostgreSQL(Engine):
    """Databases of a server. Emptied, they serve the next test.

    All tests of SQLite send no version, all of these the one that is then the
    default: the answers have to be the same.
    """

    version = 'messaging 2.0'

    def __init__(self, server: sql.SqlServer) -> None:
        self._server = server
        self._free: list[str] = []
        self._used: dict[tuple[str, str], str] = {}

    def uri(self, folder: str, name: str) -> str:
        key = (folder, name)
        if key not in self._used:
            database = self._free.pop() if self._free else self._made()
            self._used[key] = database
        return self._used[key]

    def place(self, folder: str) -> str:
        return with_database(self.uri(folder, OWN))

    def clean(self, folder: str) -> None:
        over = [key for key in self._used if key[0].startswith(folder)]
        for key in over:
            uri = self._used.pop(key)
            _empty(uri)
            self._free.append(uri)

    def _made(self) -> str:
        uri = self._server.database()
        engine = sa.create_engine(uri, poolclass=sa.NullPool)
        with engine.begin() as connection:
            sql_tables.create(connection)
        return uri


#: The engine that tests run on at the moment.
current: Engine = Sqlite()

ENGINES = ('sqlite', 'postgresql')


def chosen() -> Sequence[str]:
    """Return the names of the engines to test on."""
    configured = os.environ.get('ZAQAR_TEST_ENGINE')
    names = tuple(configured.split(',')) if configured else ENGINES
    unknown = sorted(set(names) - set(ENGINES))
    if unknown:
        raise ValueError(f'ZAQAR_TEST_ENGINE: there is no {unknown[0]}')
    return names


def _empty(uri: str) -> None:
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for table in tables.METADATA.sorted_tables:
            connection.execute(sa.delete(table))
