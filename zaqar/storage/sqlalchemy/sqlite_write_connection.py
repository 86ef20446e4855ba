# SPDX-License-Identifier: Apache-2.0
"""The connection that writes to an SQLite file, one of each process.

Threads (:mod:`.sqlite_writes_of_threads`) and greenlets
(:mod:`.sqlite_writes_of_greenlets`) take turns to use it.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from zaqar.errors import StoreUnavailable
from zaqar.storage.sqlalchemy.fair_lock_of_threads_and_event_loops import (
    FairLock,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

LOG = logging.getLogger(__name__)

#: Seconds to wait for another process's transaction.
BUSY_TIMEOUT = 4.5


class Outcome(msgspec.Struct, frozen=True):
    """What work in a shared transaction came to."""

    result: Any
    error: Exception | None = None


class WriteConnection:
    """A connection and its transaction.

    :param connection: that may be used in several threads
    :ivar turns: those of its users; all else here is for who has it
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # SQLite itself would sleep longer each time, up to 100 ms.
        connection.execute('PRAGMA busy_timeout = 0')
        # Read the schema now, not while others wait for a transaction's end.
        connection.execute('SELECT 1 FROM sqlite_schema').fetchone()
        self._cursor = connection.cursor()
        self._session = SqlSession(self._cursor, 'sqlite')
        self._changes = 0
        self.turns = FairLock()

    @property
    def has_changes(self) -> bool:
        """Whether a transaction is open that has changed a row."""
        connection = self._connection
        return (
            connection.in_transaction
            and connection.total_changes != self._changes
        )

    def begin(self) -> bool:
        """Begin a transaction, unless another process writes.

        :returns: whether it is begun
        """
        try:
            self._cursor.execute('BEGIN IMMEDIATE')
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False
            raise
        self._changes = self._connection.total_changes
        return True

    def perform_alone(self, work: Callable[[SqlSession], Any]) -> Outcome:
        """Do work that is the whole transaction: a failure ends that."""
        return self._perform(work, 'ROLLBACK')

    def perform_with_others(
        self, work: Callable[[SqlSession], Any]
    ) -> Outcome:
        """Do work in a savepoint: a failure undoes only it."""
        self._cursor.execute('SAVEPOINT work')
        outcome = self._perform(work, 'ROLLBACK TO work')
        if outcome.error is None:
            self._cursor.execute('RELEASE work')
        return outcome

    def commit(self) -> None:
        """Commit a transaction that is still open."""
        if self._connection.in_transaction:
            self._cursor.execute('COMMIT')

    def undo(self) -> None:
        """End a transaction that is still open."""
        # Even to look fails once it is closed.
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._cursor.execute('ROLLBACK')

    def close(self) -> None:
        self._connection.close()

    def _perform(
        self, work: Callable[[SqlSession], Any], undo: str
    ) -> Outcome:
        try:
            return Outcome(work(self._session))
        except Exception as error:
            if not self._connection.in_transaction:
                # SQLite has undone it itself, as it does if a disk fails.
                raise
            self._cursor.execute(undo)
            return Outcome(None, error)


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another process is writing."""
    # Extended codes have further bits.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def unavailable(error: BaseException) -> StoreUnavailable:
    """Log that it is locked for too long, full, broken or gone."""
    LOG.error('SQLite: %s', error)
    return StoreUnavailable()
