# SPDX-License-Identifier: Apache-2.0
"""Which revision of the tables a database has."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import stat
from typing import TypeGuard

import sqlalchemy as sa

from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy import tables

LOG = logging.getLogger(__name__)

#: The revision that this code works on; see the folder ``migrations``.
HEAD = '010'

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
    """Complain about tables that are older than this code.

    Newer ones will do, since releases add to the tables first and take away
    a release later: a server of the release before may start again while the
    others are replaced. That is logged, once in a process.

    :raises ConfigurationError: there are none, they are older, or their
        revision is none of ours
    """
    found = current(connection)
    if found == HEAD:
        return
    if not _is_newer(found):
        raise ConfigurationError(
            f'the tables are at revision {found or "none"}, not {HEAD}; run '
            '"zaqar-sql-db-manage upgrade head"'
        )
    _tell_newer(found)


def _is_newer(revision: str | None) -> TypeGuard[str]:
    return (
        revision is not None
        and revision.isdecimal()
        and int(revision) > int(HEAD)
    )


@functools.cache
def _tell_newer(revision: str) -> None:
    """Log it; both planes may be in one database."""
    LOG.warning(
        'The tables are at revision %s, newer than %s, which this release '
        'works on. That is fine while servers are being upgraded; then run '
        'the newer release here as well.',
        revision,
        HEAD,
    )


def make_private(path: str) -> None:
    """Make an SQLite file that its owner alone can read.

    SQLite gives the files beside it the mode of the database. One that exists
    is closed to others; it may be shared with a group on purpose.

    :raises OSError: it cannot be made
    """
    # Never one that exists: closing it would end the locks that SQLite holds
    # on it in this process, and another process could remove its WAL.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, flags, 0o600))
    for suffix in ('', '-wal', '-shm'):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            mode = os.stat(path + suffix).st_mode
            if mode & stat.S_IRWXO:
                os.chmod(path + suffix, mode & 0o770)


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
