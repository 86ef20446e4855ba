# SPDX-License-Identifier: Apache-2.0
"""SQL statements on one connection.

The hot path is SQL text, translated once per engine, on the database driver's
own cursor: SQLAlchemy's expression layer takes longer than SQLite itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from zaqar.storage.sqlalchemy.statement_parameters import (
    USUAL,
    names,
    pyformat,
    question_marks,
)
from zaqar.storage.sqlalchemy.transaction_and_statement_retries import (
    ConflictError,
)

Row = tuple[Any, ...]

#: Characters after which statements that were put off are sent by themselves:
#: MySQL takes packets of a limited size.
MAX_PACKET = 500_000

#: Ends a compound statement, as a conflict does, after one that has changed
#: another number of rows.
_CHECK = (
    "IF ROW_COUNT() <> {} THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = "
    "1213, MESSAGE_TEXT = 'rows have changed'; END IF"
)


class SqlSession:
    """Runs statements with ``:name`` parameters on a DBAPI cursor.

    MariaDB takes several statements as a compound one, which ends at the first
    error. Statements whose result does not matter are put off there until the
    next one, or until the commit: that saves round trips, for which other
    transactions would wait at our locks.

    :param takes_compounds: whether the server takes compound statements
    :param spans_nodes: whether other nodes, which know nothing of its locks,
        may write the same rows (Galera)
    """

    __slots__ = (
        '_cursor',
        '_deferred',
        '_is_committed',
        '_length',
        '_sent',
        '_translate',
        'dialect',
        'spans_nodes',
        'takes_compounds',
    )

    def __init__(
        self,
        cursor: Any,
        dialect: str,
        *,
        takes_compounds: bool = False,
        spans_nodes: bool = False,
    ) -> None:
        self._cursor = cursor
        self._translate = dialect != 'sqlite'
        self.takes_compounds = takes_compounds
        self.spans_nodes = spans_nodes
        self._deferred: list[str] = []
        self._length = 0
        #: The rows of queries that were put off and have been sent.
        self._sent: list[Sequence[Row]] = []
        self._is_committed = False
        self.dialect = dialect

    def begin(self, sql: str) -> None:
        """Begin a transaction, at the latest with its first statement."""
        if self.takes_compounds:
            self._deferred.append(sql)
        else:
            self._cursor.execute(sql)

    def finish(self) -> list[Sequence[Row]]:
        """Commit at once, in the round trip of what was put off.

        :returns: the rows of each query that was put off
        """
        self._deferred.append('COMMIT')
        self._is_committed = True
        return [*self._sent, *self._send_all()]

    def commit(self) -> None:
        """Run what was put off, and commit."""
        if self._is_committed:
            return
        if self.takes_compounds:
            self._deferred.append('COMMIT')
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
        if self._deferred:
            self._defer(sql, params)
            return int(self.several([('SELECT ROW_COUNT()', {})])[0][0][0])
        self._execute(sql, params)
        return int(self._cursor.rowcount)

    def many(self, sql: str, params: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once for each set of parameters."""
        self._flush()
        if self._translate:
            self._cursor.executemany(pyformat(sql), params)
        else:
            text, sequence = question_marks(sql)
            self._cursor.executemany(text, map(sequence, params))

    def in_order(self, sql: str, values: Sequence[Any]) -> Any:
        """Run a statement with ``?`` parameters (SQLite).

        For those that run all the time: to name values takes longer than to
        pass them.

        :returns: the cursor
        """
        return self._cursor.execute(sql, values)

    def many_in_order(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run such a statement once for each sequence of values."""
        self._cursor.executemany(sql, values)

    def several(
        self, statements: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> list[Sequence[Row]]:
        """Run statements in as few round trips as possible.

        :returns: the rows of each that is a query
        """
        if self.takes_compounds and statements:
            for sql, params in statements:
                self._defer(sql, params)
            return self._send_all()
        results: list[Sequence[Row]] = []
        for sql, params in statements:
            self._execute(sql, params)
            if self._cursor.description:
                results.append(self._cursor.fetchall())
        return results

    def later(
        self, sql: str, params: Mapping[str, Any], *, rows: int | None = None
    ) -> None:
        """Run a statement before the next one or the commit.

        :param rows: how many rows it changes, unless the transaction has lost
            what it had locked: then it conflicts with another one
        """
        if not self.takes_compounds:
            self._execute(sql, params)
            if rows is not None and self._cursor.rowcount != rows:
                raise ConflictError(
                    f'{self._cursor.rowcount} of {rows} rows were changed'
                )
            return
        self._defer(sql, params)
        if rows is not None:
            self._deferred.append(_CHECK.format(rows))
        if self._length > MAX_PACKET:
            self._flush()

    def later_many(
        self, insert: str, params: Sequence[Mapping[str, Any]]
    ) -> None:
        """Run an ``INSERT ... VALUES (...)`` with several rows likewise."""
        if not self.takes_compounds:
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

    def text(self, sql: str, params: Mapping[str, Any]) -> str:
        """Return SQL with its values (MySQL)."""
        if len(sql) <= USUAL:
            # Whoever passes more, for several statements, pays nothing.
            params = {name: params[name] for name in names(sql)}
        text: str = self._cursor.mogrify(pyformat(sql), params)
        return text

    def close(self) -> None:
        """Close the connection."""
        self._cursor.connection.close()

    def _defer(self, sql: str, params: Mapping[str, Any]) -> None:
        text = self.text(sql, params) if params else sql
        self._deferred.append(text)
        self._length += len(text)

    def _send(self) -> None:
        text = '; '.join(self._deferred)
        if len(self._deferred) > 1 or text.startswith('BEGIN'):
            # A block is part of a compound statement even by itself.
            text = f'BEGIN NOT ATOMIC {text}; END'
        self._deferred, self._length = [], 0
        self._cursor.execute(text)

    def _send_all(self) -> list[Sequence[Row]]:
        """Run what was put off; return the rows of each query."""
        self._send()
        results: list[Sequence[Row]] = []
        is_more = True
        while is_more:
            if self._cursor.description:
                results.append(self._cursor.fetchall())
            is_more = bool(self._cursor.nextset())
        return results

    def _flush(self) -> None:
        """Run what was put off."""
        if self._deferred:
            self._sent += self._send_all()

    def _execute(self, sql: str, params: Mapping[str, Any]) -> None:
        if self._deferred:
            self._defer(sql, params)
            self._send()
        elif self._translate:
            self._cursor.execute(pyformat(sql), params)
        else:
            text, sequence = question_marks(sql)
            self._cursor.execute(text, sequence(params))
