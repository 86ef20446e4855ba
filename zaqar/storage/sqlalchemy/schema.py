# SPDX-License-Identifier: Apache-2.0
"""Which revision of the tables a database has."""

from __future__ import annotations

import sqlalchemy as sa

from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy import tables

#: The revision that this code works on; see the folder ``migrations``.
HEAD = '009'

_VERSION = sa.Table(
    'alembic_version',
    sa.MetaData(),
    sa.Column('version_num', sa.String(32), primary_key=True),
)


def current(connection: sa.Connection) -> str | None:
    """Return the revision of a database, None for one without tables."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    found: str | None = connection.scalar(sa.select(_VERSION.c.version_num))
    return found


def check(connection: sa.Connection) -> None:
    """Complain about tables of another revision.

    :raises ConfigurationError: there are none, or they are older or newer
    """
    found = current(connection)
    if found != HEAD:
        raise ConfigurationError(
            f'the tables are at revision {found or "none"}, not {HEAD}; run '
            '"zaqar-sql-db-manage upgrade head"'
        )


def create_sqlite(path: str) -> None:
    """Make the tables in a new SQLite file; check those of an old one.

    :raises ConfigurationError: see :func:`check`
    """
    engine = sa.create_engine(
        sa.URL.create('sqlite', database=path),
        poolclass=sa.NullPool,
        isolation_level='AUTOCOMMIT',
        connect_args={'timeout': 30},
    )
    with engine.connect() as connection:
        if current(connection) is None:
            # Two processes may start at once.
            connection.exec_driver_sql('BEGIN IMMEDIATE')
            if current(connection) is None:
                tables.METADATA.create_all(connection)
                _VERSION.create(connection)
                connection.execute(
                    sa.insert(_VERSION).values(version_num=HEAD)
                )
            connection.exec_driver_sql('COMMIT')
        check(connection)
    engine.dispose()
