# SPDX-License-Identifier: Apache-2.0
"""Databases on servers: connections, transactions, retries, checks."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from zaqar import request_deadline
from zaqar.errors import ConfigurationError, StoreUnavailable, one_line
from zaqar.storage.sqlalchemy import (
    dbapi_url_options_and_timeouts,
    error_classification,
    mysql_session_settings,
    server_check,
    server_connections_and_poolers,
)
from zaqar.storage.sqlalchemy.database_interface import SqlDatabase
from zaqar.storage.sqlalchemy.pooler_and_connection_options import (
    SqlConnectionSettings,
)
from zaqar.storage.sqlalchemy.server_connections_and_poolers import Connector
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.transaction_and_statement_retries import (
    ConflictError,
    ConnectionLostError,
    Retries,
    TransientError,
)
from zaqar.storage.store_watch_interface import OnChange, Watch

LOG = logging.getLogger(__name__)

P = ParamSpec('P')
T = TypeVar('T')

#: Seconds to wait for a connection while all are in use.
POOL_TIMEOUT = 1.0

#: Seconds after which a call ends, whatever it waits for.
DEADLINE = 4.0

#: Seconds of silence that tell of the server, not of a request that is late.
FAIR_WAIT = 1.0

#: Connections that stay open, at most.
KEPT_CONNECTIONS = 10


class ServerDatabase(SqlDatabase):
    """PostgreSQL, MariaDB or MySQL, through SQLAlchemy's pool.

    :ivar users: stores that have it open
    """

    def __init__(self, url: sa.URL, settings: SqlConnectionSettings) -> None:
        self._key = (url, settings)
        self.users = 0
        self._settings = settings
        self.dialect = url.get_backend_name().replace('mariadb', 'mysql')
        self._postgresql = self.dialect == 'postgresql'
        rest, self._arguments = dbapi_url_options_and_timeouts.arguments(url)
        self._connector = Connector(settings.pooler, url)
        size = min(KEPT_CONNECTIONS, settings.max_connections)
        self._engine = sa.create_engine(
            rest,
            pool_size=size,
            max_overflow=settings.max_connections - size,
            pool_timeout=POOL_TIMEOUT,
            # Every transaction ends here, so there is nothing to reset.
            pool_reset_on_return=None,
            connect_args=self._arguments,
        )
        connect = (
            self._connector.connect
            if self._postgresql
            else server_connections_and_poolers.connect_mysql
        )
        sa.event.listen(self._engine, 'do_connect', connect)
        sa.event.listen(self._engine, 'connect', self._prepare)

    def check_room(self) -> None:
        """Do nothing: the server watches its own disk."""

    def read_latest(
        self,
        work: Callable[Concatenate[SqlSession, P], T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        def wait_and_work(session: SqlSession) -> T:
            if not self.is_galera or self._settings.galera_sync_wait:
                return work(session, *args, **options)
            session.run(mysql_session_settings.SET_SYNC_WAIT, {})
            result = work(session, *args, **options)
            session.run('SET SESSION wsrep_sync_wait = DEFAULT', {})
            return result

        return self.read(wait_and_work)

    def write_or_conflict(
        self,
        work: Callable[Concatenate[SqlSession, P], T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        return self._run(
            lambda session: work(session, *args, **options),
            commit=True,
            repeats_conflicts=False,
        )

    def watch(self, changed: OnChange) -> Watch | None:
        if not self._postgresql:
            return None
        # Its driver is not installed where another server is used.
        from zaqar.storage.sqlalchemy import postgresql_watch

        dialect = self._engine.dialect
        places, options = dialect.create_connect_args(self._engine.url)
        options.update(self._arguments)
        return postgresql_watch.open_watch(
            self._connector,
            lambda: self._connector.connect(dialect, None, places, options),
            changed,
        )

    def now(self) -> int:
        sql = (
            'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)'
            if self._postgresql
            else 'SELECT floor(unix_timestamp(sysdate(3)) * 1000)'
        )
        row = self.read(SqlSession.one, sql, {})
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Give back all connections once every store has closed it."""
        with _OPEN_LOCK:
            self.users -= 1
            if self.users > 0:
                return
            if _OPEN.get(self._key) is self:
                del _OPEN[self._key]
        self._engine.dispose()

    def check(self) -> None:
        """Refuse a server that answers but cannot be used."""
        try:
            with self._engine.connect() as connection:
                server_check.check(
                    connection, is_pooled=self._connector.is_pooled
                )
        except sa.exc.DBAPIError as error:
            if error_classification.is_refusal(self.dialect, error.orig):
                raise ConfigurationError(one_line(error.orig)) from None
            LOG.warning(
                'The database does not answer yet: %s',
                one_line(error.orig),
            )

    def _prepare(self, connection: Any, _record: Any) -> None:
        if self._postgresql:
            # Done by the connector.
            return
        traits = mysql_session_settings.prepare(
            connection, sync_wait=self._settings.galera_sync_wait
        )
        self.is_galera = traits.is_galera
        self.takes_compounds = traits.takes_compounds

    def _run(
        self,
        work: Callable[[SqlSession], T],
        *,
        commit: bool,
        repeats_conflicts: bool = True,
    ) -> T:
        if not request_deadline.left(DEADLINE):
            # Any answer would be too late, and seem to be a lost connection.
            raise StoreUnavailable
        start = time.monotonic()
        end = request_deadline.cap(start + DEADLINE)
        retries = Retries(start, end)
        while True:
            try:
                with self._session(commit, end) as session:
                    return work(session)
            except TransientError as error:
                if isinstance(error, ConflictError) and not repeats_conflicts:
                    raise
                retries.wait(error)

    @contextlib.contextmanager
    def _session(self, transaction: bool, end: float) -> Iterator[SqlSession]:
        pool = self._engine.pool
        connection = self._connect()
        try:
            # A connection class of ours, on both engines.
            connection.driver_connection.deadline = end
            cursor = connection.cursor()
            session = SqlSession(
                cursor,
                self.dialect,
                takes_compounds=self.takes_compounds,
                spans_nodes=self.is_galera,
            )
            if transaction:
                session.begin(self._connector.begin)
            yield session
            if transaction:
                session.commit()
            cursor.close()
        except BaseException as error:
            self._handle_failure(connection, pool, error, transaction, end)
            raise
        else:
            connection.close()

    def _connect(self) -> Any:
        dbapi_error = self._engine.dialect.loaded_dbapi.Error
        try:
            return self._engine.raw_connection()
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, dbapi_error) as error:
            raise ConnectionLostError from error

    def _handle_failure(
        self,
        connection: Any,
        pool: sa.Pool,
        error: BaseException,
        transaction: bool,
        end: float,
    ) -> None:
        """Clean up or close the connection; raise what may be retried."""
        dbapi_error = self._engine.dialect.loaded_dbapi.Error
        broken = isinstance(error, dbapi_error) and (
            self._engine.dialect.is_disconnect(error, connection, None)
            or error_classification.is_connection_loss(self.dialect, error)
        )
        try:
            if broken:
                driver_connection = connection.driver_connection
                connection.invalidate()
                if self._engine.pool is pool and not _is_cut(
                    end, driver_connection.allowed
                ):
                    self._connector.note_loss(driver_connection)
                    # The others of this pool are most likely broken, too.
                    self._engine.dispose()
            elif transaction:
                connection.cursor().execute('ROLLBACK')
        except dbapi_error:
            connection.invalidate()
        finally:
            connection.close()
        if broken:
            raise ConnectionLostError from error
        if error_classification.is_conflict(self.dialect, error):
            raise ConflictError from error


def _is_cut(end: float, allowed: float) -> bool:
    """Tell whether our deadline, not the server, ended a connection.

    :param allowed: seconds that there were for the latest answer
    """
    return allowed < FAIR_WAIT and time.monotonic() >= end


_OPEN: dict[tuple[sa.URL, SqlConnectionSettings], ServerDatabase] = {}
_OPEN_LOCK = threading.Lock()
# A child would share the sockets of its parent.
os.register_at_fork(after_in_child=_OPEN.clear)


def open_server(
    url: sa.URL, settings: SqlConnectionSettings
) -> ServerDatabase:
    """Return a database, whose connections all of its stores share."""
    with _OPEN_LOCK:
        database = _OPEN.get((url, settings))
        if database is None:
            database = ServerDatabase(url, settings)
            _OPEN[url, settings] = database
        database.users += 1
    return database


def open_checked(url: sa.URL, options: Mapping[str, Any]) -> ServerDatabase:
    """Open a database that answers and can be used, or does not answer yet.

    :raises ConfigurationError: it cannot be used
    """
    try:
        database = open_server(url, SqlConnectionSettings.of(options))
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
