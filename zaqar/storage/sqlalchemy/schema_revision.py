# SPDX-License-Identifier: Apache-2.0
"""The revision of the tables, which is checked at start."""

import functools
import logging
from typing import TypeGuard

import sqlalchemy as sa

from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy import tables

LOG = logging.getLogger(__name__)

#: The revision that this code works on; see the folder ``migrations``.
HEAD = '016'

_VERSION = sa.Table(
    'alembic_version',
    sa.MetaData(),
    sa.Column('version_num', sa.String(32), primary_key=True),
)


def current(connection: sa.Connection) -> str | None:
    """Return the revision of a database, None for one without tables."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    revision: str | None = connection.scalar(sa.select(_VERSION.c.version_num))
    return revision


def check(connection: sa.Connection) -> None:
    """Refuse tables that are older than this code.

    Newer ones are fine, since a release adds to the tables and the next one
    removes: a server of the previous release may restart during an upgrade.
    That is logged, once in a process.
    """
    revision = current(connection)
    if revision == HEAD:
        return
    if not _is_newer(revision):
        raise ConfigurationError(
            f'the tables are at revision {revision or "none"}, not {HEAD}; '
            'run "zaqar-sql-db-manage upgrade head"'
        )
    _log_newer(revision)


def _is_newer(revision: str | None) -> TypeGuard[str]:
    return (
        revision is not None
        and revision.isdecimal()
        and int(revision) > int(HEAD)
    )


@functools.cache
def _log_newer(revision: str) -> None:
    """Log it once; both stores may be in one database."""
    LOG.warning(
        'The tables are at revision %s, newer than %s, which this release '
        'works on. That is fine while servers are being upgraded; then run '
        'the newer release here as well.',
        revision,
        HEAD,
    )


def begin(connection: sa.Connection, revision: str) -> None:
    """Note a revision in a database that has none."""
    _VERSION.create(connection, checkfirst=True)
    is_empty = ~sa.exists(sa.select(_VERSION.c.version_num))
    row = sa.select(sa.literal(revision)).where(is_empty)
    connection.execute(
        sa.insert(_VERSION).from_select([_VERSION.c.version_num], row)
    )


def create(connection: sa.Connection) -> None:
    """Make the tables in an empty database."""
    tables.METADATA.create_all(connection)
    _VERSION.create(connection)
    connection.execute(sa.insert(_VERSION).values(version_num=HEAD))
