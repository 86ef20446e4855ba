# SPDX-License-Identifier: Apache-2.0
"""Deadlines of connections, with drivers that talk to nobody."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pymysql
import pytest
import sqlalchemy as sa

from zaqar import request_deadline
from zaqar.storage.sqlalchemy import (
    queue_count_subtraction,
    server_connections_and_poolers,
)
from zaqar.storage.sqlalchemy.connection_deadlines import (
    psycopg_connection,
    pymysql_connection,
)
from zaqar.storage.sqlalchemy.pooler_and_connection_options import Pooler
from zaqar.storage.sqlalchemy.server_connections_and_poolers import Connector
from zaqar.tests.contract.crowd import ends_within


class MysqlDriver:
    """What we use of PyMySQL's connection."""

    _read_timeout: float

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.seen: list[float] = []

    def query(self, sql: str, unbuffered: bool = False) -> None:
        self.seen.append(self._read_timeout)

    def next_result(self, unbuffered: bool = False) -> None:
        self.seen.append(self._read_timeout)


class PostgresqlDriver:
    """What we use of psycopg's connection."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @classmethod
    def connect(cls, **options: Any) -> PostgresqlDriver:
        return cls(options)

    def wait(self, steps: Any) -> Any:
        return list(steps)


def _mysql() -> Any:
    connections = SimpleNamespace(Connection=MysqlDriver)
    return SimpleNamespace(
        loaded_dbapi=SimpleNamespace(connections=connections)
    )


def _postgresql() -> Any:
    module = SimpleNamespace(
        Connection=PostgresqlDriver, OperationalError=OSError
    )
    return SimpleNamespace(loaded_dbapi=module)


def test_a_late_request_shortens_only_its_own_connection() -> None:
    options = {'connect_timeout': 2, 'read_timeout': 2, 'write_timeout': 2}
    with request_deadline.within(0.5):
        made = server_connections_and_poolers.connect_mysql(
            _mysql(), None, [], options
        )
    assert made.options['read_timeout'] <= 0.5
    assert set(options.values()) == {2}


def test_a_pooled_connection_must_be_ready_in_time() -> None:
    made = Connector(Pooler.TRANSACTION, sa.make_url('postgresql://x/y'))
    options: dict[str, Any] = {}
    connection = made.connect(_postgresql(), None, [], options)
    assert connection.deadline < time.monotonic() + 5
    assert connection.options['autocommit'] is True
    assert not options


def test_all_hosts_together_have_the_time_of_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        server_connections_and_poolers, 'LEAST_CONNECT_TIME', 0
    )
    with socket.create_server(('127.0.0.1', 0)) as silent:
        host = f'host=127.0.0.1:{silent.getsockname()[1]}'
        url = sa.make_url(f'postgresql+psycopg://x@/y?{host}&{host}')
        dialect = url.get_dialect()()
        dialect.dbapi = psycopg
        args, options = dialect.create_connect_args(url)
        options['connect_timeout'] = 2
        with (
            ends_within(2),
            request_deadline.within(0.3),
            pytest.raises(psycopg.Error),
        ):
            Connector(Pooler.NONE, url).connect(dialect, None, args, options)


def test_a_pooler_is_looked_for_within_the_time_of_the_request() -> None:
    deadlines = []

    class Direct(PostgresqlDriver):
        info = SimpleNamespace(backend_pid=7)

        def execute(self, _sql: str) -> Any:
            deadlines.append(self.deadline)  # type: ignore[attr-defined]
            return SimpleNamespace(fetchone=lambda: (7,))

    made = Connector(Pooler.AUTO, sa.make_url('postgresql://x/y'))
    dialect = _postgresql()
    dialect.loaded_dbapi.Connection = Direct
    with request_deadline.within(60):
        made.connect(dialect, None, [], {})
        (deadline,) = deadlines
        assert deadline < time.monotonic() + 60.1


def test_hosts_are_tried_by_how_they_have_answered() -> None:
    class SecondOnly(PostgresqlDriver):
        info = SimpleNamespace(host='b', port=5433)

    url = sa.make_url('postgresql://x/y?target_session_attrs=read-write')
    made = Connector(Pooler.NONE, url)
    dialect = _postgresql()
    dialect.loaded_dbapi.Connection = SecondOnly
    options = {'host': 'a,b,c', 'port': '5432,5433,5434'}

    def order(connection: Any) -> tuple[str, str]:
        return connection.options['host'], connection.options['port']

    first, second = (
        made.connect(dialect, None, [], options) for _ in range(2)
    )
    assert order(first) == ('a,b,c', '5432,5433,5434')
    assert order(second) == ('b,a,c', '5433,5432,5434')
    made.note_loss(second)
    third = made.connect(dialect, None, [], options)
    assert order(third) == ('a,c,b', '5432,5434,5433')
    # It has answered after all.
    assert order(made.connect(dialect, None, [], options)) == order(second)


def test_who_waits_for_a_server_that_others_have_lost_learns_of_it() -> None:
    class Silent(PostgresqlDriver):
        info = SimpleNamespace(host='a', port=5432)

        def wait(self, steps: Any) -> str:
            next(steps)
            for _ in range(3):
                steps.send(None)
            return 'an answer'

        def close(self) -> None:
            pass

    def silence() -> Iterator[None]:
        while True:
            yield

    url = sa.make_url('postgresql://x/y?target_session_attrs=read-write')
    made = Connector(Pooler.NONE, url)
    dialect = _postgresql()
    dialect.loaded_dbapi.Connection = Silent
    first, second = (made.connect(dialect, None, [], {}) for _ in range(2))
    made.note_loss(first)
    # Nobody else may be there.
    assert second.wait(silence())
    Silent.info = SimpleNamespace(host='b', port=5432)
    third = made.connect(dialect, None, [], {})
    with pytest.raises(OSError, match='no answer'):
        second.wait(silence())
    assert third.wait(silence())


def test_each_answer_to_a_packet_has_only_what_is_left() -> None:
    connection = pymysql_connection(MysqlDriver)()
    connection.deadline = time.monotonic() + 300
    connection.query('SELECT 1; SELECT 2')
    connection.deadline -= 200
    connection.next_result()
    first, second = connection.seen
    assert second <= first - 200 + 1 / 8
    assert connection.allowed == second


def test_connections_share_certificates_that_nobody_named() -> None:
    connection_class = pymysql_connection(pymysql.connections.Connection)

    def context(**options: Any) -> object:
        connection = connection_class(defer_connect=True, **options)
        # PyMySQL before 1.2 has none where no TLS is asked for.
        return getattr(connection, 'ctx', None)

    assert context() is context()
    # Those of files may have been renewed.
    verified = context(ssl_verify_cert=True)
    assert verified is not context(ssl_verify_cert=True)


def test_a_wait_for_postgresql_knows_its_time() -> None:
    made = psycopg_connection(_postgresql().loaded_dbapi)
    connection = made({})
    assert connection.allowed == math.inf
    connection.deadline = time.monotonic() + 50
    connection.wait(iter(()))
    assert 0 < connection.allowed <= 50


def test_counts_of_several_queues_are_locked_in_one_order() -> None:
    changed = []
    session: Any = SimpleNamespace(
        all=lambda _sql, _params: [('c', 1), ('a', 3), ('b', 2)],
        later=lambda _sql, params: changed.append(params),
    )
    queue_count_subtraction.subtract_from_several(
        session, {1: 10, 2: 20, 3: 30, 4: 40}
    )
    assert changed == [
        {'qid': 'a', 'id': 3, 'count': 30},
        {'qid': 'b', 'id': 2, 'count': 20},
        {'qid': 'c', 'id': 1, 'count': 10},
    ]
