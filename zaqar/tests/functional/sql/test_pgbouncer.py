# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL behind PgBouncer, in both modes."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from zaqar.errors import ConfigurationError
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.sqlalchemy import (
    database_schema_revision,
    dbapi_url_options_and_timeouts,
    driver_declaration,
    migrations,
    postgresql_watch,
)
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER, parse
from zaqar.storage.sqlalchemy.pooler_and_connection_options import Pooler
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import Hand, Probe, bodies
from zaqar.tests.functional.redis.load import Load
from zaqar.tests.servers import sql
from zaqar.tests.servers.pgbouncer import PgBouncer

Open = Callable[..., MessageStore]
Start = Callable[..., PgBouncer]

#: What makes PgBouncer drop our start-up parameter without a word.
SILENT = {'ignore_startup_parameters': 'options,extra_float_digits'}

MODES = pytest.mark.parametrize('mode', ['transaction', 'session'])


@pytest.fixture
def database(postgresql: sql.SqlServer) -> Iterator[str]:
    """The URL of a database without tables, on the server itself."""
    created = postgresql.database()
    yield created
    postgresql.drop(created)


@pytest.fixture
def pgbouncer(postgresql: sql.SqlServer) -> Iterator[Start]:
    """Start PgBouncer before the server."""
    with contextlib.ExitStack() as stack:

        def start(mode: str, **settings: str) -> PgBouncer:
            # As many as there are stores and threads of theirs.
            size = '40' if mode == 'session' else '3'
            bouncer = PgBouncer(
                postgresql.url,
                pool_mode=mode,
                default_pool_size=size,
                **settings,
            )
            stack.callback(bouncer.stop)
            return bouncer

        yield start


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open message stores."""
    with contextlib.ExitStack() as stack:

        def open_(uri: str, **options: Any) -> MessageStore:
            store = DRIVER.open_messages(uri, options)
            stack.callback(store.close)
            return store

        yield open_


def _prepared(uri: str) -> int:
    """Return how many statements are prepared on what PgBouncer lends."""
    engine = sa.create_engine(
        uri,
        poolclass=sa.NullPool,
        isolation_level='AUTOCOMMIT',
        connect_args={'prepare_threshold': None},
    )
    count = 'SELECT count(*) FROM pg_prepared_statements'
    with contextlib.ExitStack() as stack:
        # In transactions, so that each has a connection of its own.
        connections = [stack.enter_context(engine.connect()) for _ in range(3)]
        for connection in connections:
            connection.exec_driver_sql('BEGIN')
        counts = [one.exec_driver_sql(count).scalar() for one in connections]
        for connection in connections:
            connection.exec_driver_sql('COMMIT')
    return sum(counts)  # type: ignore[arg-type]


@MODES
@pytest.mark.parametrize('settings', [{}, SILENT], ids=['shipped', 'silent'])
def test_clients_that_share_connections_take_each_message_once(
    database: str,
    pgbouncer: Start,
    opened: Open,
    mode: str,
    settings: dict[str, str],
) -> None:
    bouncer = pgbouncer(mode, **settings)
    uri = bouncer.url(database)
    migrations.upgrade(parse(uri), 'head')
    stores = [opened(uri) for _ in range(3)]
    queues = [Probe(store, Hand()) for store in stores]
    # Statements of another kind and in another order in each: what one
    # prepares is not what another means by the same name.
    for number in range(8):
        queues[0].post(number)
        queues[1].stats()
        queues[2].everything()
    for number in range(8):
        queues[1].post(number)
        assert queues[0].take(limit=1)
        assert len(queues[1].pop(1)) == 1
        assert queues[2].claim() is None
    loads = [Load(store) for store in stores]
    for load in loads[1:]:
        load.qid = loads[0].qid
    with contextlib.ExitStack() as stack:
        for load in loads:
            stack.enter_context(load)
        for load in loads:
            load.wait_for(60)
    rest = bodies(Probe(stores[0], Hand(), loads[0].qid).pop(100_000))
    taken = [body for load in loads for body in load.taken] + rest
    posted = [number for load in loads for number in load.posted]
    assert sorted(taken) == sorted(posted)
    assert not any(load.refusals for load in loads)
    if mode == 'transaction':
        assert _prepared(uri) == 0


@pytest.mark.parametrize('pooler', ['auto', 'transaction'])
def test_claims_of_several_clients_do_not_overlap(
    database: str, pgbouncer: Start, opened: Open, pooler: str
) -> None:
    uri = pgbouncer('transaction', **SILENT).url(database)
    migrations.upgrade(parse(uri), 'head')
    stores = [opened(uri, sql_pooler=pooler) for _ in range(4)]
    queue = Probe(stores[0], Hand())
    queue.post(*range(300))

    def take_all(store: MessageStore) -> list[int]:
        taken: list[int] = []
        own = Probe(store, Hand(), queue.qid)
        while claim := own.claim(5):
            taken += bodies(claim.messages)
            own.stats()
        return taken

    taken = [body for some in each(take_all, stores * 2) for body in some]
    # Nothing is left behind as if there was nothing.
    assert sorted(taken) == [*range(300)]


@MODES
def test_a_load_goes_through_a_killed_pgbouncer(
    database: str, pgbouncer: Start, opened: Open, mode: str
) -> None:
    bouncer = pgbouncer(mode)
    uri = bouncer.url(database)
    migrations.upgrade(parse(uri), 'head')
    load = Load(opened(uri))
    with load:
        load.wait_for(50)
        bouncer.kill()
        load.wait_for_refusal()
        bouncer.start()
        load.wait_for(50)
    load.check()


def test_a_load_goes_through_a_killed_server_behind_it(
    pgbouncer: Start, opened: Open
) -> None:
    server = sql.PostgreSQL(durable=True)
    bouncer = PgBouncer(server.url, pool_mode='transaction')
    try:
        uri = bouncer.url(server.database())
        migrations.upgrade(parse(uri), 'head')
        load = Load(opened(uri))
        with load:
            load.wait_for(50)
            server.kill()
            load.wait_for_refusal()
            server.start()
            load.wait_for(50)
        load.check()
    finally:
        bouncer.stop()
        server.stop()


def test_a_pooler_is_noticed_at_the_start(
    database: str,
    pgbouncer: Start,
    opened: Open,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, 'zaqar')
    migrations.upgrade(parse(database), 'head')
    opened(database)
    assert 'pooler' not in caplog.text
    for settings in ({}, SILENT):
        caplog.clear()
        opened(pgbouncer('transaction', **settings).url(database))
        assert caplog.text.count('A pooler stands before PostgreSQL') == 1


def test_a_transaction_is_bounded_and_of_the_right_level(
    database: str, pgbouncer: Start
) -> None:
    migrations.upgrade(parse(database), 'head')
    server = driver_declaration.open_database(
        pgbouncer('transaction').url(database), {}
    )

    names = ('transaction_isolation', 'statement_timeout', 'lock_timeout')

    def show(session: Any) -> list[str]:
        return [session.one(f'SHOW {name}', {})[0] for name in names]

    with contextlib.closing(server):
        assert server.write(show) == ['read committed', '4s', '3s']
        # And nothing of it is left on the connection.
        assert server.read(show) == ['read committed', '0', '0']


@pytest.mark.parametrize(
    ('options', 'query', 'reason'),
    [
        # As shipped it refuses what "none" sends it.
        ({'sql_pooler': 'none'}, '', 'unsupported startup parameter'),
        ({}, '?options=-c%20geqo=off', 'unsupported startup parameter'),
        (
            {'sql_pooler': 'transaction'},
            '?options=-c%20geqo=off',
            '"options" in the URI does not work with sql_pooler',
        ),
        (
            {'sql_pooler': 'transaction'},
            '?prepare_threshold=5',
            '"prepare_threshold" in the URI does not work with sql_pooler',
        ),
    ],
)
def test_what_needs_a_session_is_refused_at_the_start(
    database: str,
    pgbouncer: Start,
    options: dict[str, str],
    query: str,
    reason: str,
) -> None:
    migrations.upgrade(parse(database), 'head')
    uri = pgbouncer('transaction').url(database) + query
    with pytest.raises(ConfigurationError, match=reason):
        DRIVER.open_messages(uri, options)


def test_a_level_that_cannot_be_set_is_refused_at_the_start(
    database: str, pgbouncer: Start
) -> None:
    migrations.upgrade(parse(database), 'head')
    engine = sa.create_engine(database, isolation_level='AUTOCOMMIT')
    name = sa.make_url(database).database
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f'ALTER DATABASE {name} '
            "SET default_transaction_isolation = 'serializable'"
        )
    engine.dispose()
    uri = pgbouncer('transaction').url(database)
    with pytest.raises(ConfigurationError, match='ALTER ROLE'):
        DRIVER.open_messages(uri, {})
    # Without a pooler it is set for each connection.
    DRIVER.open_messages(database, {}).close()


def test_what_pgbouncer_does_not_know_is_refused_at_the_start(
    pgbouncer: Start, database: str
) -> None:
    bouncer = pgbouncer('transaction')
    for changed in (
        sa.make_url(bouncer.url(database)).set(database='zaqar_none'),
        sa.make_url(bouncer.url(database)).set(username='nobody_known'),
    ):
        with pytest.raises(ConfigurationError):
            DRIVER.open_messages(changed.render_as_string(False), {})


@pytest.mark.parametrize('options', [{}, {'sql_pooler': 'transaction'}])
def test_posts_are_not_announced_through_a_pooler_and_that_is_logged_once(
    database: str,
    pgbouncer: Start,
    opened: Open,
    options: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    migrations.upgrade(parse(database), 'head')
    store = opened(pgbouncer('transaction').url(database), **options)
    postgresql_watch.warn_of_pooler.cache_clear()
    for _ in range(2):
        assert store.watch(lambda _, __: None) is None
    assert caplog.text.count('are not announced') == 1


def test_posts_are_announced_through_a_pooler_that_assigns_sessions(
    database: str, pgbouncer: Start, opened: Open
) -> None:
    migrations.upgrade(parse(database), 'head')
    uri = pgbouncer('session', **SILENT).url(database)
    store = opened(uri, sql_pooler='none')
    queue = Probe(store, Hand())
    posted = threading.Event()
    is_added = threading.Event()

    def changed(_: str | None, count: int) -> None:
        (posted if count else is_added).set()

    watch = store.watch(changed)
    assert watch is not None
    watch.add(queue.qid)
    assert is_added.wait(60)
    queue.post('a')
    assert posted.wait(60)
    watch.close()


def test_several_may_upgrade_at_once(database: str, pgbouncer: Start) -> None:
    url = parse(pgbouncer('transaction', **SILENT).url(database))
    text = url.render_as_string(False)
    # In processes: alembic is not made for threads.
    program = (
        'import sys; from zaqar.storage.sqlalchemy import migrations; '
        'from zaqar.storage.sqlalchemy.driver_declaration import parse; '
        'migrations.upgrade(parse(sys.argv[1]), "head")'
    )
    each(
        lambda _: subprocess.run(
            [sys.executable, '-c', program, text], check=True
        ),
        range(3),
    )
    assert migrations.current(url) == database_schema_revision.HEAD
    assert _prepared(text) == 0


def test_a_sweeper_goes_through_it(
    database: str, pgbouncer: Start, opened: Open
) -> None:
    uri = pgbouncer('transaction', **SILENT).url(database)
    migrations.upgrade(parse(uri), 'head')
    stores = [opened(uri) for _ in range(2)]
    queue = Probe(stores[0], Hand())
    queue.post(*range(50), ttl=60)
    queue.hand.move(61)

    def sweep(store: MessageStore) -> int:
        return sum(
            store.sweep(now=queue.hand.now, batch=10) for _ in range(20)
        )

    # The lock ends with the transaction, else one would hold it for ever.
    assert sum(each(sweep, stores)) >= 50
    assert queue.store.sweep(now=queue.hand.now, batch=10) == 0


# Values in the URI.


@pytest.mark.parametrize(
    'query',
    [
        'prepare_threshold=0',
        'prepare_threshold=none',
        'connect_timeout=3&keepalives=1&tcp_user_timeout=3000',
    ],
)
def test_values_in_a_uri_are_of_their_types(
    database: str, opened: Open, query: str
) -> None:
    migrations.upgrade(parse(f'{database}?{query}'), 'head')
    queue = Probe(opened(f'{database}?{query}'), Hand())
    for number in range(12):
        queue.post(number)
    assert bodies(queue.pop(100)) == [*range(12)]


def test_values_in_a_uri_of_mariadb_are_of_their_types(
    mariadb: sql.SqlServer, opened: Open
) -> None:
    uri = mariadb.database()
    # As a text "false" would be as true as any.
    query = 'ssl_verify_identity=false&ssl_disabled=true&read_timeout=3'
    rest, values = dbapi_url_options_and_timeouts.typed(
        parse(f'{uri}?{query}')
    )
    assert rest == parse(uri)
    assert values == {
        'ssl_verify_identity': False,
        'ssl_disabled': True,
        'read_timeout': 3,
    }
    try:
        migrations.upgrade(parse(f'{uri}?{query}'), 'head')
        queue = Probe(opened(f'{uri}?{query}'), Hand())
        queue.post('a')
        assert queue.everything() == ['a']
    finally:
        mariadb.drop(uri)


@pytest.mark.parametrize(
    ('scheme', 'query'),
    [
        ('postgresql', 'prepare_threshold=often'),
        ('postgresql', 'connect_timeout=soon'),
        ('mysql', 'read_timeout=soon'),
        ('mysql', 'ssl_disabled=perhaps'),
    ],
)
def test_a_value_of_another_type_is_told_at_the_start(
    scheme: str, query: str
) -> None:
    name, _, value = query.partition('=')
    uri = f'{scheme}://zaqar@127.0.0.1:1/zaqar?{query}'
    for pooler in Pooler:
        with pytest.raises(ConfigurationError, match=f'"{name}".*"{value}"'):
            DRIVER.open_messages(uri, {'sql_pooler': pooler})
    with pytest.raises(ConfigurationError, match=f'"{name}".*"{value}"'):
        migrations.current(parse(uri))
