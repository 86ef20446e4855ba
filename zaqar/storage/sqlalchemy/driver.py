# SPDX-License-Identifier: Apache-2.0
"""The SQL driver: options and how the stores are opened."""

import os
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg

from zaqar.errors import ConfigurationError
from zaqar.storage.base import Capability, Driver
from zaqar.storage.sqlalchemy import pool_uri_options
from zaqar.storage.sqlalchemy.connector import Pooler
from zaqar.storage.sqlalchemy.database import (
    ServerSettings,
    SqlDatabase,
    open_server,
)
from zaqar.storage.sqlalchemy.management_store import SqlManagementStore
from zaqar.storage.sqlalchemy.message_store import SqlMessageStore
from zaqar.storage.sqlalchemy.sqlite import SqliteDatabase

_SYNCHRONOUS = cfg.StrOpt(
    'sqlite_synchronous',
    default='FULL',
    choices=[
        ('FULL', 'what was acknowledged survives a power cut'),
        ('NORMAL', 'it survives the death of processes only; faster'),
    ],
    help='How durable a commit to SQLite is.',
)

# Beside the URI rather than in [storage]: stores and pools may be on different
# servers, of which one is behind a pooler and another is not.
_POOLER = cfg.StrOpt(
    'sql_pooler',
    default=Pooler.AUTO,
    choices=[
        (
            Pooler.AUTO,
            'detect a pooler, and assume that it lends transactions',
        ),
        (Pooler.NONE, 'there is none, or it lends whole sessions'),
        (Pooler.TRANSACTION, 'one lends transactions (PgBouncer, Odyssey)'),
    ],
    help='The pooler in front of PostgreSQL. With one that assigns a '
    'connection for one transaction, no prepared statements and no startup '
    'parameters are used.',
)

_MAX_CONNECTIONS = cfg.IntOpt(
    'sql_max_connections',
    default=ServerSettings.max_connections,
    min=1,
    help='Maximum number of connections of a process to the server. Stores '
    'with the same uri and the same options share them; a call waits for one '
    'for a second.',
)

_SYNC_WAIT = cfg.BoolOpt(
    'galera_sync_wait',
    default=ServerSettings.galera_sync_wait,
    help='Whether each transaction on a Galera node first waits until the '
    'node has applied what the others have committed (wsrep_sync_wait). '
    'Disable it only if all processes use the same node at any time: '
    'otherwise reads are stale, and deletions through a node that lags have '
    'no effect. Other servers ignore it.',
)

_URI = 'SQLAlchemy URL of the database: sqlite:////path/to/file, '
_URI += 'postgresql+psycopg://user:password@host/name or '
_URI += 'mysql+pymysql://user:password@host/name. '


def _uri_opt(other: str) -> cfg.Opt:
    return cfg.StrOpt(
        'uri',
        secret=True,
        help=f'{_URI}Unset: that of the {other} store, else a file '
        'zaqar.sqlite in state_path.',
    )


_SHARED = [_POOLER, _MAX_CONNECTIONS, _SYNC_WAIT, _SYNCHRONOUS]
MANAGEMENT_OPTS = [_uri_opt('message'), *_SHARED]
MESSAGE_OPTS = [
    _uri_opt('management'),
    cfg.IntOpt(
        'group_commit_window_ms',
        default=5,
        min=0,
        help='Milliseconds for which a post waits for a commit of the same '
        'process, beyond the time that commits usually take, to share the '
        'next one with others. So do claims and deletions on MariaDB and '
        'MySQL. 0 commits each alone. SQLite always shares.',
    ),
    *_SHARED,
]

_BACKENDS = ('sqlite', 'postgresql', 'mysql', 'mariadb')
#: The DBAPI drivers whose errors error_classification.py knows.
_DRIVERS = {'postgresql': 'psycopg', 'mysql': 'pymysql', 'mariadb': 'pymysql'}


def open_messages(uri: str, options: Mapping[str, Any]) -> SqlMessageStore:
    window = options.get('group_commit_window_ms', 5) / 1000
    return SqlMessageStore(open_database(uri, options), window)


def open_management(
    uri: str, options: Mapping[str, Any]
) -> SqlManagementStore:
    return SqlManagementStore(open_database(uri, options))


def default_uri(folder: str) -> str:
    """Return the URI of the embedded database in a folder."""
    path = os.path.join(folder, 'zaqar.sqlite')
    return sa.URL.create('sqlite', database=path).render_as_string()


def parse(uri: str) -> sa.URL:
    """Parse a URI and select the DBAPI driver."""
    try:
        url = sa.make_url(uri)
        backend = url.get_backend_name()
    except (sa.exc.ArgumentError, ValueError):
        raise ConfigurationError('the URI is malformed') from None
    if _is_ambiguous(url):
        # The host may be half a password, and must not be logged.
        raise ConfigurationError(
            'the URI is malformed; special characters of a password are '
            'written as %XX'
        )
    if backend not in _BACKENDS:
        raise ConfigurationError(
            f'"{backend}" is no engine of this driver; it knows '
            f'{", ".join(_BACKENDS)}'
        )
    if backend in _DRIVERS:
        return url.set(drivername=f'{backend}+{_DRIVERS[backend]}')
    return url


def _is_ambiguous(url: sa.URL) -> bool:
    """Tell whether a password seems to have an unescaped at sign."""
    user, password = url.username or '', str(url.password or '')
    return '@' in (url.host or '') or ('@' in user and '/' in password)


def check_pool(uri: str, folder: str) -> None:
    pool_uri_options.check(parse(uri), folder)


def open_database(uri: str, options: Mapping[str, Any]) -> SqlDatabase:
    """Open what a store keeps its rows in."""
    url = parse(uri)
    if url.get_backend_name() == 'sqlite':
        return SqliteDatabase(url, options.get('sqlite_synchronous', 'FULL'))
    try:
        database = open_server(url, _server_settings(options))
    except (ImportError, sa.exc.ArgumentError, TypeError) as error:
        raise ConfigurationError(
            f'the database cannot be used: {error}'
        ) from None
    try:
        database.check()
    except BaseException:
        database.close()
        raise
    return database


def _server_settings(options: Mapping[str, Any]) -> ServerSettings:
    default = ServerSettings()
    return ServerSettings(
        Pooler(options.get(_POOLER.name, default.pooler)),
        options.get(_MAX_CONNECTIONS.name, default.max_connections),
        options.get(_SYNC_WAIT.name, default.galera_sync_wait),
    )


DRIVER = Driver(
    name='sqlalchemy',
    schemes=_BACKENDS,
    capabilities=(
        Capability.FIFO,
        Capability.CLAIMS,
        Capability.DURABILITY,
        Capability.AOD,
    ),
    open_messages=open_messages,
    open_management=open_management,
    message_opts=MESSAGE_OPTS,
    management_opts=MANAGEMENT_OPTS,
    default_uri=default_uri,
    check_pool=check_pool,
)
