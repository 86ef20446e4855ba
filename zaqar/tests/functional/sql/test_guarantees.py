# SPDX-License-Identifier: Apache-2.0
"""What databases promise follows from their live settings."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
from zaqar.storage.store_guarantees import LAST_SECOND, Guarantees, Order
from zaqar.tests.contract.probe import token
from zaqar.tests.servers import sql, sql_tables

#: Runs statements on the server.
Administer = Callable[..., Any]


def promised(store: MessageStore) -> Guarantees:
    """Return what the server promises now."""
    shown = store.guarantees(token())
    assert shown is not None
    return shown


def opened(server: sql.SqlServer) -> MessageStore:
    """Open a message store in a new database."""
    uri = server.database()
    engine = sa.create_engine(
        uri, poolclass=sa.NullPool, isolation_level='AUTOCOMMIT'
    )
    with engine.connect() as connection:
        sql_tables.create(connection)
    return DRIVER.open_messages(uri, {})


def administrator(server: sql.OwnServer) -> Administer:
    """Return what runs statements on a server, each by itself."""
    engine = sa.create_engine(
        server.url, poolclass=sa.NullPool, isolation_level='AUTOCOMMIT'
    )

    def run(*statements: str) -> None:
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    return run


@pytest.fixture(scope='module')
def postgresql() -> Iterator[tuple[MessageStore, Administer]]:
    """A store, and what changes the settings of its server."""
    server = sql.PostgreSQL(durable=True)
    store = opened(server)
    yield store, administrator(server)
    store.close()
    server.stop()


def after_reload(store: MessageStore, text: str) -> Guarantees:
    """Return what is promised once a setting has reached our connection."""
    end = time.monotonic() + 10
    while text not in ' '.join((shown := promised(store)).because):
        assert time.monotonic() < end, shown
        time.sleep(0.02)
    return shown


def test_postgresql_promises_what_its_settings_say(
    postgresql: tuple[MessageStore, Administer],
) -> None:
    store, run = postgresql

    def change(setting: str, value: str) -> None:
        run(
            f"ALTER SYSTEM SET {setting} = '{value}'",
            'SELECT pg_reload_conf()',
        )

    def reset() -> None:
        run('ALTER SYSTEM RESET ALL', 'SELECT pg_reload_conf()')
        after_reload(store, 'fsync = on, synchronous_commit = on')

    shown = promised(store)
    assert (shown.store, shown.order) == ('postgresql', Order.FIFO)
    assert (shown.store_kill, shown.failover) == (True, False)
    assert 'synchronous_standby_names is empty' in shown.because[1]

    change('synchronous_commit', 'off')
    shown = after_reload(store, 'synchronous_commit = off')
    assert shown.store_kill == LAST_SECOND
    assert 'loses the last 600 ms' in shown.because[0]
    change('wal_writer_delay', '5s')
    assert after_reload(store, '15000 ms').store_kill is False
    reset()

    change('fsync', 'off')
    assert after_reload(store, 'fsync = off').store_kill is False
    reset()

    change('full_page_writes', 'off')
    assert after_reload(store, 'full_page_writes = off').store_kill is False
    reset()

    # From now on no commit ends; reads do.
    change('synchronous_standby_names', 'b')
    try:
        shown = after_reload(store, 'synchronous_standby_names = b')
        assert (shown.store_kill, shown.failover) == (True, True)
        change('synchronous_commit', 'local')
        shown = after_reload(store, 'synchronous_commit = local')
        assert (shown.store_kill, shown.failover) == (True, False)
    finally:
        reset()


@pytest.fixture(scope='module')
def mariadb() -> Iterator[tuple[MessageStore, Administer]]:
    """A store, and what changes the settings of its server."""
    server = sql.MariaDB(durable=True)
    store = opened(server)
    yield store, administrator(server)
    store.close()
    server.stop()


def test_mariadb_promises_what_its_settings_say(
    mariadb: tuple[MessageStore, Administer],
) -> None:
    store, run = mariadb
    shown = promised(store)
    assert (shown.store, shown.order) == ('mariadb', Order.FIFO)
    assert (shown.store_kill, shown.failover) == (True, False)
    assert 'innodb_flush_log_at_trx_commit = 1' in shown.because[0]
    try:
        for value in (0, 2):
            run(f'SET GLOBAL innodb_flush_log_at_trx_commit = {value}')
            shown = promised(store)
            assert shown.store_kill == LAST_SECOND
            assert f'trx_commit = {value}: a crash' in shown.because[0]
        run('SET GLOBAL innodb_flush_log_at_timeout = 5')
        shown = promised(store)
        assert shown.store_kill is False
        assert 'the commits of 5 s' in shown.because[0]
    finally:
        run(
            'SET GLOBAL innodb_flush_log_at_trx_commit = 1',
            'SET GLOBAL innodb_flush_log_at_timeout = 1',
        )


def test_a_galera_cluster_of_one_survives_no_failover() -> None:
    server = sql.Galera()
    try:
        store = opened(server)
        shown = promised(store)
        assert shown.failover is False
        assert shown.because[1] == (
            'wsrep_on = ON, wsrep_cluster_size = 1 (Primary): no other node '
            'has the commits'
        )
        store.close()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ('level', 'survives'), [('FULL', True), ('NORMAL', False)]
)
def test_sqlite_promises_what_its_settings_say(
    tmp_path: pathlib.Path, level: str, survives: bool
) -> None:
    options = {'sqlite_synchronous': level}
    uri = f'sqlite:///{tmp_path}/z.sqlite'
    store = DRIVER.open_messages(uri, options)
    shown = promised(store)
    store.close()
    assert (shown.store, shown.store_kill) == ('sqlite', survives)
    assert shown.failover is False
    assert f'synchronous = {level}, journal_mode = wal' in shown.because[0]
