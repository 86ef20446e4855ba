# SPDX-License-Identifier: Apache-2.0
"""SQLite files that several processes open."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import threading

from zaqar.storage.sqlalchemy.driver import DRIVER


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
