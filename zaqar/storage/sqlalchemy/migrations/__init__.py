# SPDX-License-Identifier: Apache-2.0
"""Migration of the tables from one revision to the next, by alembic."""

import contextlib
import logging
import pathlib
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from zaqar.errors import ConfigurationError, one_line
from zaqar.storage.sqlalchemy import (
    database_schema_revision,
    dbapi_url_options_and_timeouts,
    sqlite_creation,
    tables,
)
from zaqar.storage.sqlalchemy.error_classification import is_conflict

LOG = logging.getLogger(__name__)

T = TypeVar('T')

FOLDER = pathlib.Path(__file__).parent

#: Revisions of the reference service that cannot be migrated.
TOO_OLD = ('001', '002', '003', '004', '005', '006')

#: Seconds to wait for a connection.
CONNECT_TIMEOUT = 10

#: Seconds to wait for a migration of another process.
LOCK_TIMEOUT = 3600

#: Seconds for which work is begun again after a rival's changes.
RIVAL_TIMEOUT = 600

#: MySQL's error numbers for a Galera node that is not ready for a moment, for
#: what a rival has created or removed, and for a table that it has changed
#: since the transaction began.
_RIVAL_ERRORS = (1047, 1050, 1060, 1061, 1062, 1091, 1412)

#: PostgreSQL's advisory locks are numbers: "zaqar".
_LOCK_NUMBER = 0x7A61716172


def config(url: sa.URL | None = None) -> Config:
    """Return alembic's configuration for a database, or for none."""
    alembic = Config(stdout=sys.stdout)
    # A percent sign would start an interpolation.
    folder = str(FOLDER).replace('%', '%%')
    alembic.set_main_option('script_location', folder)
    alembic.set_main_option('file_template', '%%(rev)s_%%(slug)s')
    alembic.attributes['url'] = url
    return alembic


def scripts() -> ScriptDirectory:
    """Return the directory of revisions."""
    return ScriptDirectory.from_config(config())


def head() -> str:
    """Return the newest revision."""
    return str(scripts().get_current_head())


def current(url: sa.URL) -> str | None:
    """Return the revision of a database, None for one without tables."""

    def read() -> str | None:
        with connect(url) as connection:
            return database_schema_revision.current(connection)

    return _repeat(url, read)


def upgrade(url: sa.URL, revision: str, *, sql: bool = False) -> None:
    """Migrate a database to a revision, or print the SQL.

    Does nothing if it has that revision. Of several concurrent processes one
    works and the others wait; on different nodes of a Galera cluster, whose
    named locks are local, those who come second begin again.
    """
    if sql:
        command.upgrade(config(url), revision, sql=True)
        return

    def migrate() -> None:
        _refuse_old(url)
        if not revision.startswith('+'):
            _begin_history(url)
        # Each step that has been done already is left out.
        command.upgrade(config(url), revision)

    _repeat(url, migrate)


def stamp(url: sa.URL, revision: str, *, sql: bool = False) -> None:
    """Set the revision without migrating, or print the SQL."""
    if not sql:
        _refuse_old(url)
    command.stamp(config(url), revision, sql=sql)


def add(
    url: sa.URL | None, message: str | None, *, autogenerate: bool, sql: bool
) -> None:
    """Write a new revision into this folder.

    :param autogenerate: fill it with what the database lacks, which must be
        at the newest revision
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
    """Yield a connection in a transaction that is committed in the end."""
    with _engine(url).begin() as connection:
        yield connection


def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Tell whether autogenerate compares a table: only our own."""
    return kind != 'table' or name in tables.METADATA.tables


def is_made(dialect: sa.Dialect) -> Callable[..., bool]:
    """Return a function that tells which of our indexes an engine gets."""

    def applies(item: Any, _name: Any, kind: str, *_more: Any) -> bool:
        if kind != 'index' or not isinstance(item, sa.Index):
            return True
        condition: Any = item._ddl_if
        return condition is None or dialect.name in condition.dialect

    return applies


def lock(connection: sa.Connection) -> None:
    """Wait until no other process migrates; lock until the connection closes.

    SQLite's transactions exclude each other anyway.
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
    revision = current(url)
    if revision in TOO_OLD:
        raise ConfigurationError(
            f'the database is at revision {revision} of the reference '
            'service; upgrade it to 007 with the reference service first'
        )
    revisions = [script.revision for script in scripts().walk_revisions()]
    if revision is not None and revision not in revisions:
        raise ConfigurationError(
            f'the database is at revision {revision}, which is unknown here; '
            'it is newer than this program, or belongs to something else'
        )


def _begin_history(url: sa.URL) -> None:
    """Note the first revision in an empty database (MySQL).

    Alembic inserts it wherever it sees none: through a Galera node that lags,
    as a second one beside that of a process that is ahead.
    """
    if _is_mysql(url):
        with connect(url) as connection:
            database_schema_revision.begin(
                connection, str(scripts().get_base())
            )


def _repeat(url: sa.URL, work: Callable[[], T]) -> T:
    """Do work, again after each conflict with a rival on another node."""
    end = time.monotonic() + RIVAL_TIMEOUT
    while True:
        try:
            return work()
        except (sa.exc.DBAPIError, CommandError) as error:
            if not _is_rival(url, error) or time.monotonic() > end:
                raise
            LOG.info(
                'Another process migrates, or a node is not ready: %s; '
                'looking again',
                one_line(error),
            )
            time.sleep(random.uniform(0.1, 1))


def _is_mysql(url: sa.URL) -> bool:
    return url.get_backend_name() in ('mysql', 'mariadb')


def _is_rival(url: sa.URL, error: Exception) -> bool:
    """Tell whether another process on another node made the same change."""
    if not _is_mysql(url):
        return False
    if isinstance(error, CommandError):
        # It has changed the revision meanwhile.
        return 'expected to match' in str(error)
    original: Any = getattr(error, 'orig', None)
    arguments: Any = getattr(original, 'args', ())
    return is_conflict('mysql', original) or (
        bool(arguments) and arguments[0] in _RIVAL_ERRORS
    )


def _engine(url: sa.URL) -> sa.Engine:
    try:
        rest, values = dbapi_url_options_and_timeouts.typed(url)
        engine = sa.create_engine(
            rest,
            poolclass=sa.NullPool,
            # Imported rows hold URIs with passwords.
            hide_parameters=True,
            connect_args={**_connect_args(url), **values},
        )
    except (ImportError, sa.exc.ArgumentError, TypeError) as error:
        raise ConfigurationError(
            f'the database cannot be used: {error}'
        ) from None
    if url.get_backend_name() == 'sqlite':
        sa.event.listen(engine, 'do_connect', _make_private)
        sa.event.listen(engine, 'connect', _disable_implicit_begin)
        sa.event.listen(engine, 'begin', _begin_immediate)
    return engine


def _make_private(
    _dialect: Any, _record: Any, args: Any, _options: Any
) -> None:
    # The connection that follows reports what is wrong with the path.
    with contextlib.suppress(OSError):
        sqlite_creation.make_private(str(args[0]))


def _connect_args(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == 'sqlite':
        return {'timeout': LOCK_TIMEOUT}
    arguments: dict[str, Any] = {'connect_timeout': CONNECT_TIMEOUT}
    if url.get_backend_name() == 'postgresql':
        # A pooler would lend prepared statements to other clients.
        arguments['prepare_threshold'] = None
        # Texts of a database in SQL_ASCII would be bytes.
        arguments['client_encoding'] = 'utf8'
    else:
        # By default a change locks every row that it reads, and what lies
        # between, until the commit.
        arguments['init_command'] = (
            'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED'
        )
    return arguments


def _disable_implicit_begin(connection: Any, _record: Any) -> None:
    # Python's module would begin one before changes of rows only, not
    # before changes of tables.
    connection.isolation_level = None


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql('BEGIN IMMEDIATE')
