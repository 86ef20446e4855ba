# SPDX-License-Identifier: Apache-2.0
"""SQL statements on one connection.

The hot path is SQL text, translated once per engine, on the database driver's
own cursor: SQLAlchemy's expression layer takes longer than SQLite itself.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from zaqar.storage.sqlalchemy.retries import ConflictError

Row = tuple[Any, ...]

#: ``:name``, but neither ``::type`` nor a colon within a word.
_PARAMETER = re.compile(r'(?<![:\w]):(\w+)')

#: Texts in the drivers' ``pyformat`` style, by the text with ``:name``.
_TRANSLATED: dict[str, str] = {}


def pyformat(sql: str) -> str:
    """Translate ``:name`` parameters for drivers that want ``%(name)s``."""
    text = _TRANSLATED.get(sql)
    if text is None:
        text = _PARAMETER.sub(r'%(\1)s', sql.replace('%', '%%'))
        _TRANSLATED[sql] = text
    return text


def placeholders(name: str, count: int) -> str:
    """Return the parameters ``:name0, :name1, ...``."""
    return ', '.join(f':{name}{index}' for index in range(count))


def placeholder_values(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return the values of :func:`placeholders`."""
    return {f'{name}{index}': value for index, value in enumerate(values)}


#: Characters after which statements that were put off are sent by themselves:
#: MySQL takes packets of a limited size.
MAX_PACKET = 500_000


class Result(NamedTuple):
    """What a statement returned, and how many rows it changed."""

    rows: Sequence[Row]
    rowcount: int


class SqlSession:
    """Runs statements with ``:name`` parameters on a DBAPI cursor.

    MySQL takes several statements in one packet. Statements whose result does
    not matter are put off there until the next one, or until the commit: that
    saves round trips, for which other transactions would wait at our locks.
    """

    __slots__ = (
        '_cursor',
        '_deferred',
        '_length',
        '_takes_several',
        '_translate',
        'dialect',
    )

    def __init__(
        self, cursor: Any, dialect: str, *, takes_several: bool = True
    ) -> None:
        self._cursor = cursor
        self._translate = dialect != 'sqlite'
        self._takes_several = takes_several and dialect == 'mysql'
        #: With the number of rows that must change, if it matters.
        self._deferred: list[tuple[str, int | None]] = []
        self._length = 0
        self.dialect = dialect

    def begin(self, sql: str) -> None:
        """Begin a transaction, at the latest with its first statement."""
        if self._takes_several:
            self._deferred.append((sql, None))
        else:
            self._cursor.execute(sql)

    def commit(self) -> None:
        """Run what was put off, and commit."""
        if self._takes_several:
            self._deferred.append(('COMMIT', None))
            self._flush()
        else:
            self._cursor.execute('COMMIT')

    def all(self, sql: str, params: Mapping[str, Any]) -> Sequence[Row]:
        self._execute(sql, params)
        rows: Sequence[Row] = self._cursor.fetchall()
        return rows

    def one(self, sql: str, params: Mapping[str, Any]) -> Row | None:
        self._execute(sql, params)
        row: Row | None = self._cursor.fetchone()
        return row

    def run(self, sql: str, params: Mapping[str, Any]) -> int:
        """Return how many rows were changed."""
        self._execute(sql, params)
        return int(self._cursor.rowcount)

    def many(self, sql: str, params: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once for each set of parameters."""
        self._flush()
        text = pyformat(sql) if self._translate else sql
        self._cursor.executemany(text, params)

    def several(
        self, statements: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> list[Result]:
        """Run statements in as few round trips as possible."""
        if not self._takes_several:
            return [
                Result(self.all(sql, params), self._cursor.rowcount)
                for sql, params in statements
            ]
        for sql, params in statements:
            self._defer(sql, params)
        self._send(len(statements))
        results = [self._result()]
        for _ in statements[1:]:
            self._next()
            results.append(self._result())
        return results

    def later(
        self, sql: str, params: Mapping[str, Any], *, rows: int | None = None
    ) -> None:
        """Run a statement before the next one or the commit.

        :param rows: how many rows it changes, unless the transaction has lost
            what it had locked: then it conflicts with another one
        """
        if not self._takes_several:
            self._execute(sql, params)
            self._check(rows)
            return
        self._defer(sql, params, rows)
        if self._length > MAX_PACKET:
            self._flush()

    def later_many(
        self, insert: str, params: Sequence[Mapping[str, Any]]
    ) -> None:
        """Run an ``INSERT ... VALUES (...)`` with several rows likewise."""
        if not self._takes_several:
            self.many(insert, params)
            return
        head, word, values = pyformat(insert).partition(' VALUES ')
        rows: list[str] = []
        length = 0
        for row in params:
            rows.append(self._cursor.mogrify(values, row))
            length += len(rows[-1])
            if length > MAX_PACKET or row is params[-1]:
                self.later(head + word + ', '.join(rows), {})
                rows, length = [], 0

    def _result(self) -> Result:
        return Result(self._cursor.fetchall(), int(self._cursor.rowcount))

    def _check(self, rows: int | None) -> None:
        if rows is not None and self._cursor.rowcount != rows:
            raise ConflictError(
                f'{self._cursor.rowcount} of {rows} rows were changed'
            )

    def _defer(
        self, sql: str, params: Mapping[str, Any], rows: int | None = None
    ) -> None:
        text = sql
        if params:
            text = self._cursor.mogrify(pyformat(sql), params)
        self._deferred.append((text, rows))
        self._length += len(text)

    def _send(self, last: int = 1) -> None:
        """Run what was put off; go on to the first of the last results."""
        deferred = self._deferred
        self._deferred, self._length = [], 0
        self._cursor.execute('; '.join(text for text, _ in deferred))
        for _, rows in deferred[: len(deferred) - last]:
            self._check(rows)
            self._next()
        if last == 1:
            self._check(deferred[-1][1])

    def _next(self) -> None:
        if not self._cursor.nextset():
            raise ConflictError('the server left out statements')

    def _flush(self) -> None:
        """Run what was put off."""
        if self._deferred:
            self._send()

    def _execute(self, sql: str, params: Mapping[str, Any]) -> None:
        if self._deferred:
            self._defer(sql, params)
            self._send()
            return
        text = pyformat(sql) if self._translate else sql
        self._cursor.execute(text, params)
