# SPDX-License-Identifier: Apache-2.0
"""Writes of SQLite that threads of a process commit for one another."""

import concurrent.futures
import pathlib
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable
from zaqar.storage.sqlalchemy.sqlite_write_connection import WriteConnection
from zaqar.storage.sqlalchemy.sqlite_writes_of_threads import WritesOfThreads
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: Seconds that no test should have to wait.
LONG = 60.0


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / 'file.sqlite'
    connection = sqlite3.connect(file)
    connection.execute('PRAGMA journal_mode = WAL')
    connection.execute('CREATE TABLE fact (name TEXT)')
    connection.close()
    return file


@pytest.fixture
def writer(path: pathlib.Path) -> WritesOfThreads:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False
    )
    return WritesOfThreads(WriteConnection(connection))


def _insert(name: str) -> Callable[[SqlSession], int]:
    sql = 'INSERT INTO fact (name) VALUES (:name)'
    return lambda session: session.run(sql, {'name': name})


def _names(path: pathlib.Path) -> list[str]:
    connection = sqlite3.connect(path)
    rows = connection.execute('SELECT name FROM fact ORDER BY name')
    names = [name for (name,) in rows]
    connection.close()
    return names


def test_a_write_returns_when_another_thread_has_committed_it(
    writer: WritesOfThreads, path: pathlib.Path
) -> None:
    gates = [threading.Event() for _ in range(3)]
    begun = [threading.Event() for _ in gates]

    def blocking(number: int) -> Callable[[SqlSession], int]:
        def work(session: SqlSession) -> int:
            begun[number].set()
            assert gates[number].wait(LONG)
            return _insert(str(number))(session)

        return work

    with concurrent.futures.ThreadPoolExecutor() as threads:

        def start(
            work: Callable[[SqlSession], int], pending: int
        ) -> concurrent.futures.Future[int]:
            future = threads.submit(writer.run, work)
            while writer.pending < pending:
                time.sleep(0.001)
            return future

        start(blocking(0), 1)
        start(blocking(1), 2)
        follower = start(_insert('follower'), 3)
        gates[0].set()
        assert begun[1].wait(LONG)
        start(blocking(2), 2)
        gates[1].set()
        # The last one has the connection.
        assert begun[2].wait(LONG)
        assert follower.result(LONG) == 1
        assert _names(path) == ['0', '1', 'follower']
        gates[2].set()


def test_a_failure_undoes_only_its_own_write(
    writer: WritesOfThreads, path: pathlib.Path
) -> None:
    gate = threading.Event()

    def block(session: SqlSession) -> None:
        assert gate.wait(LONG)

    def fail(session: SqlSession) -> None:
        _insert('b')(session)
        raise ValueError

    with concurrent.futures.ThreadPoolExecutor() as threads:
        futures: list[concurrent.futures.Future[Any]] = []
        for work in (block, _insert('a'), fail, _insert('c')):
            futures.append(threads.submit(writer.run, work))
            while writer.pending < len(futures):
                time.sleep(0.001)
        gate.set()
        assert futures[1].result(LONG) == futures[3].result(LONG) == 1
        assert isinstance(futures[2].exception(LONG), ValueError)
    assert _names(path) == ['a', 'c']


@pytest.mark.parametrize('kind', [ValueError, SystemExit])
def test_a_failure_undoes_a_write_that_is_alone(
    writer: WritesOfThreads, path: pathlib.Path, kind: type[BaseException]
) -> None:
    def fail(session: SqlSession) -> None:
        _insert('a')(session)
        raise kind

    with pytest.raises(kind):
        writer.run(fail)
    assert _names(path) == []
    assert writer.run(_insert('b')) == 1
    assert _names(path) == ['b']


def test_the_error_of_a_disk_is_logged(
    writer: WritesOfThreads,
    path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(session: SqlSession) -> None:
        _insert('a')(session)
        # SQLite does so itself when it fails to write pages.
        session.run('ROLLBACK', {})
        raise sqlite3.OperationalError('disk I/O error')

    with pytest.raises(StoreUnavailable):
        writer.run(fail)
    assert [record.getMessage() for record in caplog.records] == [
        'SQLite: disk I/O error'
    ]
    assert writer.run(_insert('b')) == 1
    assert _names(path) == ['b']


def test_a_late_write_fails_alone(
    writer: WritesOfThreads, path: pathlib.Path
) -> None:
    rival = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False
    )
    rival.execute('BEGIN IMMEDIATE')
    with concurrent.futures.ThreadPoolExecutor() as threads:

        def late() -> int:
            with request_deadline.within(0.3):
                return writer.run(_insert('a'))

        first = threads.submit(late)
        # On a busy machine it may have failed by now.
        while writer.pending < 1 and not first.done():
            time.sleep(0.001)
        other = threads.submit(writer.run, _insert('b'))
        assert isinstance(first.exception(LONG), StoreUnavailable)
        rival.execute('ROLLBACK')
        assert other.result(LONG) == 1
    rival.close()
    assert _names(path) == ['b']
