# SPDX-License-Identifier: Apache-2.0
"""Requests that wait while servers are killed, and their stores go away."""

from __future__ import annotations

import os
import pathlib
import re
import signal
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from benchmarks import target
from zaqar.tests.functional.waiting_consumers import (
    Client,
    Consumers,
    FrameClient,
    HttpClient,
)
from zaqar.tests.servers import sql
from zaqar.tests.servers.redis import Redis, Watched
from zaqar.tests.servers.zaqar import Zaqar, is_alive

Serve = Callable[..., Zaqar]

#: What is acknowledged is at the replica, too.
_REPLICATED = """
[drivers:message_store:redis]
wait_replicas = 1
[drivers:management_store:redis]
wait_replicas = 1
"""

#: Consumers that wait at a time.
COUNT = 16

API = 'API worker'
SOCKETS = 'WebSocket server'


@pytest.fixture
def serve(tmp_path: pathlib.Path) -> Iterator[Serve]:
    """Start the service on a database, with two API workers."""
    servers: list[Zaqar] = []

    def start(url: str, more: str = '') -> Zaqar:
        rest = target.settings(url, transport='') + more
        server = Zaqar(tmp_path, rest=rest, workers=2)
        target.create_tables(server, url)
        servers.append(server.start())
        return server

    yield start
    for server in servers:
        server.stop()


def at_api(server: Zaqar, project: str) -> Client:
    return HttpClient(server, project, server.url)


def at_sockets(server: Zaqar, project: str) -> Client:
    return HttpClient(
        server, project, server.socket_url.replace('ws:', 'http:')
    )


def processes(server: Zaqar, name: str) -> list[int]:
    """Return those of a name that run."""
    log = server.log.read_text()
    pids = re.findall(rf'Started {name}.* as process (\d+)', log)
    return [pid for pid in map(int, pids) if is_alive(pid)]


def kill_again_and_again(
    server: Zaqar, consumers: Consumers, name: str, count: int
) -> None:
    """Kill each process of a name in turn, amid posts."""
    for number in range(2 * count):
        consumers.post(10)
        os.kill(processes(server, name)[number % count], signal.SIGKILL)
        consumers.post(10)
        server.process.wait_until(
            lambda: len(processes(server, name)) == count
        )
        consumers.post_acknowledged()


@pytest.mark.parametrize(
    ('store', 'make', 'name', 'count'),
    [
        ('sqlite', at_api, API, 2),
        ('postgresql', at_api, API, 2),
        ('redis', at_api, API, 2),
        ('postgresql', at_sockets, SOCKETS, 1),
        ('redis', at_sockets, SOCKETS, 1),
        ('sqlite', FrameClient, SOCKETS, 1),
    ],
)
def test_no_message_is_lost_with_a_server(
    request: pytest.FixtureRequest,
    tmp_path: pathlib.Path,
    serve: Serve,
    store: str,
    make: Callable[[Zaqar, str], Client],
    name: str,
    count: int,
) -> None:
    server = serve(_database(request, tmp_path, store))
    with Consumers(server, make, COUNT) as consumers:
        consumers.post_acknowledged()
        consumers.wait_until_received()
        kill_again_and_again(server, consumers, name, count)
    assert consumers.statuses[0]
    consumers.check()


def _database(
    request: pytest.FixtureRequest, folder: pathlib.Path, store: str
) -> str:
    if store == 'sqlite':
        return f'sqlite:///{folder}/messages.sqlite'
    if store == 'redis':
        redis = Redis()
        request.addfinalizer(redis.stop)
        return redis.url
    postgresql: sql.SqlServer = request.getfixturevalue('postgresql')
    return postgresql.database()


def cut_connections(server: sql.SqlServer) -> None:
    """End all connections to a PostgreSQL server."""
    engine = sa.create_engine(
        server.url, isolation_level='AUTOCOMMIT', poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity '
            "WHERE backend_type = 'client backend' "
            'AND pid <> pg_backend_pid()'
        )


@pytest.mark.parametrize('make', [at_api, at_sockets], ids=['api', 'sockets'])
def test_waits_outlive_a_restart_of_postgresql(
    serve: Serve, make: Callable[[Zaqar, str], Client]
) -> None:
    database = sql.PostgreSQL(durable=True)
    try:
        server = serve(database.database())
        with Consumers(server, make, COUNT) as consumers:
            consumers.post(10)
            # The one that listens among them.
            cut_connections(database)
            consumers.post_acknowledged()
            consumers.post(10)
            for end in (database.halt, database.kill):
                consumers.post(10)
                end()
                consumers.post(1)
                database.start()
                consumers.post_acknowledged()
                consumers.post(10)
        consumers.check()
    finally:
        database.stop()


@pytest.mark.parametrize('make', [at_api, at_sockets], ids=['api', 'sockets'])
def test_waits_outlive_a_failover_of_redis(
    serve: Serve, make: Callable[[Zaqar, str], Client]
) -> None:
    watched = Watched()
    try:
        server = serve(watched.url, _REPLICATED)
        with Consumers(server, make, COUNT) as consumers:
            consumers.post_acknowledged()
            consumers.post(10)
            watched.master.kill()
            consumers.post(1)
            # A Sentinel that does not know yet would name the former master,
            # which has forgotten everything.
            watched.replica.process.wait_until(
                lambda: watched.is_master(watched.replica)
            )
            # It becomes the replica.
            watched.master.start()
            consumers.post_acknowledged()
            consumers.post(10)
        consumers.check()
    finally:
        watched.stop()
