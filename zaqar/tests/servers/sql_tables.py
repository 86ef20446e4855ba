# SPDX-License-Identifier: Apache-2.0
"""The tables of the SQL stores, made in an empty database at once."""

import sqlalchemy as sa

from zaqar.storage.sqlalchemy import tables
from zaqar.storage.sqlalchemy.database_schema_revision import HEAD, VERSION


def create(connection: sa.Connection) -> None:
    """Make the tables in an empty database."""
    tables.METADATA.create_all(connection)
    VERSION.create(connection)
    connection.execute(sa.insert(VERSION).values(version_num=HEAD))
