# SPDX-License-Identifier: Apache-2.0
"""SQLite, the embedded database.

One connection of the process writes; threads that wait for it queue their
work, and the next one commits all of it at once, so that one ``fsync`` serves
many. Reads have connections of their own, which never wait for the writer.
Several processes of one machine may share the file; a network file system
will lose data.
"""

import contextlib
import logging
import os
import pathlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from zaqar import request_deadline, store_clock
from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.storage.group_commit import Batcher
from zaqar.storage.sqlalchemy import sqlite_creation
from zaqar.storage.sqlalchemy.abstract_database import SqlDatabase
from zaqar.storage.sqlalchemy.sqlite_watch import SqliteWatch
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.watchable_store import OnChange, Watch

LOG = logging.getLogger(__name__)

T = TypeVar('T')

#: Seconds to wait for another process's transaction.
BUSY_TIMEOUT = 4.5

#: Seconds between two attempts to begin a transaction.
_RETRY = 0.0005

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

    def __init__(self, path: str, synchronous: str) -> None:
        self._path = _checked_path(path)
        self._folder = os.path.dirname(self._path)
        #: Until when there is room, by the monotonic clock.
        self._has_room_until = 0.0
        self._synchronous = synchronous
        self._create()
        self._writer = _Writer(self._connect())
        #: Those that no thread uses; as many as ever read at a time.
        self._readers: list[SqlSession] = []

    def _run(self, work: Callable[[SqlSession], T], *, commit: bool) -> T:
        try:
            return self._writer.run(work) if commit else self._read(work)
        except sqlite3.OperationalError as error:
            raise _unavailable(error) from error

    def _read(self, work: Callable[[SqlSession], T]) -> T:
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = self._open_reader()
        try:
            return work(reader)
        finally:
            self._readers.append(reader)

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
            raise _unavailable(error) from error

    def now(self) -> int:
        return store_clock.wall_ms()

    def close(self) -> None:
        self._writer.close()
        while self._readers:
            self._readers.pop().close()

    def _open_reader(self) -> SqlSession:
        connection = self._connect()
        connection.execute('PRAGMA query_only = ON')
        return SqlSession(connection.cursor(), 'sqlite')

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


class _Work(msgspec.Struct, frozen=True):
    """Work for the connection that writes.

    :ivar end: when to wait for it no longer, by the monotonic clock
    """

    perform: Callable[[SqlSession], Any]
    end: float


class _Outcome(msgspec.Struct, frozen=True):
    """What work in a shared transaction came to."""

    result: Any
    error: Exception | None = None


class _Writer:
    """The one connection that writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # SQLite itself would sleep longer each time, up to 100 ms.
        connection.execute('PRAGMA busy_timeout = 0')
        # Read the schema now, not while others wait for a transaction's end.
        connection.execute('SELECT 1 FROM sqlite_schema').fetchone()
        self._cursor = connection.cursor()
        self._session = SqlSession(self._cursor, 'sqlite')
        self._busy = threading.Lock()
        self._batcher: Batcher[_Work, _Outcome] = Batcher(
            self._commit, self._commit_one, BUSY_TIMEOUT
        )

    @property
    def pending(self) -> int:
        """How many writes are under way or wait."""
        return self._batcher.pending

    def run(self, work: Callable[[SqlSession], T]) -> T:
        """Commit work, in this thread or in one that has the connection."""
        end = time.monotonic() + BUSY_TIMEOUT
        outcome = self._batcher.run(_Work(work, end))
        if outcome.error is not None:
            raise outcome.error
        result: T = outcome.result
        return result

    def close(self) -> None:
        with self._busy:
            self._connection.close()

    def _commit_one(self, work: _Work) -> _Outcome:
        return self._commit([work])[0]

    def _commit(self, works: Sequence[_Work]) -> Sequence[_Outcome]:
        # Those that came later would have to wait just as long.
        end = request_deadline.cap(min(work.end for work in works))
        if not self._busy.acquire(timeout=max(0.0, end - time.monotonic())):
            LOG.error('SQLite: another thread writes for too long')
            raise StoreUnavailable
        try:
            self._begin(end)
            if len(works) == 1:
                return [self._perform(works[0].perform, 'ROLLBACK', 'COMMIT')]
            outcomes = [self._perform_with_others(work) for work in works]
            self._cursor.execute('COMMIT')
            return outcomes
        except sqlite3.OperationalError as error:
            raise _unavailable(error) from error
        finally:
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._cursor.execute('ROLLBACK')
            self._busy.release()

    def _begin(self, end: float) -> None:
        while True:
            try:
                self._cursor.execute('BEGIN IMMEDIATE')
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() >= end:
                    raise
            time.sleep(_RETRY)

    def _perform_with_others(self, work: _Work) -> _Outcome:
        """Do work in a savepoint: a failure undoes only it."""
        self._cursor.execute('SAVEPOINT work')
        return self._perform(work.perform, 'ROLLBACK TO work', 'RELEASE work')

    def _perform(
        self, work: Callable[[SqlSession], Any], undo: str, end: str
    ) -> _Outcome:
        try:
            outcome = _Outcome(work(self._session))
        except Exception as error:
            if not self._connection.in_transaction:
                # SQLite has undone it itself, as it does if a disk fails.
                raise
            self._cursor.execute(undo)
            return _Outcome(None, error)
        self._cursor.execute(end)
        return outcome


def _is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another process is writing."""
    # Extended codes have further bits.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _unavailable(error: sqlite3.OperationalError) -> StoreUnavailable:
    """Log that it is locked for too long, full, broken or gone."""
    LOG.error('SQLite: %s', error)
    return StoreUnavailable()


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
