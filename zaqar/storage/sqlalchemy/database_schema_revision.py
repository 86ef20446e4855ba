# SPDX-License-Identifier: Apache-2.0
"""The revision of the tables in a database."""

import sqlalchemy as sa

from zaqar.storage.sqlalchemy import needed_schema_revision

HEAD = needed_schema_revision.HEAD

#: The table of alembic that has the revision.
VERSION = sa.Table(
    'alembic_version',
    sa.MetaData(),
    sa.Column('version_num', sa.String(32), primary_key=True),
)


def current(connection: sa.Connection) -> str | None:
    """Return the revision of a database, None for one without tables."""
    if not sa.inspect(connection).has_table(VERSION.name):
        return None
    revision: str | None = connection.scalar(sa.select(VERSION.c.version_num))
    return revision


def check(connection: sa.Connection) -> None:
    """Refuse older tables; see :func:`.needed_schema_revision.check`."""
    needed_schema_revision.check(current(connection))


def begin(connection: sa.Connection, revision: str) -> None:
    """Note a revision in a database that has none."""
    VERSION.create(connection, checkfirst=True)
    is_empty = ~sa.exists(sa.select(VERSION.c.version_num))
    row = sa.select(sa.literal(revision)).where(is_empty)
    connection.execute(
        sa.insert(VERSION).from_select([VERSION.c.version_num], row)
    )
