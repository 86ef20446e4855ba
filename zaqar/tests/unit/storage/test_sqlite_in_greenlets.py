# SPDX-License-Identifier: Apache-2.0
"""SQLite in the greenlets of an event loop, and in threads beside them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import pathlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar import event_loop_greenlets, request_deadline
from zaqar.current_request import OF_THREAD
from zaqar.errors import StoreUnavailable
from zaqar.storage.sqlalchemy import (
    sqlite_calls_in_threads_on_slow_disk,
    sqlite_writes_of_greenlets,
)
from zaqar.storage.sqlalchemy.sqlite_calls_in_threads_on_slow_disk import (
    SlowCallPause,
)
from zaqar.storage.sqlalchemy.sqlite_read_connections import Readers
from zaqar.storage.sqlalchemy.sqlite_write_connection import WriteConnection
from zaqar.storage.sqlalchemy.sqlite_writes_of_greenlets import (
    WritesOfGreenlets,
)
from zaqar.storage.sqlalchemy.sqlite_writes_of_threads import WritesOfThreads
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets

#: Each names another one, which is looked for at the commit.
TABLE = """
CREATE TABLE fact (
    name TEXT PRIMARY KEY,
    after TEXT REFERENCES fact (name) DEFERRABLE INITIALLY DEFERRED
)
"""

#: More rows than a loop counts.
MANY = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000)
SELECT count(*) FROM n
"""


class File:
    """An SQLite file, and what writes to it."""

    def __init__(self, path: pathlib.Path, greenlets: Greenlets) -> None:
        self._path = path
        connection = self.connect()
        connection.execute('PRAGMA journal_mode = WAL')
        connection.execute('PRAGMA foreign_keys = ON')
        connection.execute(TABLE)
        self.connection = WriteConnection(connection)
        self.pause = SlowCallPause()
        self.of_threads = WritesOfThreads(self.connection)
        self.of_greenlets = WritesOfGreenlets(
            greenlets.hub, str(path), self.connection, self.pause
        )

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )

    def write(self, work: Callable[[SqlSession], Any]) -> Any:
        """Write in a greenlet."""
        return self.of_greenlets.run(OF_THREAD.request.greenlet, work)

    @property
    def names(self) -> list[str]:
        with contextlib.closing(self.connect()) as connection:
            rows = connection.execute('SELECT name FROM fact ORDER BY name')
            return [name for (name,) in rows]


@pytest.fixture
def file(
    tmp_path: pathlib.Path,
    greenlets: Greenlets,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[File]:
    # What comes together shares a transaction, however busy the machine is.
    monkeypatch.setattr(sqlite_writes_of_greenlets, 'LONGEST_BATCH', 60.0)
    made = File(tmp_path / 'file.sqlite', greenlets)
    yield made
    made.of_greenlets.close()
    made.connection.close()


def insert(name: str, after: str | None = None) -> Callable[[SqlSession], int]:
    sql = 'INSERT INTO fact (name, after) VALUES (:name, :after)'
    return lambda session: session.run(sql, {'name': name, 'after': after})


def test_a_failure_undoes_only_its_own_write(
    file: File, greenlets: Greenlets
) -> None:
    def fail(session: SqlSession) -> None:
        insert('b')(session)
        raise ValueError

    results = greenlets.run(
        lambda: file.write(insert('a')),
        lambda: file.write(fail),
        lambda: file.write(insert('c')),
    )
    assert results[0] == results[2] == 1
    assert isinstance(results[1], ValueError)
    assert file.names == ['a', 'c']
    (alone,) = greenlets.run(lambda: file.write(fail))
    assert isinstance(alone, ValueError)
    assert greenlets.run(lambda: file.write(insert('d'))) == [1]
    assert file.names == ['a', 'c', 'd']


def test_work_that_waits_fails_alone(file: File, greenlets: Greenlets) -> None:
    """All others would wait with it, in an open transaction."""

    def wait(session: SqlSession) -> None:
        insert('b')(session)
        event_loop_greenlets.offload(int)

    results = greenlets.run(
        lambda: file.write(insert('a')), lambda: file.write(wait)
    )
    assert results[0] == 1
    assert isinstance(results[1], RuntimeError)
    assert file.names == ['a']
    assert greenlets.run(lambda: event_loop_greenlets.offload(int)) == [0]


def test_nothing_is_stored_if_the_commit_fails(
    file: File, greenlets: Greenlets
) -> None:
    results = greenlets.run(
        lambda: file.write(insert('a')),
        # Nothing has that name.
        lambda: file.write(insert('b', after='x')),
    )
    assert [type(result) for result in results] == [StoreUnavailable] * 2
    assert file.names == []
    assert greenlets.run(lambda: file.write(insert('c'))) == [1]
    assert file.names == ['c']


def test_the_error_of_a_disk_fails_all_that_share_a_transaction(
    file: File, greenlets: Greenlets, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(session: SqlSession) -> None:
        # SQLite does so itself when it fails to write pages.
        session.run('ROLLBACK', {})
        raise sqlite3.OperationalError('disk I/O error')

    results = greenlets.run(
        lambda: file.write(insert('a')), lambda: file.write(fail)
    )
    assert [type(result) for result in results] == [StoreUnavailable] * 2
    assert [record.getMessage() for record in caplog.records] == [
        'SQLite: disk I/O error'
    ]
    assert greenlets.run(lambda: file.write(insert('b'))) == [1]
    assert file.names == ['b']


def test_another_process_that_writes_does_not_hold_up_the_loop(
    file: File, greenlets: Greenlets
) -> None:
    rival = file.connect()
    rival.execute('BEGIN IMMEDIATE')

    def late() -> int:
        with request_deadline.within(0.3):
            return file.write(insert('late'))

    def end() -> None:
        # The others wait in the loop meanwhile, whose thread this is.
        while not failed:
            event_loop_greenlets.sleep(0.01)
        rival.execute('ROLLBACK')

    failed: list[BaseException] = []

    def fail() -> None:
        with pytest.raises(StoreUnavailable) as caught:
            late()
        failed.append(caught.value)

    results = greenlets.run(fail, lambda: file.write(insert('a')), end)
    assert results == [None, 1, None]
    assert file.names == ['a']
    rival.close()


def test_what_is_being_committed_is_waited_for_and_others_end_in_time(
    file: File, greenlets: Greenlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a pop has removed would be lost with its answer."""
    is_hanging, goes_on = threading.Event(), threading.Event()
    commit = file.connection.commit

    def hang() -> None:
        is_hanging.set()
        assert goes_on.wait(60)
        commit()

    monkeypatch.setattr(file.connection, 'commit', hang)

    def write(name: str) -> int:
        with request_deadline.within(0.1):
            return file.write(insert(name))

    def write_meanwhile() -> int:
        while not is_hanging.is_set():
            event_loop_greenlets.sleep(0.001)
        try:
            return write('b')
        finally:
            goes_on.set()

    results = greenlets.run(lambda: write('a'), write_meanwhile)
    assert results[0] == 1
    assert isinstance(results[1], StoreUnavailable)
    assert file.names == ['a']


def test_batches_that_change_nothing_hold_up_no_others(
    file: File, greenlets: Greenlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread commits them: the loop is free only between them."""
    # One write each.
    monkeypatch.setattr(sqlite_writes_of_greenlets, 'LONGEST_BATCH', 1e-9)
    rounds: list[int] = [0]

    def count() -> None:
        rounds[0] += 1
        greenlets.loop.call_soon(count)

    greenlets.loop.call_soon(count)
    work = functools.partial(file.write, lambda _: rounds[0])
    seen = greenlets.run(*[work] * 8)
    assert len(set(seen)) == 8


def test_threads_and_greenlets_take_turns(
    file: File, greenlets: Greenlets
) -> None:
    def write_in_thread(number: int) -> None:
        for place in range(20):
            file.of_threads.run(insert(f'thread {number}.{place}'))

    def write(number: int) -> None:
        for place in range(20):
            file.write(insert(f'greenlet {number}.{place}'))

    with concurrent.futures.ThreadPoolExecutor() as threads:
        futures = [threads.submit(write_in_thread, n) for n in range(4)]
        results = greenlets.run(
            *(lambda number=number: write(number) for number in range(8))
        )
        for future in futures:
            future.result(60)
    assert results == [None] * 8
    assert len(file.names) == 12 * 20


def test_a_read_that_takes_long_is_left_to_a_thread(
    file: File, greenlets: Greenlets
) -> None:
    def read(session: SqlSession, sql: str) -> tuple[Any, int]:
        return session.one(sql, {}), threading.get_ident()

    readers = Readers('file', file.connect, file.pause)
    short, long = greenlets.run(
        lambda: readers.run_in_loop(lambda s: read(s, 'SELECT 1')),
        lambda: readers.run_in_loop(lambda s: read(s, MANY)),
    )
    assert short == ((1,), threading.get_ident())
    assert long[0] == (200_000,)
    assert long[1] != threading.get_ident()
    readers.close()


def test_what_a_process_has_read_at_its_start_slows_no_call() -> None:
    blocks = 7000
    pause = SlowCallPause(lambda: 100.0, lambda: blocks)
    pause.note(sqlite_calls_in_threads_on_slow_disk.MOST * 2)
    assert not pause.has_read_disk
    assert not pause.is_on
    blocks += 1
    pause.note(sqlite_calls_in_threads_on_slow_disk.MOST * 2)
    assert pause.is_on


def test_threads_have_the_calls_for_a_while_if_a_disk_is_slow() -> None:
    now, blocks = 100.0, 0
    pause = SlowCallPause(lambda: now, lambda: blocks)
    # The machine is busy.
    pause.note(sqlite_calls_in_threads_on_slow_disk.MOST * 2)
    assert not pause.is_on
    blocks += 1
    pause.note(sqlite_calls_in_threads_on_slow_disk.LONGEST / 2)
    pause.note(sqlite_calls_in_threads_on_slow_disk.MOST)
    assert not pause.is_on
    blocks += 1
    pause.note(sqlite_calls_in_threads_on_slow_disk.LONGEST * 2)
    assert pause.is_on
    now += sqlite_calls_in_threads_on_slow_disk.PERIOD
    assert not pause.is_on
