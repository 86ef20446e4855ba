# SPDX-License-Identifier: Apache-2.0
"""The watch of SQLite: a number that changes with each commit."""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable

from zaqar.storage.store_watch_interface import OnChange, Watch

LOG = logging.getLogger(__name__)

#: Seconds between two looks at the number, after a change and at most; each
#: pause is so much longer than the one before.
INTERVAL = 0.01
MAX_INTERVAL = 0.025
GROWTH = 1.02

#: Seconds after a look that failed.
PAUSE = 1.0


class SqliteWatch(Watch):
    """Looks for commits of other connections, in whatever process.

    :param connect: opens a connection of its own
    """

    hears_own = False

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], changed: OnChange
    ) -> None:
        self._connection = connect()
        self._changed = changed
        #: The latest number; none at first, so that a change is reported.
        self._version = -1
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name='sqlite-watch', daemon=True
        )
        self._thread.start()

    def add(self, qid: str) -> None:
        self._version = -1

    def remove(self, qid: str) -> None:
        """Do nothing: changes of all queues are reported."""

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        pause = INTERVAL
        with contextlib.closing(self._connection):
            while not self._closed.wait(pause):
                try:
                    version = self._read()
                except sqlite3.Error as error:
                    if pause != PAUSE:
                        LOG.warning('SQLite: cannot watch changes: %s', error)
                    pause = PAUSE
                    continue
                if version != self._version:
                    self._version = version
                    self._changed(None, 0)
                    pause = INTERVAL
                pause = min(pause * GROWTH, MAX_INTERVAL)

    def _read(self) -> int:
        ((version,),) = self._connection.execute('PRAGMA data_version')
        return int(version)
