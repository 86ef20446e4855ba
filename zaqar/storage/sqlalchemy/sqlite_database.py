# SPDX-License-Identifier: Apache-2.0
"""SQLite, the embedded database.

One connection of the process writes (:mod:`.sqlite_write_connection`). Reads
have others (:mod:`.sqlite_read_connections`), which never wait for it. Several
processes of one machine may share the file; a network file system will lose
data.
"""

import logging
import os
import pathlib
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from zaqar import store_clock
from zaqar.current_request import OF_THREAD
from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.event_loop_greenlets import Hub, LoopGreenlet, offload_to
from zaqar.storage.sqlalchemy import sqlite_creation
from zaqar.storage.sqlalchemy.database_interface import SqlDatabase
from zaqar.storage.sqlalchemy.sqlite_calls_in_threads_on_slow_disk import (
    SlowCallPause,
)
from zaqar.storage.sqlalchemy.sqlite_read_connections import Readers
from zaqar.storage.sqlalchemy.sqlite_watch import SqliteWatch
from zaqar.storage.sqlalchemy.sqlite_write_connection import (
    BUSY_TIMEOUT,
    WriteConnection,
    unavailable,
)
from zaqar.storage.sqlalchemy.sqlite_writes_of_greenlets import (
    WritesOfGreenlets,
)
from zaqar.storage.sqlalchemy.sqlite_writes_of_threads import WritesOfThreads
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.store_watch_interface import OnChange, Watch

LOG = logging.getLogger(__name__)

T = TypeVar('T')

#: Bytes of the disk that are reserved for deletions, claims and the sweeper:
#: each change takes room in the WAL first, which grows to 16 MiB.
RESERVE = 32 * 2**20

#: Free bytes that no writer fills within so many seconds: until then nobody
#: looks again, which takes longer than some statements.
PLENTY = 2 * 2**30
GLANCE = 0.1

#: The first version with RETURNING.
OLDEST = (3, 35)


class SqliteDatabase(SqlDatabase):
    """A database in a file.

    :param path: absolute
    :param synchronous: ``FULL`` survives a power cut, ``NORMAL`` only the
        death of processes
    """

    dialect = 'sqlite'
    waits_in_greenlets = True

    def __init__(self, path: str, synchronous: str) -> None:
        self._path = _checked_path(path)
        self._folder = os.path.dirname(self._path)
        #: Until when there is room, by the monotonic clock.
        self._has_room_until = 0.0
        self._synchronous = synchronous
        self._create()
        self._pause = SlowCallPause()
        self._readers = Readers(self._path, self._connect, self._pause)
        self._connection = WriteConnection(self._connect())
        self._writes = WritesOfThreads(self._connection)
        self._writes_of_loops: dict[Hub, WritesOfGreenlets] = {}

    def _run(self, work: Callable[[SqlSession], T], *, commit: bool) -> T:
        one: LoopGreenlet | None = OF_THREAD.request.greenlet
        try:
            if one is None:
                run = self._writes.run if commit else self._readers.run
                return run(work)
            if self._pause.is_on:
                return offload_to(self._path, self._run, work, commit=commit)
            if commit:
                return self._writes_of(one.hub).run(one, work)
            return self._readers.run_in_loop(work)
        except sqlite3.OperationalError as error:
            raise unavailable(error) from error

    def _writes_of(self, hub: Hub) -> WritesOfGreenlets:
        writes = self._writes_of_loops.get(hub)
        if writes is None:
            writes = WritesOfGreenlets(
                hub, self._path, self._connection, self._pause
            )
            self._writes_of_loops[hub] = writes
        return writes

    def check_room(self) -> None:
        now = time.monotonic()
        if now < self._has_room_until:
            return
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if free > PLENTY:
            self._has_room_until = now + GLANCE
        if free < RESERVE:
            LOG.error(
                'SQLite: only %d KiB are free in %s; no messages are stored',
                free // 1024,
                self._folder,
            )
            raise StoreUnavailable

    def watch(self, changed: OnChange) -> Watch:
        try:
            return SqliteWatch(self._connect, changed)
        except sqlite3.OperationalError as error:
            raise unavailable(error) from error

    def now(self) -> int:
        return store_clock.wall_ms()

    def close(self) -> None:
        # What is being written is written.
        if self._connection.turns.take_within(BUSY_TIMEOUT):
            self._connection.close()
            self._connection.turns.give_back()
            # Otherwise there is something for them to commit.
            while self._writes_of_loops:
                _, writes = self._writes_of_loops.popitem()
                writes.close()
        self._readers.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )
        _use_wal(connection)
        connection.execute(f'PRAGMA synchronous = {self._synchronous}')
        # 32 MiB of pages. Checkpoints stay at SQLite's own 4 MiB: with larger
        # ones the rate is the same, and the longest request a third longer.
        connection.execute('PRAGMA cache_size = -32768')
        return connection

    def _create(self) -> None:
        """Create the file and its tables, unless they exist."""
        try:
            sqlite_creation.make_private(self._path)
            self._connect().close()
            sqlite_creation.create_sqlite(self._path)
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(
                f'SQLite cannot use {self._path}: {error}'
            ) from None


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch a file to WAL, if it is not.

    When two processes switch a new file at once, one gets the error that it
    is locked, whatever the timeout.
    """
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute('PRAGMA journal_mode = WAL')
            return
        except sqlite3.OperationalError as error:
            if 'locked' not in str(error) or time.monotonic() >= end:
                raise
            time.sleep(0.01)


def _checked_path(name: str) -> str:
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigurationError(
            f'SQLite {sqlite3.sqlite_version} is too old; 3.35 is needed'
        )
    if name in ('', ':memory:'):
        raise ConfigurationError(
            'SQLite in memory would lose all data with each process; name a '
            'file: sqlite:////path/to/file'
        )
    path = pathlib.Path(name)
    if not path.is_absolute():
        # Each program may have been started in another folder.
        raise ConfigurationError(
            f'the path {path} is relative; name a file with four slashes: '
            'sqlite:////path/to/file'
        )
    folder = path.parent
    if not folder.is_dir():
        raise ConfigurationError(f'the folder {folder} does not exist')
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f'the folder {folder} is not writable')
    return str(path)
