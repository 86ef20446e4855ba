# SPDX-License-Identifier: Apache-2.0
"""Opening of SQL stores; see :mod:`zaqar.storage.sqlalchemy.driver`."""

import os
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy import pool_uri_options
from zaqar.storage.sqlalchemy.connection_settings import (
    BACKENDS,
    Pooler,
    SqlConnectionSettings,
)
from zaqar.storage.sqlalchemy.database import SqlDatabase, open_server
from zaqar.storage.sqlalchemy.management_store import SqlManagementStore
from zaqar.storage.sqlalchemy.message_store import SqlMessageStore
from zaqar.storage.sqlalchemy.sqlite_database import SqliteDatabase

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
    if backend not in BACKENDS:
        raise ConfigurationError(
            f'"{backend}" is no engine of this driver; it knows '
            f'{", ".join(BACKENDS)}'
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
        database = open_server(url, _connection_settings(options))
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


def _connection_settings(options: Mapping[str, Any]) -> SqlConnectionSettings:
    default = SqlConnectionSettings()
    return SqlConnectionSettings(
        Pooler(options.get('sql_pooler', default.pooler)),
        options.get('sql_max_connections', default.max_connections),
        options.get('galera_sync_wait', default.galera_sync_wait),
    )
