# SPDX-License-Identifier: Apache-2.0
"""Connections to servers, and poolers in between.

A pooler that lends a connection for one transaction (PgBouncer's
``pool_mode = transaction``) lends it to another client next. The state of a
PostgreSQL connection is then another client's: prepared statements, settings,
locks. The pooler also refuses start-up parameters that it does not know.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from zaqar import request_deadline
from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy.connection_deadlines import (
    SHORTEST,
    psycopg_connection,
    pymysql_connection,
)
from zaqar.storage.sqlalchemy.dbapi_url_options_and_timeouts import (
    CONNECT_TIMEOUT,
    number_or_none,
)
from zaqar.storage.sqlalchemy.pooler_and_connection_options import Pooler

LOG = logging.getLogger(__name__)

#: Seconds in which a connection must be ready for use.
STARTUP_TIMEOUT = 4.0

#: Seconds that a request must have left to connect.
LEAST_CONNECT_TIME = 1.0

#: Milliseconds after which PostgreSQL ends a statement by itself.
STATEMENT_TIMEOUT = 4000

#: Milliseconds after which it gives up a row that another transaction has
#: locked, as MariaDB does: that is a conflict, and no broken connection.
LOCK_TIMEOUT = 3000

#: The error of a pooler about a start-up parameter.
REFUSED_PARAMETER = 'unsupported startup parameter'


class Connector:
    """Connects to PostgreSQL, and detects a pooler in between.

    :ivar is_pooled: whether there is one, as far as is known
    """

    def __init__(self, pooler: Pooler, url: sa.URL) -> None:
        if pooler is Pooler.TRANSACTION:
            _check_sessionless(url)
        self._pooler = pooler
        self._has_options = 'options' in url.query
        self._any_host = 'target_session_attrs' in url.query
        #: The host that was connected to last, and its port; and the one that
        #: did not answer any more.
        self._latest = self._lost = ('', '')
        self.is_pooled = pooler is Pooler.TRANSACTION

    @property
    def begin(self) -> str:
        """Return the SQL that begins a transaction, in one round trip."""
        if not self.is_pooled:
            return 'START TRANSACTION'
        return (
            'BEGIN ISOLATION LEVEL READ COMMITTED; '
            f'SET LOCAL statement_timeout = {STATEMENT_TIMEOUT}; '
            f'SET LOCAL lock_timeout = {LOCK_TIMEOUT}'
        )

    def connect(
        self, dialect: Any, _record: Any, args: Any, options: Any
    ) -> Any:
        """Connect; a hook of SQLAlchemy."""
        # SQLAlchemy 2.0 passes the arguments of all connections.
        own = {**options, 'autocommit': True}
        if self._any_host:
            # One that hangs or is off would cost each connection two seconds.
            own |= _reordered(options, self._latest, self._lost)
        connection = self._connected(dialect.loaded_dbapi, args, own)
        if self._any_host:
            info = connection.info
            place = info.host, str(info.port)
            connection.place = self._latest = place
            if self._lost == place:
                self._lost = ('', '')
            # Others that wait for a server that is lost learn of it, too.
            connection.is_superseded = lambda: (
                self._lost == place != self._latest
            )
        connection.deadline = _startup_end()
        return connection

    def note_loss(self, connection: Any) -> None:
        """Try the server of a connection that broke last from now on."""
        if self._any_host:
            self._lost = connection.place

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
            f'-c lock_timeout={LOCK_TIMEOUT} '
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


def _reordered(
    options: Mapping[str, Any], first: tuple[str, str], last: tuple[str, str]
) -> Mapping[str, str]:
    """Return the hosts and ports of options in another order.

    Whichever of them has the attributes that are wanted will do.
    """
    hosts, ports = (
        str(options.get(name, '')).split(',') for name in ('host', 'port')
    )
    if len(hosts) != len(ports):
        return {}
    pairs = sorted(
        zip(hosts, ports, strict=True),
        key=lambda pair: (pair == last, pair != first),
    )
    return {
        'host': ','.join(host for host, _ in pairs),
        'port': ','.join(port for _, port in pairs),
    }


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
    limit = time.monotonic() + CONNECT_TIMEOUT
    connection.deadline = request_deadline.cap(limit)
    row = connection.execute('SELECT pg_backend_pid()').fetchone()
    return bool(row[0] == connection.info.backend_pid)


def _check_sessionless(url: sa.URL) -> None:
    threshold = str(url.query.get('prepare_threshold', 'none'))
    for name, is_set in (
        ('options', 'options' in url.query),
        ('prepare_threshold', number_or_none(threshold) is not None),
    ):
        if is_set:
            raise ConfigurationError(
                f'"{name}" in the URI does not work with sql_pooler = '
                'transaction; leave it out'
            )
