# SPDX-License-Identifier: Apache-2.0
"""The management store on SQL.

Each change is one statement, hence atomic; only MySQL, which cannot return
what it deletes, needs a transaction for that. A change whose answer was lost
is repeated: then the row is compared with the one to be written, so that the
first try is not taken for a rival's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zaqar import store_clock
from zaqar.objects import Data, Record
from zaqar.storage import abstract_stores
from zaqar.storage.record_key_check_and_data_encoding import (
    check_key,
    decode,
    encode,
)
from zaqar.storage.sqlalchemy.database_interface import SqlDatabase
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: MySQL's error number for an existing key.
_DUPLICATE = 1062

_KEY = 'kind = :kind AND parent = :parent AND name = :name'
_KEY_AND_VERSION = f'{_KEY} AND version = :version'
_SELECT = 'SELECT name, data, version FROM record'
_GET = f'{_SELECT} WHERE {_KEY}'
_LIST = f'{_SELECT} WHERE kind = :kind AND parent = :parent'
_COUNT = 'SELECT count(*) FROM record WHERE kind = :kind AND parent = :parent'
_INSERT = (
    'INSERT INTO record (kind, parent, name, data, version)'
    ' VALUES (:kind, :parent, :name, :data, 1)'
)
_UPDATE = (
    'UPDATE record SET data = :data, version = version + 1'
    f' WHERE {_KEY_AND_VERSION}'
)
_DELETE = 'DELETE FROM record WHERE'


class SqlManagementStore(abstract_stores.ManagementStore):
    """Records of a database whose tables exist; owns the database."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self.waits_in_greenlets = database.waits_in_greenlets
        self._is_mysql = database.dialect == 'mysql'
        is_sqlite = database.dialect == 'sqlite'
        # On a server one statement commits by itself, in one round trip.
        self._run_single = database.write if is_sqlite else database.read
        self.clock = store_clock.Clock(None if is_sqlite else database.now)

    def ping(self) -> None:
        self._database.ping()

    def create(self, kind: str, parent: str, name: str, data: Data) -> bool:
        key = self._key(kind, parent, name)
        text = encode(data).encode()
        return self._change(
            lambda session: self._insert(session, {**key, 'data': text}),
            lambda session: _holds(session, key, 1, text),
        )

    def get(self, kind: str, parent: str, name: str) -> Record | None:
        key = self._key(kind, parent, name)
        return self._database.read(_get, key)

    def replace(
        self, kind: str, parent: str, name: str, data: Data, *, version: int
    ) -> bool:
        key = self._key(kind, parent, name)
        text = encode(data).encode()
        params = {**key, 'data': text, 'version': version}
        return self._change(
            lambda session: session.run(_UPDATE, params) == 1,
            lambda session: _holds(session, key, version + 1, text),
        )

    def delete(
        self, kind: str, parent: str, name: str, *, version: int | None = None
    ) -> Record | None:
        key = self._key(kind, parent, name)
        where = _KEY
        if version is not None:
            key['version'] = version
            where = _KEY_AND_VERSION
        if self._is_mysql:
            return self._database.write(_delete, key, where)
        sql = f'{_DELETE} {where} RETURNING name, data, version'
        # Fetch all rows: SQLite does not commit an unfinished statement.
        rows = self._run_single(SqlSession.all, sql, key)
        return _record(rows[0]) if rows else None

    def list(
        self, kind: str, parent: str, *, after: str | None, limit: int
    ) -> Sequence[Record]:
        params = {**self._key(kind, parent, after or ''), 'limit': limit}
        beyond = '' if after is None else ' AND name > :name'
        sql = f'{_LIST}{beyond} ORDER BY name LIMIT :limit'
        rows = self._database.read_latest(SqlSession.all, sql, params)
        return [_record(row) for row in rows]

    def count(self, kind: str, parent: str) -> int:
        key = self._key(kind, parent, '')
        row = self._database.read(SqlSession.one, _COUNT, key)
        return int(row[0]) if row else 0

    def close(self) -> None:
        self._database.close()

    def _key(self, kind: str, parent: str, name: str) -> dict[str, Any]:
        """Return the parameters that name a record."""
        check_key(parent, name)
        if self._is_mysql:
            # Compared as bytes; see tables.Key.
            return {
                'kind': kind,
                'parent': parent.encode(),
                'name': name.encode(),
            }
        return {'kind': kind, 'parent': parent, 'name': name}

    def _change(
        self,
        work: Callable[[SqlSession], bool],
        is_done: Callable[[SqlSession], bool],
    ) -> bool:
        """Run work, again if its outcome is unknown.

        :param is_done: tells, when a repetition changes nothing, whether the
            first try succeeded
        """
        tries = 0

        def attempt(session: SqlSession) -> bool:
            nonlocal tries
            tries += 1
            return work(session) or (tries > 1 and is_done(session))

        return self._run_single(attempt)

    def _insert(self, session: SqlSession, params: Mapping[str, Any]) -> bool:
        if not self._is_mysql:
            sql = f'{_INSERT} ON CONFLICT DO NOTHING'
            return session.run(sql, params) == 1
        try:
            session.run(_INSERT, params)
        except Exception as error:
            # INSERT IGNORE would also truncate values.
            if error.args[:1] != (_DUPLICATE,):
                raise
            return False
        return True


def _get(session: SqlSession, key: Mapping[str, Any]) -> Record | None:
    row = session.one(_GET, key)
    return _record(row) if row else None


def _delete(
    session: SqlSession, key: Mapping[str, Any], where: str
) -> Record | None:
    row = session.one(f'{_SELECT} WHERE {where} FOR UPDATE', key)
    if row is not None:
        session.run(f'{_DELETE} {where}', key)
    return _record(row) if row else None


def _holds(
    session: SqlSession, key: Mapping[str, Any], version: int, text: bytes
) -> bool:
    sql = f'SELECT version, data FROM record WHERE {_KEY}'
    row = session.one(sql, key)
    return row is not None and (row[0], bytes(row[1])) == (version, text)


def _record(row: Sequence[Any]) -> Record:
    name, data, version = row
    if isinstance(name, bytes):
        name = name.decode()
    return Record(name, decode(data), version)
