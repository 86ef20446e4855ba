# SPDX-License-Identifier: Apache-2.0
"""The watch of a PostgreSQL that accepts connections, but no writes."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import Any

import psycopg
import pytest

from zaqar.storage.sqlalchemy import (
    postgresql_post_announcements,
    postgresql_watch,
)
from zaqar.storage.sqlalchemy.postgresql_watch import PostgresqlWatch

PATIENCE = 60.0


class Connection:
    """Listens, and refuses the rest."""

    def __init__(self) -> None:
        self._socket, self._server = socket.socketpair()
        self.pgconn = self

    def execute(self, statement: str) -> None: ...

    def add_notify_handler(self, handler: Any) -> None: ...

    def notifies(self) -> None: ...

    def fileno(self) -> int:
        return self._socket.fileno()

    def cursor(self) -> Any:
        raise psycopg.errors.ReadOnlySqlTransaction('read-only')

    def close(self) -> None:
        self._socket.close()
        self._server.close()


def test_a_loss_that_lasts_is_logged_once_and_tried_less_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, postgresql_watch.__name__)
    monkeypatch.setattr(postgresql_watch, 'PAUSE', 0.001)
    monkeypatch.setattr(postgresql_watch, 'MAX_PAUSE', 0.1)
    times: list[float] = []
    enough = threading.Event()

    def connect() -> Connection:
        times.append(time.monotonic())
        if len(times) >= 6:
            enough.set()
        return Connection()

    watch = PostgresqlWatch(connect, lambda qid, count: None)
    watch.add('q1')
    assert enough.wait(PATIENCE)
    watch.close()
    assert times[5] - times[4] >= 16 * postgresql_watch.PAUSE
    assert [record.levelname for record in caplog.records] == ['WARNING']


@pytest.mark.parametrize('note', ['q1', 'q1 many', f'q1 {"9" * 5000}'])
def test_what_others_announce_on_the_channel_makes_it_look(note: str) -> None:
    assert postgresql_post_announcements.parse(note) == ('q1', 0)
    assert postgresql_post_announcements.parse('q1 7') == ('q1', 7)
