# SPDX-License-Identifier: Apache-2.0
"""``zaqar-sql-db-manage``: bring the tables of a database up to date."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic import command as alembic_command
from alembic.util import CommandError
from oslo_config import cfg
from oslo_log import log

from zaqar import logging_setup, version
from zaqar.cmd import command_line_help
from zaqar.errors import ConfigurationError, one_line
from zaqar.storage import configured_drivers_and_options, secret_masking
from zaqar.storage.sqlalchemy import driver_declaration, migrations

PROG = 'zaqar-sql-db-manage'

MANAGEMENT = 'drivers:management_store:sqlalchemy'
MESSAGE = 'drivers:message_store:sqlalchemy'

#: Titles of the databases by group, in the order of work.
TITLES = {MANAGEMENT: 'management store', MESSAGE: 'message store'}

FAILED = 1
TOOL_ERROR = 255

MANUAL = f"""\
NAME
    {PROG} - bring the tables of an SQL database up to date

SYNOPSIS
    {PROG} [OPTION]... COMMAND [ARGUMENT]...

DESCRIPTION
    Works on the database named by
        [drivers:management_store:sqlalchemy] uri
    and on that named by
        [drivers:message_store:sqlalchemy] uri
    if that is another one. Both hold the same tables. If neither is set, and
    the service would use its embedded database, works on that one: the file
    zaqar.sqlite in [DEFAULT] state_path. The service creates that file.

    "upgrade head" may be run at any time and by several processes at once, and
    does nothing if the tables are up to date. A database of the reference
    service at revision 007 is converted: stop that service first. Its tables
    stay unchanged. Take a backup before; migrations cannot be undone.

COMMANDS
    current             show the revision of each database
    history             list all revisions, newest first
    branches            list revisions with more than one successor
    check_migration     check that there is a single newest revision
    upgrade             bring each database to a revision, or print how
    downgrade           refused: migrations cannot be undone
    stamp               record a revision without running its migration
    revision            write a new revision, for developers

    "{PROG} COMMAND -h" shows the arguments of a command.

{command_line_help.manual_of_files(PROG)}
EXIT STATUS
    0    done
    1    no revision given, or the work failed
    2    wrong usage
    255  no such revision, or another error of the migration tool

EXAMPLES
    {PROG} upgrade head
    {PROG} --config-file /etc/zaqar/zaqar.conf current
    {PROG} upgrade 007:head --sql > upgrade.sql

"""


@dataclass(frozen=True)
class Database:
    """A database that holds our tables.

    :ivar title: what it is, for people
    :ivar option: the option that names it
    """

    title: str
    option: str
    url: sa.URL

    def __str__(self) -> str:
        uri = self.url.render_as_string(hide_password=False)
        return f'{self.title} {secret_masking.mask(uri)}'


class Failure(Exception):
    """The command failed; the text says why."""


class Missing(Exception):
    """There is nothing to do: the service has yet to create its database."""


def current(conf: cfg.ConfigOpts) -> None:
    """Show the revision of each database."""
    for database in _databases(conf):
        with _blaming(database):
            revision = migrations.current(database.url)
        print(f'{database}: {_described(revision)}')


def history(conf: cfg.ConfigOpts) -> None:
    """List all revisions, newest first."""
    alembic_command.history(migrations.config())


def branches(conf: cfg.ConfigOpts) -> None:
    """List revisions with more than one successor."""
    alembic_command.branches(migrations.config())


def check_migration(conf: cfg.ConfigOpts) -> None:
    """Check that there is a single newest revision."""
    heads = migrations.scripts().get_heads()
    if len(heads) != 1:
        raise Failure(f'there are several heads: {", ".join(heads)}')
    print(f'{heads[0]} is the only head')


def upgrade(conf: cfg.ConfigOpts) -> None:
    """Bring each database to a revision, or print how."""
    revision = _target(conf.command.revision, conf.command.delta)
    for database in _databases(conf):
        with _blaming(database):
            _upgrade(database, revision, conf.command.sql)


def downgrade(conf: cfg.ConfigOpts) -> None:
    """Refuse."""
    raise Failure(
        'no revision can be undone. To go back, stop the service and restore '
        'the backup taken before the upgrade; tables of the reference '
        'service are still there as they were'
    )


def stamp(conf: cfg.ConfigOpts) -> None:
    """Record a revision in each database without running a migration."""
    for database in _databases(conf):
        with _blaming(database):
            _print_title(database, conf.command.sql)
            migrations.stamp(
                database.url, conf.command.revision, sql=conf.command.sql
            )
            _print_result(database, conf.command.sql)


def revision(conf: cfg.ConfigOpts) -> None:
    """Write a new revision."""
    database = _databases(conf)[0] if conf.command.autogenerate else None
    migrations.add(
        database.url if database else None,
        conf.command.message,
        autogenerate=conf.command.autogenerate,
        sql=conf.command.sql,
    )


COMMANDS: dict[str, Callable[[cfg.ConfigOpts], None]] = {
    'current': current,
    'history': history,
    'branches': branches,
    'check_migration': check_migration,
    'upgrade': upgrade,
    'downgrade': downgrade,
    'stamp': stamp,
    'revision': revision,
}


def _argument(name: str, **options: Any) -> tuple[str, dict[str, Any]]:
    return name, options


_REVISION = _argument(
    'revision',
    nargs='?',
    metavar='REV',
    help='a revision, "head" for the newest, "+N" for N further; '
    '"FROM:TO" with --sql',
)
_DELTA = _argument(
    '--delta',
    type=int,
    metavar='N',
    help='N revisions further than the database is',
)
_SQL = _argument(
    '--sql',
    action='store_true',
    help='print the SQL, from the first revision on unless FROM is '
    'given, and leave the database alone',
)

ARGUMENTS: dict[str, Sequence[tuple[str, dict[str, Any]]]] = {
    'upgrade': (_REVISION, _DELTA, _SQL),
    'downgrade': (_REVISION, _DELTA, _SQL),
    'stamp': (
        _argument(
            'revision',
            metavar='REV',
            help='the revision to note, "head" for the newest',
        ),
        _SQL,
    ),
    'revision': (
        _argument(
            '-m', dest='message', metavar='TEXT', help='what the revision does'
        ),
        _argument(
            '--autogenerate',
            action='store_true',
            help='fill it with what the database lacks; read it well '
            'before use',
        ),
        _argument('--sql', action='store_true', help='connect to no database'),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    words = command_line_help.read_words(arguments, MANUAL, COMMANDS)
    try:
        conf = _configure(words)
        COMMANDS[conf.command.name](conf)
    except (Failure, ConfigurationError, cfg.Error) as error:
        return _complain(error, FAILED)
    except CommandError as error:
        return _complain(error, TOOL_ERROR)
    except Missing as note:
        print(note)
    return 0


def _complain(error: Exception, code: int) -> int:
    print(f'{PROG}: {error}', file=sys.stderr)
    return code


def _configure(words: Sequence[str]) -> cfg.ConfigOpts:
    """Read command line and files."""
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf.register_opts(driver_declaration.MANAGEMENT_OPTS, MANAGEMENT)
    conf.register_opts(driver_declaration.MESSAGE_OPTS, MESSAGE)
    conf.register_cli_opt(
        cfg.SubCommandOpt('command', title='commands', handler=_add_commands)
    )
    conf(words, project='zaqar', prog=PROG, version=version.version_string())
    logging_setup.prefer_stderr(conf)
    log.setup(conf, PROG)
    return conf


def _add_commands(parsers: Any) -> None:
    for name, function in COMMANDS.items():
        text = str(function.__doc__)
        parser: argparse.ArgumentParser = parsers.add_parser(
            name, help=text, description=text
        )
        for argument, options in ARGUMENTS.get(name, ()):
            parser.add_argument(argument, **options)


def _databases(conf: cfg.ConfigOpts) -> Sequence[Database]:
    """Return the databases to work on, each once."""
    databases = [
        Database(title, f'[{group}] uri', _parse(group, conf[group].uri))
        for group, title in TITLES.items()
        if conf[group].uri
    ]
    if not databases:
        return [_embedded(conf)]
    if len(databases) == 2 and databases[0].url == databases[1].url:
        return [Database('both stores', databases[0].option, databases[0].url)]
    return databases


def _embedded(conf: cfg.ConfigOpts) -> Database:
    """Return the embedded database, if the service would use it."""
    for place in configured_drivers_and_options.locations(conf):
        if place.driver == configured_drivers_and_options.EMBEDDED:
            url = driver_declaration.parse(place.uri)
            if not os.path.exists(str(url.database)):
                # The user of the service might not be able to open ours.
                raise Missing(f'{place.uri}: the service will create it')
            return Database('embedded database', place.option, url)
    raise Failure(
        f'[{MANAGEMENT}] uri is not set, and no store that [drivers] names is '
        'an SQL database'
    )


def _parse(group: str, uri: str) -> sa.URL:
    try:
        return driver_declaration.parse(uri)
    except ConfigurationError as error:
        raise Failure(f'[{group}] uri: {error}') from None


def _target(revision: str | None, delta: int | None) -> str:
    """Return the target revision, as alembic names it."""
    if revision is None and delta is None:
        raise Failure('give a revision ("head", usually) or --delta')
    if revision is not None and delta is not None:
        raise Failure('give a revision or --delta, not both')
    target = f'{delta:+}' if revision is None else revision
    if target.startswith('-'):
        raise Failure(f'{target} leads back; no revision can be undone')
    return target


def _upgrade(database: Database, revision: str, sql: bool) -> None:
    _print_title(database, sql)
    before = None if sql else migrations.current(database.url)
    migrations.upgrade(database.url, revision, sql=sql)
    _print_result(database, sql, before)


def _print_title(database: Database, sql: bool) -> None:
    if sql:
        print(f'-- {database}')
    else:
        print(f'{database}: at work', flush=True)


def _print_result(
    database: Database, sql: bool, before: str | None = None
) -> None:
    if sql:
        return
    after = migrations.current(database.url)
    if after == before:
        print(f'{database}: nothing to do, {_described(after)}')
    else:
        print(f'{database}: now {_described(after)}')


def _described(revision: str | None) -> str:
    if revision is None:
        return 'no tables yet'
    newest = ' (head)' if revision == migrations.head() else ''
    return f'revision {revision}{newest}'


@contextlib.contextmanager
def _blaming(database: Database) -> Iterator[None]:
    """Reduce errors to one line that names the database."""
    try:
        yield
    except ConfigurationError as error:
        raise Failure(f'{database.option}: {error}') from error
    except sa.exc.SQLAlchemyError as error:
        reason = one_line(getattr(error, 'orig', None) or error)
        raise Failure(f'{database.option}: {reason}') from error


if __name__ == '__main__':
    sys.exit(main())
