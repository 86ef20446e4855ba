# SPDX-License-Identifier: Apache-2.0
"""Writes of the greenlets of an event loop to an SQLite file.

Greenlets queue their work. When it is their turn to use the connection, the
loop begins a transaction, does the work of all of them, each in a savepoint,
and has another thread commit, which is what takes long. That thread does
nothing else: it would fight with the loop for the interpreter.

Work in the transaction waits for nothing, or all others would wait with it:
what tries to fails; see
:func:`zaqar.event_loop_greenlets.run_without_waiting`.
"""

from __future__ import annotations

import functools
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from zaqar import request_deadline
from zaqar.current_request import OF_THREAD
from zaqar.errors import StoreUnavailable
from zaqar.event_loop_greenlets import Hub, LoopGreenlet, run_without_waiting
from zaqar.greenlets_stalled_on_stores import CHECK_INTERVAL, Silence, wake
from zaqar.storage.sqlalchemy.sqlite_calls_in_threads_on_slow_disk import (
    SlowCallPause,
)
from zaqar.storage.sqlalchemy.sqlite_write_connection import (
    BUSY_TIMEOUT,
    WriteConnection,
    unavailable,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

LOG = logging.getLogger(__name__)

T = TypeVar('T')

#: Seconds after which a batch takes no more work: the loop has others.
LONGEST_BATCH = 0.005

#: The share of the last callers for which a batch waits, since they are likely
#: to come again at once; the part of the usual duration of a batch for which
#: it does so at most, and seconds. Fewer commits serve them then.
_SHARE = 0.75
_GATHERING = 0.75
_LONGEST_GATHERING = 0.001

#: Seconds between two attempts to begin a transaction. Timers of the loop are
#: no finer.
_RETRY = 0.001


class _Write:
    """Work that waits for its commit.

    :ivar one: who waits for it; None if it has gone on
    :ivar end: when it waits no longer, by the monotonic clock
    """

    __slots__ = ('end', 'failure', 'one', 'request', 'result', 'work')

    def __init__(
        self,
        one: LoopGreenlet,
        work: Callable[[SqlSession], Any],
        now: float,
    ) -> None:
        self.one: LoopGreenlet | None = one
        self.request = OF_THREAD.request
        self.work = work
        self.end = request_deadline.cap(now + BUSY_TIMEOUT)
        self.result: Any = None
        self.failure: Exception | None = None


class WritesOfGreenlets:
    """Commits the work of the greenlets of a loop.

    :param path: of the file
    :param pause: is told how long work has held up the loop
    """

    def __init__(
        self,
        hub: Hub,
        path: str,
        connection: WriteConnection,
        pause: SlowCallPause,
    ) -> None:
        self._hub = hub
        self._path = path
        self._silence = Silence(path)
        #: When the last batch ended, or the first write came.
        self._since = 0.0
        self._connection = connection
        self._pause = pause
        self._waiting: deque[_Write] = deque()
        #: What is being committed.
        self._batch: Sequence[_Write] = ()
        #: Whether a batch is due, gathers or is under way.
        self._is_busy = False
        #: When the batch began that is under way, and the usual duration.
        self._begun = 0.0
        self._usual = 0.0
        self._is_timed = False
        self._commits: queue.SimpleQueue[Sequence[_Write] | None]
        self._commits = queue.SimpleQueue()
        self._turn = functools.partial(hub.call, self._work)
        threading.Thread(
            target=self._commit_all, name='sqlite-commits', daemon=True
        ).start()

    def run(self, one: LoopGreenlet, work: Callable[[SqlSession], T]) -> T:
        """Have work committed while the present greenlet waits.

        :raises StoreUnavailable: in time, or too many wait
        """
        now = time.monotonic()
        if self._silence.is_noticed and self._is_busy:
            self._silence.begin(one, self._since, now)
        write = _Write(one, work, now)
        self._waiting.append(write)
        if not self._is_busy:
            self._is_busy = True
            self._since = now
            # With all that come in this round of the loop.
            self._hub.loop.call_soon(self._begin)
        if not self._is_timed:
            self._is_timed = True
            self._hub.loop.call_later(CHECK_INTERVAL, self._check)
        try:
            one.wait(write)
        except BaseException:
            write.one = None
            raise
        if write.failure is not None:
            raise write.failure
        result: T = write.result
        return result

    def close(self) -> None:
        """End the thread. Nothing is under way any more."""
        self._commits.put(None)

    # What the loop calls, outside of greenlets.

    def _begin(self) -> None:
        """Do what waits, once the connection is ours."""
        self._begun = time.monotonic()
        if self._connection.turns.take(self._turn):
            self._work()

    def _work(self) -> None:
        """Do what waits, and have it committed. The connection is ours."""
        connection = self._connection
        self._waiting = deque(
            write for write in self._waiting if write.one is not None
        )
        if not self._waiting:
            self._is_busy = False
            connection.turns.give_back()
            return
        batch: list[_Write] = []
        try:
            if not connection.begin():
                # Another process writes.
                self._hub.loop.call_later(_RETRY, self._work)
                return
            self._perform(batch)
            if connection.has_changes:
                self._batch = batch
                self._commits.put(batch)
                return
            connection.commit()
        except BaseException as error:
            connection.undo()
            self._end(batch or self._take_all(), error)
        else:
            self._end(batch, None)

    def _perform(self, batch: list[_Write]) -> None:
        """Do what waits in a transaction, or the first part of it."""
        waiting, perform = self._waiting, self._connection.perform_with_others
        if len(waiting) == 1:
            perform = self._connection.perform_alone
        begun = now = time.monotonic()
        while waiting and now - begun < LONGEST_BATCH:
            write = waiting.popleft()
            batch.append(write)
            try:
                outcome = run_without_waiting(
                    write.request, perform, write.work
                )
            except Exception as error:
                # It is the end of the transaction.
                write.failure = error
                raise
            write.result, write.failure = outcome.result, outcome.error
            last, now = now, time.monotonic()
            self._pause.note(now - last)

    def _take_all(self) -> Sequence[_Write]:
        taken = [*self._waiting]
        self._waiting.clear()
        return taken

    def _end(
        self, batch: Sequence[_Write], error: BaseException | None
    ) -> None:
        """Let those go on whose work has been committed, or not."""
        self._batch = ()
        self._since = now = time.monotonic()
        self._usual += (now - self._begun - self._usual) / 8
        self._silence.is_noticed = False
        if error is not None:
            _fail(batch, error)
        self._connection.turns.give_back()
        crowd = len(batch) + len(self._waiting)
        try:
            for write in batch:
                wake(write)
        finally:
            patience = min(self._usual * _GATHERING, _LONGEST_GATHERING)
            self._gather(crowd * _SHARE if crowd > 1 else 0, now + patience)

    def _gather(self, count: float, until: float) -> None:
        """Begin the next batch when so many wait, or by a time."""
        if len(self._waiting) < count and time.monotonic() < until:
            self._hub.loop.call_soon(self._gather, count, until)
            return
        self._is_busy = bool(self._waiting)
        if self._is_busy:
            # Not at once: what changes nothing ends here, one after the other.
            self._hub.loop.call_soon(self._begin)

    def _check(self) -> None:
        """Let those go on whose time is over; notice a long silence.

        Not those whose work is done: while it is being committed, nobody can
        say that it was not, and what a pop has removed would be lost.
        """
        self._is_timed = self._is_busy
        if not self._is_timed:
            return
        self._hub.loop.call_later(CHECK_INTERVAL, self._check)
        now = time.monotonic()
        overdue = [
            write
            for write in self._waiting
            if write.end <= now and write.one is not None
        ]
        if overdue:
            LOG.error('SQLite: %d writes take too long', len(overdue))
        for write in overdue:
            write.failure = StoreUnavailable()
            wake(write)
        self._silence.check(self._since, now, self._waiting)
        if self._silence.is_noticed:
            for write in self._batch:
                if write.one is not None:
                    write.one.stall(self._path)

    # What the other thread does.

    def _commit_all(self) -> None:
        connection = self._connection
        while (batch := self._commits.get()) is not None:
            failure: BaseException | None = None
            try:
                connection.commit()
            except BaseException as error:
                failure = error
                connection.undo()
            try:
                self._hub.call(self._end, batch, failure)
            except RuntimeError:
                # The loop has ended. Threads may go on.
                connection.turns.give_back()
            del batch, failure


def _fail(batch: Sequence[_Write], error: BaseException) -> None:
    """Note that a transaction is undone, or may be."""
    unavailable(error)
    for write in batch:
        # Whoever caused it learns what it was, unless the store is to blame.
        if write.failure is not error or isinstance(error, sqlite3.Error):
            # Of each its own: they are raised in several greenlets.
            write.failure = StoreUnavailable()
