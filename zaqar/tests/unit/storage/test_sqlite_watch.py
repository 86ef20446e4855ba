# SPDX-License-Identifier: Apache-2.0
"""The watch of SQLite, while its file cannot be read."""

from __future__ import annotations

import queue
import sqlite3
from typing import Any

import pytest

from zaqar.storage.sqlalchemy import sqlite_watch
from zaqar.storage.sqlalchemy.sqlite_watch import SqliteWatch


class Connection:
    """Numbers one after another; the last one again and again."""

    def __init__(self, *numbers: int | Exception) -> None:
        self._numbers = [*numbers]
        self.is_closed = False

    def execute(self, sql: str) -> list[tuple[int]]:
        assert sql == 'PRAGMA data_version'
        number = self._numbers[0]
        if len(self._numbers) > 1:
            self._numbers.pop(0)
        if isinstance(number, Exception):
            raise number
        return [(number,)]

    def close(self) -> None:
        self.is_closed = True


def test_it_goes_on_after_errors_and_logs_them_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_watch, 'PAUSE', 0.001)
    error = sqlite3.OperationalError('disk I/O error')
    connection: Any = Connection(1, 1, error, error, error, 2)
    reports: queue.Queue[tuple[str | None, int]] = queue.Queue()
    watch = SqliteWatch(
        lambda: connection, lambda qid, count: reports.put((qid, count))
    )
    for _ in (1, 2):
        assert reports.get(timeout=5) == (None, 0)
    watch.close()
    assert reports.empty()
    assert connection.is_closed
    assert caplog.text.count('disk I/O error') == 1
