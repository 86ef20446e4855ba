# SPDX-License-Identifier: Apache-2.0
"""Writes of threads to an SQLite file.

Threads that wait for the connection queue their work, and the next one commits
all of it at once, so that one ``fsync`` serves many.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable
from zaqar.storage.group_commit import Batcher
from zaqar.storage.sqlalchemy.sqlite_write_connection import (
    BUSY_TIMEOUT,
    Outcome,
    WriteConnection,
    unavailable,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

LOG = logging.getLogger(__name__)

T = TypeVar('T')

#: Seconds between two attempts to begin a transaction.
_RETRY = 0.0005


class _Work(msgspec.Struct, frozen=True):
    """Work for the connection that writes.

    :ivar end: when to wait for it no longer, by the monotonic clock
    """

    perform: Callable[[SqlSession], Any]
    end: float


class WritesOfThreads:
    """Commits work, in the thread of one that waits for it."""

    def __init__(self, connection: WriteConnection) -> None:
        self._connection = connection
        self._batcher: Batcher[_Work, Outcome] = Batcher(
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

    def _commit_one(self, work: _Work) -> Outcome:
        return self._commit([work])[0]

    def _commit(self, works: Sequence[_Work]) -> Sequence[Outcome]:
        connection = self._connection
        # Those that came later would have to wait just as long.
        end = request_deadline.cap(min(work.end for work in works))
        if not connection.turns.take_within(max(0.0, end - time.monotonic())):
            LOG.error('SQLite: others of this process write for too long')
            raise StoreUnavailable
        try:
            self._begin(end)
            perform = connection.perform_with_others
            if len(works) == 1:
                perform = connection.perform_alone
            outcomes = [perform(work.perform) for work in works]
            connection.commit()
            return outcomes
        except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
            # The latter of a connection that is closed.
            raise unavailable(error) from error
        finally:
            connection.undo()
            connection.turns.give_back()

    def _begin(self, end: float) -> None:
        while not self._connection.begin():
            if time.monotonic() >= end:
                LOG.error('SQLite: another process writes for too long')
                raise StoreUnavailable
            time.sleep(_RETRY)
