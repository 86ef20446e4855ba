# SPDX-License-Identifier: Apache-2.0
"""Results that are read faster are those of PyMySQL."""

from __future__ import annotations

import contextlib
from typing import Any

import pymysql
import pytest

from zaqar.storage.sqlalchemy.fast_pymysql_results import with_fast_results
from zaqar.tests.servers.sql import SqlServer

#: Around the lengths that are written in one, two, three and eight bytes.
LENGTHS = (0, 1, 250, 251, 65_535, 65_536, 2**24)

STATEMENTS = (
    *(f"SELECT REPEAT('é', {n} DIV 2), 1, NULL" for n in LENGTHS),
    *(
        f"SELECT CAST(REPEAT('x', {n}) AS BINARY) UNION SELECT NULL"
        for n in LENGTHS
    ),
    "SELECT 1 AS a, -1 AS b, 2.50 AS c, 1e9 AS d, '' AS e, b'101' AS f",
    "SELECT DATE '2026-11-30', TIME '10:11:12', TIMESTAMP '2026-11-30 1:2:3'",
    'SELECT seq, NULL FROM (SELECT 1 AS seq UNION ALL SELECT 2) x',
    # Columns of the same names and other types.
    "SELECT 'a' AS seq, 'b'",
    "SELECT X'ff' AS seq, 2",
    'SELECT 1 AS seq WHERE FALSE',
    'SET @a = 1',
    'BEGIN NOT ATOMIC SELECT 1 AS a; SELECT 2 AS a, 3 AS b; END',
)


@pytest.mark.parametrize('encoding', ['utf8mb4', 'latin1'])
def test_results_are_the_same(mariadb: SqlServer, encoding: str) -> None:
    plain, fast = (
        kind(
            host=mariadb.url.host,
            port=mariadb.url.port,
            user=mariadb.url.username,
            password=mariadb.url.password or '',
            charset=encoding,
        )
        for kind in (
            pymysql.connections.Connection,
            with_fast_results(pymysql.connections.Connection),
        )
    )
    assert type(fast) is not type(plain)
    with contextlib.closing(plain), contextlib.closing(fast):
        # Those of the second time are known.
        for sql in STATEMENTS * 2:
            assert results(fast, sql) == results(plain, sql), sql
        with pytest.raises(pymysql.OperationalError):
            results(fast, 'SELECT nothing')
        assert results(fast, 'SELECT 1')[0][1] == ((1,),)


def results(connection: Any, sql: str) -> list[Any]:
    """Return all results of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        parts = [(cursor.description, cursor.fetchall(), cursor.rowcount)]
        while cursor.nextset():
            parts.append(
                (cursor.description, cursor.fetchall(), cursor.rowcount)
            )
        return parts
