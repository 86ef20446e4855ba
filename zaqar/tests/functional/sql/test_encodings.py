# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL database without an encoding."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from zaqar.storage.sqlalchemy import database_schema_revision, migrations
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER, parse
from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.servers.sql import SqlServer


@pytest.fixture
def uri(postgresql: SqlServer) -> Iterator[str]:
    """A database in SQL_ASCII, as initdb makes them in the locale C."""
    name = f'zaqar_{secrets.token_hex(6)}'
    engine = sa.create_engine(
        postgresql.url, isolation_level='AUTOCOMMIT', poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' "
            "TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    uri = postgresql.url.set(database=name).render_as_string(
        hide_password=False
    )
    yield uri
    postgresql.drop(uri)


def test_a_database_in_sql_ascii_holds_any_text(uri: str) -> None:
    migrations.upgrade(parse(uri), 'head')
    assert migrations.current(parse(uri)) == database_schema_revision.HEAD
    messages, management = (
        DRIVER.open_messages(uri, {}),
        DRIVER.open_management(uri, {}),
    )
    queue = Probe(messages, Hand())
    queue.post('é', '漢')
    assert queue.everything() == ['é', '漢']
    assert management.create('kind', 'Straße', 'ключ', {'a': 'ü'})
    (record,) = management.list('kind', 'Straße', after=None, limit=9)
    assert (record.name, record.data) == ('ключ', {'a': 'ü'})
    messages.close()
    management.close()
