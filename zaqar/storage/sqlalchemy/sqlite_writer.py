# SPDX-License-Identifier: Apache-2.0
"""The connection that writes to an SQLite file, one of each process.

Threads that wait for it queue their work, and the next one commits all of it
at once, so that one ``fsync`` serves many.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable
from zaqar.storage.group_commit import Batcher
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

LOG = logging.getLogger(__name__)

T = TypeVar('T')

#: Seconds to wait for another process's transaction.
BUSY_TIMEOUT = 4.5

#: Seconds between two attempts to begin a transaction.
_RETRY = 0.0005


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


class SqliteWriter:
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
            raise unavailable(error) from error
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


def unavailable(error: sqlite3.OperationalError) -> StoreUnavailable:
    """Log that it is locked for too long, full, broken or gone."""
    LOG.error('SQLite: %s', error)
    return StoreUnavailable()
