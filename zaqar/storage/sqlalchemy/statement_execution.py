# SPDX-License-Identifier: Apache-2.0
"""SQL statements on one connection.

The hot path is SQL text, translated once per engine, on the database driver's
own cursor: SQLAlchemy's expression layer takes longer than SQLite itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

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


class SqlSession:
    """Runs statements with ``:name`` parameters on a DBAPI cursor."""

    __slots__ = ('_cursor', '_translate', 'dialect')

    def __init__(self, cursor: Any, dialect: str) -> None:
        self._cursor = cursor
        self._translate = dialect != 'sqlite'
        self.dialect = dialect

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
        text = pyformat(sql) if self._translate else sql
        self._cursor.executemany(text, params)

    def _execute(self, sql: str, params: Mapping[str, Any]) -> None:
        text = pyformat(sql) if self._translate else sql
        self._cursor.execute(text, params)
