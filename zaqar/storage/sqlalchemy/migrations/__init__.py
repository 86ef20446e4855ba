# SPDX-License-Identifier: Apache-2.0
"""The way from one revision of the tables to the next, walked by alembic.

See README.rst in this folder for the rules a new revision follows.
"""

from __future__ import annotations

import contextlib
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy import connecting, schema, tables

FOLDER = pathlib.Path(__file__).parent

#: Revisions of the reference service from which there is no way to ours.
TOO_OLD = ('001', '002', '003', '004', '005', '006')

#: Seconds to wait for a server to accept us.
CONNECT_TIMEOUT = 10

#: Seconds to wait for another process that is at the same.
LOCK_TIMEOUT = 3600

#: Names our lock on PostgreSQL, where locks are numbers.
_LOCK_NUMBER = 0x7A61716172


def config(url: sa.URL | None = None) -> Config:
    """Return alembic's configuration for a database, or for none."""
    found = Config(stdout=sys.stdout)
    # A percent sign would start an interpolation.
    folder = str(FOLDER).replace('%', '%%')
    found.set_main_option('script_location', folder)
    found.set_main_option('file_template', '%%(rev)s_%%(slug)s')
    found.attributes['url'] = url
    return found


def scripts() -> ScriptDirectory:
    """Return the revisions there are."""
    return ScriptDirectory.from_config(config())


def head() -> str:
    """Return the newest revision."""
    return str(scripts().get_current_head())


def current(url: sa.URL) -> str | None:
    """Return the revision of a database, None for one without tables.

    :raises ConfigurationError: it cannot be asked
    """
    with connect(url) as connection:
        return schema.current(connection)


def upgrade(url: sa.URL, revision: str, *, sql: bool = False) -> None:
    """Bring a database to a revision, or print how.

    Does nothing if it is there already. Of several processes that do the same
    at once, one works and the others wait.

    :raises ConfigurationError: it cannot be asked or has no way to there
    """
    if not sql:
        _refuse_old(url)
    command.upgrade(config(url), revision, sql=sql)


def stamp(url: sa.URL, revision: str, *, sql: bool = False) -> None:
    """Note a revision without doing its work, or print how.

    :raises ConfigurationError: as :func:`upgrade`
    """
    if not sql:
        _refuse_old(url)
    command.stamp(config(url), revision, sql=sql)


def add(
    url: sa.URL | None, message: str | None, *, autogenerate: bool, sql: bool
) -> None:
    """Write a new revision into this folder.

    :param autogenerate: fill it with what the database lacks; this needs one
        that has all revisions so far
    """
    command.revision(
        config(url),
        message,
        autogenerate=autogenerate,
        sql=sql,
        rev_id=f'{int(head()) + 1:03}',
    )


@contextlib.contextmanager
def connect(url: sa.URL) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction that is committed in the end.

    :raises ConfigurationError: the database does not let us in
    """
    with _engine(url).begin() as connection:
        yield connection


def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Tell what autogenerate compares: not the tables of others."""
    return kind != 'table' or name in tables.METADATA.tables


def is_made(dialect: sa.Dialect) -> Callable[..., bool]:
    """Return a function that tells which of our indexes an engine gets."""

    def made(item: Any, _name: Any, kind: str, *_more: Any) -> bool:
        if kind != 'index' or not isinstance(item, sa.Index):
            return True
        condition: Any = item._ddl_if
        return condition is None or dialect.name in condition.dialect

    return made


def lock(connection: sa.Connection) -> None:
    """Wait until nobody else migrates; hold on until the connection closes.

    SQLite's transactions exclude each other as they are.
    """
    backend = connection.dialect.name
    if backend == 'postgresql':
        wait = sa.select(sa.func.pg_advisory_xact_lock(_LOCK_NUMBER))
        connection.execute(wait)
    elif backend != 'sqlite':
        wait = sa.select(sa.func.get_lock('zaqar-migrations', LOCK_TIMEOUT))
        if connection.scalar(wait) != 1:
            raise ConfigurationError('another migration does not end')


def _refuse_old(url: sa.URL) -> None:
    found = current(url)
    if found in TOO_OLD:
        raise ConfigurationError(
            f'the database is at revision {found} of the reference service; '
            'upgrade it to 007 with the reference service first'
        )
    known = [script.revision for script in scripts().walk_revisions()]
    if found is not None and found not in known:
        raise ConfigurationError(
            f'the database is at revision {found}, which is unknown here; '
            'it is newer than this program, or belongs to something else'
        )


def _engine(url: sa.URL) -> sa.Engine:
    try:
        rest, values = connecting.typed(url)
        engine = sa.create_engine(
            rest,
            poolclass=sa.NullPool,
            # Rows that are adopted hold URIs with passwords.
            hide_parameters=True,
            connect_args={**_connect_args(url), **values},
        )
    except (ImportError, sa.exc.ArgumentError, TypeError) as error:
        raise ConfigurationError(
            f'the database cannot be used: {error}'
        ) from None
    if url.get_backend_name() == 'sqlite':
        sa.event.listen(engine, 'do_connect', _make_private)
        sa.event.listen(engine, 'connect', _leave_transactions_to_us)
        sa.event.listen(engine, 'begin', _begin_immediate)
    return engine


def _make_private(
    _dialect: Any, _record: Any, args: Any, _options: Any
) -> None:
    # What is wrong with the path is said by the connection that follows.
    with contextlib.suppress(OSError):
        schema.make_private(str(args[0]))


def _connect_args(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == 'sqlite':
        return {'timeout': LOCK_TIMEOUT}
    found: dict[str, Any] = {'connect_timeout': CONNECT_TIMEOUT}
    if url.get_backend_name() == 'postgresql':
        # A pooler would give them to others.
        found['prepare_threshold'] = None
    return found


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    # Python's module would begin one before changes of rows only, not
    # before changes of tables.
    connection.isolation_level = None


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql('BEGIN IMMEDIATE')
