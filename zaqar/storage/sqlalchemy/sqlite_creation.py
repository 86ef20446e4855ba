# SPDX-License-Identifier: Apache-2.0
"""Creation of an SQLite file, without SQLAlchemy: its mode, its tables."""

import contextlib
import os
import sqlite3
import stat

from zaqar.storage.sqlalchemy import needed_schema_revision, sqlite_schema


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
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    with contextlib.closing(connection):
        if _revision(connection) is None:
            # Two processes may start at once.
            connection.execute('BEGIN IMMEDIATE')
            if _revision(connection) is None:
                for statement in sqlite_schema.STATEMENTS:
                    connection.execute(statement)
                connection.execute(
                    'INSERT INTO alembic_version VALUES (?)',
                    (needed_schema_revision.HEAD,),
                )
            connection.execute('COMMIT')
        needed_schema_revision.check(_revision(connection))


def _revision(connection: sqlite3.Connection) -> str | None:
    """Return the revision of a database, None for one without tables."""
    table = "FROM sqlite_schema WHERE name = 'alembic_version'"
    if not connection.execute(f'SELECT 1 {table}').fetchone():
        return None
    sql = 'SELECT version_num FROM alembic_version'
    row = connection.execute(sql).fetchone()
    return row[0] if row else None
