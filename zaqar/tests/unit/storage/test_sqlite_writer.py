# SPDX-License-Identifier: Apache-2.0
"""Writes of SQLite that threads of a process commit for one another."""

import collections
import pathlib
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from zaqar import request_deadline
from zaqar.storage.sqlalchemy.sqlite import _Job, _Writer
from zaqar.storage.sqlalchemy.statement_execution import SqlSession


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / 'file.sqlite'
    connection = sqlite3.connect(file)
    connection.execute('PRAGMA journal_mode = WAL')
    connection.execute('CREATE TABLE fact (name TEXT)')
    connection.close()
    return file


@pytest.fixture
def writer(path: pathlib.Path) -> _Writer:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False
    )
    return _Writer(connection)


def _insert(name: str) -> Callable[[SqlSession], int]:
    sql = 'INSERT INTO fact (name) VALUES (:name)'
    return lambda session: session.run(sql, {'name': name})


def _names(path: pathlib.Path) -> list[str]:
    connection = sqlite3.connect(path)
    rows = connection.execute('SELECT name FROM fact ORDER BY name')
    names = [name for (name,) in rows]
    connection.close()
    return names


class Withdrawn(collections.deque[Any]):
    """Jobs of which one is withdrawn as soon as they are counted."""

    def __len__(self) -> int:
        return super().__len__() + 1


def test_a_withdrawn_write_takes_no_other_with_it(
    writer: _Writer, path: pathlib.Path
) -> None:
    other = _Job(_insert('b'))
    writer._pending = Withdrawn([other])  # noqa: SLF001
    assert writer.run(_insert('a')) == 1
    assert other.done and other.error is None
    assert _names(path) == ['a', 'b']


def test_a_late_write_fails_alone(writer: _Writer, path: pathlib.Path) -> None:
    rival = sqlite3.connect(path, isolation_level=None)
    rival.execute('BEGIN IMMEDIATE')
    other = _Job(_insert('b'))
    writer._pending.append(other)  # noqa: SLF001
    with (
        request_deadline.within(0.01),
        pytest.raises(sqlite3.OperationalError),
    ):
        writer.run(_insert('a'))
    assert not other.done
    rival.execute('ROLLBACK')
    rival.close()
    assert writer.run(_insert('c')) == 1
    assert other.done and other.error is None
    assert _names(path) == ['b', 'c']
