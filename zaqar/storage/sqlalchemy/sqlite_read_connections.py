# SPDX-License-Identifier: Apache-2.0
"""Connections that read an SQLite file.

Readers never wait for who writes, and most read for some microseconds: an
event loop does so itself. What takes longer, or has to wait, is done again in
a thread.
"""

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from zaqar.event_loop_greenlets import offload_to
from zaqar.storage.sqlalchemy import sqlite_calls_in_threads_on_slow_disk
from zaqar.storage.sqlalchemy.sqlite_calls_in_threads_on_slow_disk import (
    SlowCallPause,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

T = TypeVar('T')

#: Connections that are open while nobody reads: each may have 32 MiB of pages.
MOST = 8

#: Steps of SQLite's machine between two looks at a read in a loop, and looks
#: until it is ended: ten messages take some 600 steps, and all of these 5 ms.
_STEPS = 1000
_LOOKS = 50

#: Errors of a read in a loop that a thread can do.
_FOR_THREADS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_INTERRUPT)


class _LoopReader:
    """A connection that an event loop uses for short reads."""

    def __init__(
        self, connection: sqlite3.Connection, pause: SlowCallPause
    ) -> None:
        self._pause = pause
        self._end = 0.0
        self._looks = 0
        connection.execute('PRAGMA busy_timeout = 0')
        connection.set_progress_handler(self._is_overdue, _STEPS)
        self.session = SqlSession(connection.cursor(), 'sqlite')

    def begin(self, now: float) -> None:
        """Begin a read."""
        self._end = now + sqlite_calls_in_threads_on_slow_disk.LONGEST
        self._looks = _LOOKS

    def _is_overdue(self) -> bool:
        self._looks -= 1
        return self._looks < 0 or (
            time.monotonic() > self._end and self._pause.has_read_disk
        )


class Readers:
    """Connections, each lent to one read at a time.

    :param path: of the file
    :param connect: opens one
    :param pause: is told how long reads have held up a loop
    """

    def __init__(
        self,
        path: str,
        connect: Callable[[], sqlite3.Connection],
        pause: SlowCallPause,
    ) -> None:
        self._path = path
        self._connect = connect
        self._pause = pause
        #: Those that nobody uses; added and taken in single steps of the
        #: interpreter, hence without a lock.
        self._idle: list[SqlSession] = []
        self._of_loops: list[_LoopReader] = []

    def run(self, work: Callable[[SqlSession], T]) -> T:
        """Read in this thread."""
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = SqlSession(self._open().cursor(), 'sqlite')
        try:
            return work(reader)
        finally:
            if len(self._idle) < MOST:
                self._idle.append(reader)
            else:
                reader.close()

    def run_in_loop(self, work: Callable[[SqlSession], T]) -> T:
        """Read in a greenlet, without holding up its loop."""
        try:
            reader = self._of_loops.pop()
        except IndexError:
            reader = offload_to(self._path, self._open_for_loop)
        begun = time.monotonic()
        reader.begin(begun)
        try:
            result = work(reader.session)
        except sqlite3.OperationalError as error:
            # Python would prepare that statement anew each time:
            # findings/cpython-sqlite3-interrupted.sh
            reader.session.close()
            code: int = getattr(error, 'sqlite_errorcode', 0)
            if code & 0xFF not in _FOR_THREADS:
                raise
        except BaseException:
            self._give_back(reader)
            raise
        else:
            self._give_back(reader)
            return result
        finally:
            self._pause.note(time.monotonic() - begun)
        return offload_to(self._path, self.run, work)

    def _give_back(self, reader: _LoopReader) -> None:
        """Let the next read of a loop have a connection.

        They do not overlap. There are more if some were begun while the first
        connection was being opened.
        """
        if self._of_loops:
            reader.session.close()
        else:
            self._of_loops.append(reader)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        while self._of_loops:
            self._of_loops.pop().session.close()

    def _open(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute('PRAGMA query_only = ON')
        return connection

    def _open_for_loop(self) -> _LoopReader:
        return _LoopReader(self._open(), self._pause)
