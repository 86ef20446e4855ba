# SPDX-License-Identifier: Apache-2.0
"""Creation of an SQLite file: its mode and its tables."""

import contextlib
import os
import stat

import sqlalchemy as sa

from zaqar.storage.sqlalchemy import schema_revision


def make_private(path: str) -> None:
    """Create an SQLite file that only its owner can read.

    SQLite gives the files beside it the same mode. An existing file loses the
    permissions of others; those of the group may be intended.

    :raises OSError: it cannot be created
    """
    # Never open an existing one: closing it would drop the locks that SQLite
    # holds in this process, and another process could remove its WAL.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, flags, 0o600))
    for suffix in ('', '-wal', '-shm'):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            mode = os.stat(path + suffix).st_mode
            if mode & stat.S_IRWXO:
                os.chmod(path + suffix, mode & 0o770)


def create_sqlite(path: str) -> None:
    """Create the tables in a new SQLite file; check those of an old one."""
    engine = sa.create_engine(
        sa.URL.create('sqlite', database=path),
        poolclass=sa.NullPool,
        isolation_level='AUTOCOMMIT',
        connect_args={'timeout': 30},
    )
    with engine.connect() as connection:
        if schema_revision.current(connection) is None:
            # Two processes may start at once.
            connection.exec_driver_sql('BEGIN IMMEDIATE')
            if schema_revision.current(connection) is None:
                schema_revision.create(connection)
            connection.exec_driver_sql('COMMIT')
        schema_revision.check(connection)
    engine.dispose()
