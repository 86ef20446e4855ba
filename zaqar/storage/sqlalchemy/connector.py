# SPDX-License-Identifier: Apache-2.0
"""Connections to servers: driver arguments, and poolers in between.

A pooler that lends a connection for one transaction (PgBouncer's
``pool_mode = transaction``) lends it to another client next. The state of a
PostgreSQL connection is then another client's: prepared statements, settings,
locks. The pooler also refuses start-up parameters that it does not know.
"""

import enum
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import asbool

from zaqar import request_deadline
from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy.connection_deadlines import (
    SHORTEST,
    psycopg_connection,
    pymysql_connection,
)

LOG = logging.getLogger(__name__)

#: Seconds in which a server must accept a connection.
CONNECT_TIMEOUT = 2

#: Seconds in which a connection must be ready for use.
STARTUP_TIMEOUT = 4.0

#: Seconds that a request must have left to connect.
LEAST_CONNECT_TIME = 1.0

#: Milliseconds after which PostgreSQL ends a statement by itself.
STATEMENT_TIMEOUT = 4000

#: MySQL's flag for counts of the rows that an UPDATE finds.
CLIENT_FLAGS = 1 << 1

#: The error of a pooler about a start-up parameter.
REFUSED_PARAMETER = 'unsupported startup parameter'


class Pooler(enum.StrEnum):
    """The kind of pooler in front of PostgreSQL."""

    AUTO = 'auto'
    NONE = 'none'
    TRANSACTION = 'transaction'


class Connector:
    """Connects to PostgreSQL, and detects a pooler in between.

    :ivar is_pooled: whether there is one, as far as is known
    """

    def __init__(self, pooler: Pooler, url: sa.URL) -> None:
        if pooler is Pooler.TRANSACTION:
            _check_sessionless(url)
        self._pooler = pooler
        self._has_options = 'options' in url.query
        self.is_pooled = pooler is Pooler.TRANSACTION

    @property
    def begin(self) -> str:
        """Return the SQL that begins a transaction, in one round trip."""
        if not self.is_pooled:
            return 'START TRANSACTION'
        return (
            'BEGIN ISOLATION LEVEL READ COMMITTED; '
            f'SET LOCAL statement_timeout = {STATEMENT_TIMEOUT}'
        )

    def connect(
        self, dialect: Any, _record: Any, args: Any, options: Any
    ) -> Any:
        """Connect; a hook of SQLAlchemy."""
        # SQLAlchemy 2.0 passes the arguments of all connections.
        own = {**options, 'autocommit': True}
        connection = self._connected(dialect.loaded_dbapi, args, own)
        connection.deadline = _startup_end()
        return connection

    def _connected(self, module: Any, args: Any, options: Any) -> Any:
        connect: Callable[..., Any] = psycopg_connection(module).connect
        if request_deadline.left(CONNECT_TIMEOUT) < LEAST_CONNECT_TIME:
            # The library waits for two seconds at least.
            raise module.OperationalError('no time is left to connect')
        if not self.is_pooled:
            try:
                connection = connect(*args, **self._with_settings(options))
            except module.OperationalError as error:
                # Options of the URI must not be dropped.
                if REFUSED_PARAMETER not in str(error) or self._has_options:
                    raise
                if self._pooler is Pooler.NONE:
                    raise
            else:
                if self._pooler is Pooler.NONE or _is_direct(connection):
                    return connection
                connection.prepare_threshold = None
                self._note_pooler()
                return connection
            self._note_pooler()
        return connect(*args, **{**options, 'prepare_threshold': None})

    def _with_settings(self, options: dict[str, Any]) -> dict[str, Any]:
        if self._has_options:
            return options
        # Planning takes longer than the statements themselves, and the index
        # to use does not depend on the values.
        settings = (
            f'-c statement_timeout={STATEMENT_TIMEOUT} '
            '-c plan_cache_mode=force_generic_plan '
            '-c default_transaction_isolation=read\\ committed'
        )
        return {**options, 'options': settings}

    def _note_pooler(self) -> None:
        if not self.is_pooled:
            self.is_pooled = True
            LOG.info(
                'A pooler stands before PostgreSQL: prepared statements and '
                'start-up parameters are left out'
            )


def connect_mysql(dialect: Any, _record: Any, args: Any, options: Any) -> Any:
    """Connect to MariaDB or MySQL; a hook of SQLAlchemy."""
    timeouts = {
        # 0 and None are without a limit.
        name: max(
            request_deadline.left(options[name] or CONNECT_TIMEOUT), SHORTEST
        )
        for name in ('connect_timeout', 'read_timeout', 'write_timeout')
    }
    base_class = dialect.loaded_dbapi.connections.Connection
    # SQLAlchemy 2.0 passes the arguments of all connections.
    own = {**options, **timeouts}
    connection = pymysql_connection(base_class)(*args, **own)
    connection.deadline = _startup_end()
    return connection


def _startup_end() -> float:
    """Return when SQLAlchemy's own first queries must have ended."""
    return request_deadline.cap(time.monotonic() + STARTUP_TIMEOUT)


def _is_direct(connection: Any) -> bool:
    """Tell whether there is no pooler in between.

    Poolers report a process number of their own to clients.
    """
    connection.deadline = time.monotonic() + CONNECT_TIMEOUT
    row = connection.execute('SELECT pg_backend_pid()').fetchone()
    return bool(row[0] == connection.info.backend_pid)


def _check_sessionless(url: sa.URL) -> None:
    threshold = str(url.query.get('prepare_threshold', 'none'))
    for name, is_set in (
        ('options', 'options' in url.query),
        ('prepare_threshold', _number_or_none(threshold) is not None),
    ):
        if is_set:
            raise ConfigurationError(
                f'"{name}" in the URI does not work with sql_pooler = '
                'transaction; leave it out'
            )


def typed(url: sa.URL) -> tuple[sa.URL, Mapping[str, Any]]:
    """Convert options of a URL that are not text.

    The drivers accept them as text, and fail much later.

    :returns: the URL without them, and the values by name
    """
    types = _TYPES.get(url.get_backend_name().replace('mariadb', 'mysql'), {})
    values: dict[str, Any] = {}
    for name, texts in url.normalized_query.items():
        if name in types:
            try:
                # The last one counts, as in a configuration file.
                values[name] = types[name](texts[-1])
            except ValueError:
                raise ConfigurationError(
                    f'"{name}" in the URI cannot be "{texts[-1]}"'
                ) from None
    return url.difference_update_query(values), values


def _number_or_none(text: str) -> int | None:
    return None if text.lower() in ('', 'none') else int(text)


def _boolean(text: str) -> bool:
    return bool(asbool(text))


_TYPES: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
    'postgresql': {
        'autocommit': _boolean,
        'connect_timeout': int,
        'keepalives': int,
        'keepalives_count': int,
        'keepalives_idle': int,
        'keepalives_interval': int,
        'prepare_threshold': _number_or_none,
        'tcp_user_timeout': int,
    },
    'mysql': {
        'autocommit': _boolean,
        'binary_prefix': _boolean,
        'client_flag': int,
        'connect_timeout': int,
        'defer_connect': _boolean,
        'local_infile': _boolean,
        'max_allowed_packet': int,
        'read_timeout': int,
        'ssl_disabled': _boolean,
        'ssl_verify_cert': _boolean,
        'ssl_verify_identity': _boolean,
        'use_unicode': _boolean,
        'write_timeout': int,
    },
}


def arguments(url: sa.URL) -> tuple[sa.URL, Mapping[str, Any]]:
    """Return a URL and the arguments for its driver.

    Every wait for the server is limited to a few seconds, unless the URL sets
    other limits.
    """
    rest, typed_values = typed(url)
    if url.get_backend_name() == 'postgresql':
        settings: dict[str, Any] = {
            'connect_timeout': CONNECT_TIMEOUT,
            'tcp_user_timeout': 4000,
            'application_name': 'zaqar',
            # With that of a database in SQL_ASCII, texts would be bytes.
            'client_encoding': 'utf8',
        }
    else:
        settings = {
            'connect_timeout': CONNECT_TIMEOUT,
            'read_timeout': 2,
            'write_timeout': 2,
            # The library would switch it off first.
            'autocommit': True,
            'charset': 'utf8mb4',
            'client_flag': CLIENT_FLAGS,
        }
    values = {
        **{
            name: value
            for name, value in settings.items()
            if name not in rest.query
        },
        **typed_values,
    }
    if 'client_flag' in values:
        values['client_flag'] |= CLIENT_FLAGS
    return rest, values
