# SPDX-License-Identifier: Apache-2.0
"""SQLite files that several processes open."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from zaqar.storage.sqlalchemy import migrations, stranded_group_search
from zaqar.storage.sqlalchemy.claimable_rows import WOKEN, FreeRows
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
from zaqar.storage.sqlalchemy.sqlite_database import SqliteDatabase
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.tests.contract.probe import Hand, Probe, bodies


def test_a_file_that_another_process_is_making_can_be_opened(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / 'zaqar.sqlite'
    other = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False
    )
    with contextlib.closing(other):
        # It has written the first page, and not yet switched to WAL.
        other.execute('CREATE TABLE unrelated (x)')
        other.execute('BEGIN IMMEDIATE')
        ending = threading.Timer(0.2, other.execute, ('ROLLBACK',))
        ending.start()
        store = DRIVER.open_messages(f'sqlite:///{path}', {})
        ending.join()
    store.ping()
    store.close()


@pytest.fixture
def open_mask() -> Iterator[None]:
    """A process whose new files are readable for everybody."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def _modes(folder: pathlib.Path) -> dict[str, int]:
    return {
        path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()
    }


@pytest.mark.usefixtures('open_mask')
def test_its_owner_alone_reads_a_database_and_what_is_beside_it(
    tmp_path: pathlib.Path,
) -> None:
    store = DRIVER.open_messages(f'sqlite:///{tmp_path}/a', {})
    modes = _modes(tmp_path)
    store.close()
    assert modes == {'a': 0o600, 'a-wal': 0o600, 'a-shm': 0o600}


@pytest.mark.usefixtures('open_mask')
def test_a_database_made_by_the_command_is_as_private(
    tmp_path: pathlib.Path,
) -> None:
    migrations.upgrade(sa.make_url(f'sqlite:///{tmp_path}/a'), 'head')
    assert set(_modes(tmp_path).values()) == {0o600}


@pytest.mark.usefixtures('open_mask')
def test_a_database_that_others_could_read_is_closed_to_them(
    tmp_path: pathlib.Path,
) -> None:
    store = DRIVER.open_messages(f'sqlite:///{tmp_path}/a', {})
    for path in tmp_path.iterdir():
        path.chmod(0o664)
    DRIVER.open_messages(f'sqlite:///{tmp_path}/a', {}).close()
    modes = _modes(tmp_path)
    store.close()
    # A group may have been let in on purpose.
    assert set(modes.values()) == {0o660}


def test_a_database_that_is_opened_twice_keeps_its_locks(
    tmp_path: pathlib.Path,
) -> None:
    """Both planes of a process open one file, another process closes it."""
    uri = f'sqlite:///{tmp_path}/a'
    first = DRIVER.open_messages(uri, {})
    second = DRIVER.open_management(uri, {})
    # Whoever can lock the whole file is the last to have it open.
    program = (
        'import sqlite3, sys\n'
        'c = sqlite3.connect(sys.argv[1], timeout=0)\n'
        'c.execute("PRAGMA locking_mode = EXCLUSIVE")\n'
        'c.execute("BEGIN EXCLUSIVE")\n'
        'c.execute("CREATE TABLE unrelated (x)")\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program, f'{tmp_path}/a'],
        capture_output=True,
        text=True,
        check=False,
    )
    second.close()
    first.close()
    assert 'database is locked' in done.stderr


def test_messages_whose_claim_has_ended_are_read_by_their_keys(
    tmp_path: pathlib.Path,
) -> None:
    database = SqliteDatabase(str(tmp_path / 'a'), 'FULL')
    wanted = FreeRows({'qid': 'q', 'now': 1}, 1)

    def explained(session: SqlSession, sql: str, **values: Any) -> str:
        rows = session.all(
            f'EXPLAIN QUERY PLAN {sql}', {**wanted.values, **values}
        )
        return ', '.join(row[3] for row in rows)

    def plans(session: SqlSession) -> tuple[str, str]:
        by_key = wanted.select_numbered(session, WOKEN, 1)
        return (
            explained(session, wanted.numbers(session, WOKEN)),
            explained(session, by_key, s0=1),
        )

    with contextlib.closing(database):
        search, look_up = database.read(plans)
    assert 'COVERING INDEX message_waking' in search
    assert 'm USING PRIMARY KEY (queue_id=? AND seq=?)' in look_up


def test_values_are_in_the_order_of_their_parameters() -> None:
    # Python before 3.12.4 warns of each that has a number.
    calls: list[tuple[str, Any]] = []

    class Cursor:
        rowcount = 1

        def execute(self, sql: str, values: Any) -> None:
            calls.append((sql, values))

    session = SqlSession(Cursor(), 'sqlite')
    values = {'a': 1, 'b': 2, 'c': 3}
    session.run('UPDATE t SET x = :a, y = :b WHERE x < :a', values)
    assert calls == [('UPDATE t SET x = ?, y = ? WHERE x < ?', (1, 2, 1))]


def test_a_long_group_that_has_lost_its_first_message_is_not_read(
    tmp_path: pathlib.Path,
) -> None:
    uri = f'sqlite:///{tmp_path}/a'
    rows: list[Any] = []

    class Session(SqlSession):
        def all(self, sql: str, params: Any) -> Any:
            found = super().all(sql, params)
            rows.extend(found)
            return found

    with (
        contextlib.closing(DRIVER.open_messages(uri, {})) as store,
        contextlib.closing(sqlite3.connect(tmp_path / 'a')) as connection,
    ):
        queue = Probe(store, Hand())
        queue.post(*range(300), group='g')
        connection.execute('DELETE FROM message WHERE state = 0')
        connection.commit()
        ((queue_id,),) = connection.execute('SELECT id FROM message_queue')
        session = Session(connection.cursor(), 'sqlite')
        stranded_group_search.heal(session, queue_id, ['g'], queue.hand.now)
        connection.commit()
        assert bodies(queue.pop(1)) == [1]
    assert len(rows) < 50
