# SPDX-License-Identifier: Apache-2.0
"""The bytes of queues in SQL."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3

from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
from zaqar.tests.contract.probe import Hand, Probe


def test_an_empty_queue_holds_nothing_whoever_emptied_it(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / 'zaqar.sqlite'
    store = DRIVER.open_messages(f'sqlite:///{path}', {})
    queue = Probe(store, Hand())
    with contextlib.closing(store):
        queue.post('a' * 98)
        store.held_bytes([queue.qid], now=queue.hand.now)
        queue.pop()
        # As a program of an earlier release leaves it.
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute('UPDATE message_queue SET bytes = 500')
            database.commit()
        assert store.held_bytes([queue.qid], now=queue.hand.now) == 0
        queue.post('b' * 98)
        assert store.held_bytes([queue.qid], now=queue.hand.now) == 100
