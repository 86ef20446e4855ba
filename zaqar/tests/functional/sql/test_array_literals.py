# SPDX-License-Identifier: Apache-2.0
"""Arrays that are sent as text arrive as they are."""

from __future__ import annotations

import contextlib

from zaqar.storage.sqlalchemy import migrations
from zaqar.storage.sqlalchemy.driver_declaration import open_database, parse
from zaqar.storage.sqlalchemy.postgresql_array_literals import array
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.tests.servers.sql import SqlServer

TEXTS = ['a', '', None, 'NULL', 'null', ' b ', 'c"d', "e'f", 'g\\h', '\\"']
TEXTS += ['{i,j}', ',', 'é漢😀', 'k\nl\t', '\\x00', '%s :name']


def test_values_arrive_as_they_are(postgresql: SqlServer) -> None:
    uri = postgresql.database()
    numbers = [0, -1, None, 2**63 - 1, -(2**63)]
    migrations.upgrade(parse(uri), 'head')
    with contextlib.closing(open_database(uri, {})) as database:
        row = database.read(
            SqlSession.one,
            'SELECT :texts::text[], :numbers::bigint[], :none::text[]',
            {
                'texts': array(TEXTS),
                'numbers': array(numbers),
                'none': array([]),
            },
        )
    postgresql.drop(uri)
    assert row == (TEXTS, numbers, [])
