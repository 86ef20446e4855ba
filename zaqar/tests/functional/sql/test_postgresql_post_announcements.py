# SPDX-License-Identifier: Apache-2.0
"""Posts that PostgreSQL announces, and those it does not."""

from __future__ import annotations

import queue as queues
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from zaqar.errors import StoreUnavailable
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.sqlalchemy import migrations, postgresql_post_announcements
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER, parse
from zaqar.storage.store_watch_interface import Watch
from zaqar.tests.contract.probe import Hand, Probe, token
from zaqar.tests.servers import sql

#: Seconds in which a report must come, also from a busy machine.
SOON = 60.0


@pytest.fixture
def uri(postgresql: sql.SqlServer) -> Iterator[str]:
    """A database with tables."""
    uri = postgresql.database()
    migrations.upgrade(parse(uri), 'head')
    yield uri
    postgresql.drop(uri)


@pytest.fixture
def server(uri: str) -> Iterator[sa.Connection]:
    """Another connection to the database."""
    engine = sa.create_engine(
        parse(uri), isolation_level='AUTOCOMMIT', poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def queue(store: MessageStore, hand: Hand) -> Probe:
    return Probe(store, hand)


@pytest.fixture
def another(store: MessageStore, hand: Hand) -> Probe:
    return Probe(store, hand)


class Reports:
    """What a watch has reported."""

    def __init__(self) -> None:
        self._reports: queues.Queue[tuple[str | None, int]] = queues.Queue()

    def add(self, qid: str | None, count: int) -> None:
        self._reports.put((qid, count))

    def take(self) -> tuple[str | None, int]:
        return self._reports.get(timeout=SOON)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def watch(store: MessageStore, reports: Reports) -> Iterator[Watch]:
    watch = store.watch(reports.add)
    assert watch is not None
    yield watch
    watch.close()


def announcements(server: sa.Connection) -> list[str]:
    """Return what was announced since the last time."""
    connection: Any = server.connection.driver_connection
    notes: list[str] = []
    connection.add_notify_handler(lambda note: notes.append(note.payload))
    server.exec_driver_sql(f'LISTEN {postgresql_post_announcements.CHANNEL}')
    return notes


def test_only_posts_that_somebody_waits_for_are_announced(
    server: sa.Connection,
    queue: Probe,
    another: Probe,
    watch: Watch,
    reports: Reports,
) -> None:
    notes = announcements(server)
    watch.add(queue.qid)
    assert reports.take() == (queue.qid, 0)
    for limit in (0, 9):
        another.post('a', limit=limit)
        queue.post('a', 'b', limit=limit)
        assert reports.take() == (queue.qid, 2)
    server.exec_driver_sql('SELECT 1')
    assert notes == [f'{queue.qid} 2'] * 2


@pytest.mark.parametrize('limit', [0, 9])
def test_a_repeated_post_is_not_announced(
    queue: Probe, watch: Watch, reports: Reports, limit: int
) -> None:
    watch.add(queue.qid)
    assert reports.take() == (queue.qid, 0)
    name = token()
    for _ in range(2):
        queue.post('a', token=name, limit=limit)
    queue.post('b', 'c', limit=limit)
    assert reports.take() == (queue.qid, 1)
    assert reports.take() == (queue.qid, 2)


def test_an_announcement_takes_no_further_statement(
    queue: Probe,
    watch: Watch,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue.post('first')
    watch.add(queue.qid)
    assert reports.take() == (queue.qid, 0)
    statements: list[str] = []
    execute: Callable[..., Any] = psycopg.Cursor.execute
    own = threading.current_thread()

    def noting(cursor: Any, text: str, *rest: Any, **options: Any) -> Any:
        # The watch renews its leases.
        if threading.current_thread() is own:
            statements.append(text)
        return execute(cursor, text, *rest, **options)

    monkeypatch.setattr(psycopg.Cursor, 'execute', noting)
    queue.post('a')
    assert reports.take() == (queue.qid, 1)
    assert len(statements) == 1


def test_announcements_of_other_queues_are_ignored(
    server: sa.Connection, queue: Probe, watch: Watch, reports: Reports
) -> None:
    watch.add(queue.qid)
    assert reports.take() == (queue.qid, 0)
    # Of another schema, say.
    server.exec_driver_sql(
        f"NOTIFY {postgresql_post_announcements.CHANNEL}, '{token()} 7'"
    )
    queue.post('a')
    assert reports.take() == (queue.qid, 1)


def test_a_locked_queue_does_not_hold_up_others(
    uri: str, queue: Probe, another: Probe, watch: Watch, reports: Reports
) -> None:
    queue.post('a')
    another.post('a')
    engine = sa.create_engine(parse(uri), poolclass=sa.NullPool)
    lock = sa.text('SELECT id FROM message_queue WHERE qid = :qid FOR UPDATE')
    with engine.connect() as connection:
        connection.execute(lock, {'qid': queue.qid})
        watch.add(queue.qid)
        watch.add(another.qid)
        assert reports.take() == (another.qid, 0)
        connection.rollback()
    assert reports.take() == (queue.qid, 0)
    queue.post('b')
    assert reports.take() == (queue.qid, 1)


def test_a_server_that_does_not_answer_cannot_be_watched(uri: str) -> None:
    nowhere = sa.make_url(uri).set(port=1).render_as_string(False)
    store = DRIVER.open_messages(nowhere, {})
    with pytest.raises(StoreUnavailable):
        store.watch(lambda _, __: None)
    store.close()


def test_posts_are_heard_again_after_the_server_ended_the_connection(
    server: sa.Connection, queue: Probe, watch: Watch, reports: Reports
) -> None:
    watch.add(queue.qid)
    assert reports.take() == (queue.qid, 0)
    ended = server.exec_driver_sql(
        'SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity '
        "WHERE application_name = 'zaqar' AND datname = current_database() "
        "AND query LIKE '%%waited_until%%' AND query LIKE '%%SKIP LOCKED%%' "
        'AND pid <> pg_backend_pid()'
    ).scalar()
    assert ended == 1
    assert reports.take() == (None, 0)
    assert reports.take() == (queue.qid, 0)
    queue.post('a')
    assert reports.take() == (queue.qid, 1)
