# SPDX-License-Identifier: Apache-2.0
"""A full disk refuses new messages; what frees room goes on working."""

from __future__ import annotations

import pathlib
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.objects import NewMessage
from zaqar.storage.sqlalchemy import sqlite_database
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
from zaqar.storage.sqlalchemy.message_store import SqlMessageStore
from zaqar.tests.servers import process

NOW = 1_800_000_000_000

QUEUE = secrets.token_hex(16)


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of a few megabytes."""
    command = ['mount', '-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', tmp_path]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        process.missing('there is no mount')
    if done.returncode:
        process.missing('only root can mount')
    yield tmp_path
    subprocess.run(['umount', tmp_path], check=True)


@pytest.fixture
def store(
    disk: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SqlMessageStore]:
    """A store on that disk, which keeps back as much as a WAL may need."""
    monkeypatch.setattr(sqlite_database, 'RESERVE', 6 * 2**20)
    store = DRIVER.open_messages(f'sqlite:///{disk}/a', {})
    assert isinstance(store, SqlMessageStore)
    yield store
    store.close()


def _post(store: SqlMessageStore, count: int = 5) -> list[str]:
    messages = [
        NewMessage(b'"' + b'x' * 20_000 + b'"', 600, secrets.token_hex(8), 'c')
        for _ in range(count)
    ]
    token = secrets.token_hex(16)
    return [*store.post(QUEUE, messages, now=NOW, token=token)]


def test_what_frees_room_works_on_a_full_disk(
    store: SqlMessageStore, caplog: pytest.LogCaptureFixture
) -> None:
    ids: list[str] = []
    with pytest.raises(StoreUnavailable):
        while len(ids) < 10_000:
            ids += _post(store)
    assert 'KiB are free' in caplog.text

    store.delete(QUEUE, ids[0], now=NOW, claim_id=None)
    store.delete_many(QUEUE, ids[1:4], now=NOW)
    assert len(store.pop(QUEUE, now=NOW, limit=3)) == 3
    claim = store.claim(
        QUEUE, now=NOW, claim_id='c', ttl=60, grace=60, limit=2
    )
    assert claim is not None
    store.release(QUEUE, 'c', now=NOW)
    assert store.stats(QUEUE, now=NOW).total == len(ids) - 7
    store.purge(QUEUE, now=NOW)
    assert store.stats(QUEUE, now=NOW).total == 0
    assert store.sweep(now=NOW + 700_000, batch=1000)
    store.drop(QUEUE, now=NOW)
