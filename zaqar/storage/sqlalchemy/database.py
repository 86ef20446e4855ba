# SPDX-License-Identifier: Apache-2.0
"""A database by its URI: connections, transactions, retries, errors."""

from __future__ import annotations

import abc
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import sqlalchemy as sa

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.storage.sqlalchemy import connecting, schema
from zaqar.storage.sqlalchemy.connecting import Connector, Pooler
from zaqar.storage.sqlalchemy.deadline import limit
from zaqar.storage.sqlalchemy.session import Session

LOG = logging.getLogger(__name__)

T = TypeVar('T')

#: Tries of a piece of work that meets a dead connection or a deadlock, and
#: the pauses before them in seconds, at most.
PAUSES = (0.0, 0.02, 0.05, 0.1, 0.3, 0.6)

#: Tries that may end in a lost connection.
MOST_CONNECTIONS = 3

#: Seconds after which no further try is begun; it may have to connect first.
PATIENCE = 1.5

#: Seconds after which a call ends, whatever it waits for.
DEADLINE = 4.0

#: Oldest servers, by the name of the product.
OLDEST = {'PostgreSQL': (13, 0), 'MariaDB': (10, 6), 'MySQL': (8, 0)}


class Database(abc.ABC):
    """Where the tables are.

    :ivar dialect: ``sqlite``, ``postgresql`` or ``mysql``
    """

    dialect: str

    @abc.abstractmethod
    def read(self, work: Callable[[Session], T]) -> T:
        """Run work whose statements each commit by themselves.

        It may run more than once.

        :raises StoreUnavailable: the server does not answer
        """

    @abc.abstractmethod
    def write(self, work: Callable[[Session], T]) -> T:
        """Run work in a transaction, committed durably before the return.

        It may run more than once: also after a commit of which nobody knows
        whether it happened.

        :raises StoreUnavailable: the server does not answer
        """

    @abc.abstractmethod
    def now(self) -> int:
        """Return the server's time in milliseconds."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give back all connections."""

    @abc.abstractmethod
    def check_room(self) -> None:
        """Refuse what makes a database larger while it can hardly grow.

        :raises StoreUnavailable: the rest is for what frees room
        """

    def ping(self) -> None:
        """Return when the server answers what is in a table.

        A node of a Galera cluster that has lost the others answers all else.
        """
        sql = 'SELECT version_num FROM alembic_version'
        self.read(lambda session: session.one(sql, {}))


class ServerDatabase(Database):
    """PostgreSQL, MariaDB or MySQL, through SQLAlchemy's pool.

    :param pooler: what stands before PostgreSQL
    :raises ConfigurationError: a value in the URL is of the wrong type, or
        needs what a pooler does not give
    """

    def __init__(self, url: sa.URL, pooler: Pooler = Pooler.AUTO) -> None:
        self.dialect = url.get_backend_name().replace('mariadb', 'mysql')
        self._postgresql = self.dialect == 'postgresql'
        rest, arguments = connecting.arguments(url)
        self._connector = Connector(pooler, url)
        self._engine = sa.create_engine(
            rest,
            pool_size=10,
            max_overflow=10,
            pool_timeout=PATIENCE,
            # Every transaction is ended here, so there is nothing to reset.
            pool_reset_on_return=None,
            connect_args=arguments,
        )
        if self._postgresql:
            sa.event.listen(
                self._engine, 'do_connect', self._connector.connect
            )
        sa.event.listen(self._engine, 'connect', self._prepare)

    def check_room(self) -> None:
        """Leave that to the server, which knows its disk."""

    def read(self, work: Callable[[Session], T]) -> T:
        return self._try(work, transaction=False)

    def write(self, work: Callable[[Session], T]) -> T:
        return self._try(work, transaction=True)

    def now(self) -> int:
        sql = (
            'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)'
            if self._postgresql
            else 'SELECT floor(unix_timestamp(sysdate(3)) * 1000)'
        )
        row = self.read(lambda session: session.one(sql, {}))
        return int(row[0]) if row else 0

    def close(self) -> None:
        self._engine.dispose()

    def check(self) -> None:
        """Complain about a server that answers but cannot be used.

        :raises ConfigurationError: it refuses us, is too old, or has not got
            our tables
        """
        try:
            with self._engine.connect() as connection:
                self._check_version(connection)
                self._check_isolation(connection)
                schema.check(connection)
        except sa.exc.DBAPIError as error:
            if _is_refusal(self.dialect, error.orig):
                raise ConfigurationError(_one_line(error.orig)) from None
            LOG.warning(
                'The database does not answer yet: %s',
                _one_line(error.orig),
            )

    def _check_version(self, connection: sa.Connection) -> None:
        product = 'PostgreSQL'
        found = self._engine.dialect.server_version_info or (0,)
        if not self._postgresql:
            is_mariadb = getattr(self._engine.dialect, 'is_mariadb', False)
            product = 'MariaDB' if is_mariadb else 'MySQL'
        if tuple(found[:2]) < OLDEST[product]:
            raise ConfigurationError(
                f'{product} {".".join(map(str, found[:2]))} is too old; '
                f'{".".join(map(str, OLDEST[product]))} is needed'
            )

    def _check_isolation(self, connection: sa.Connection) -> None:
        """Complain about a level that cannot be set behind a pooler."""
        if not self._postgresql or not self._connector.is_pooled:
            return
        level = connection.exec_driver_sql(
            'SHOW default_transaction_isolation'
        ).scalar()
        if level != 'read committed':
            raise ConfigurationError(
                f'the server\'s default_transaction_isolation is "{level}", '
                'which cannot be changed through a pooler; run "ALTER ROLE '
                "... SET default_transaction_isolation = 'read committed'\""
            )

    def _prepare(self, connection: Any, _record: Any) -> None:
        """Let every statement commit by itself unless we say BEGIN."""
        if self._postgresql:
            # Set when it was made.
            return
        connection.autocommit(True)
        with connection.cursor() as cursor:
            # Gap locks of the default level make claimers wait.
            cursor.execute(
                'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED'
            )
            cursor.execute('SET SESSION innodb_lock_wait_timeout = 3')

    def _try(self, work: Callable[[Session], T], *, transaction: bool) -> T:
        begun = time.monotonic()
        for number, pause in enumerate(PAUSES, start=1):
            if time.monotonic() + pause > begun + PATIENCE:
                break
            if pause:
                # Rivals that met once are not to meet again.
                time.sleep(pause * random.uniform(0.5, 1))
            try:
                with self._session(transaction, begun + DEADLINE) as session:
                    return work(session)
            except _Transient as error:
                cause = error.__cause__
                if isinstance(error, _Lost) and number >= MOST_CONNECTIONS:
                    break
        LOG.error('The database does not answer: %s', _one_line(cause))
        raise StoreUnavailable from cause

    @contextlib.contextmanager
    def _session(
        self, transaction: bool, deadline: float
    ) -> Iterator[Session]:
        connection = self._connect()
        try:
            limit(connection.driver_connection, self.dialect, deadline)
            cursor = connection.cursor()
            if transaction:
                cursor.execute(self._connector.begin)
            yield Session(cursor, self.dialect)
            if transaction:
                cursor.execute('COMMIT')
            cursor.close()
        except BaseException as error:
            self._give_up(connection, error, transaction)
            raise
        else:
            connection.close()

    def _connect(self) -> Any:
        refusals = (
            sa.exc.DBAPIError,
            sa.exc.TimeoutError,
            self._engine.dialect.loaded_dbapi.Error,
        )
        try:
            return self._engine.raw_connection()
        except refusals as error:
            raise _Lost from error

    def _give_up(
        self, connection: Any, error: BaseException, transaction: bool
    ) -> None:
        """Leave the connection clean or closed; pass on what may be tried."""
        dbapi_error = self._engine.dialect.loaded_dbapi.Error
        broken = isinstance(error, dbapi_error) and (
            self._engine.dialect.is_disconnect(error, connection, None)
            or _is_lost(self.dialect, error)
        )
        try:
            if broken:
                connection.invalidate()
                # The others are most likely as dead.
                self._engine.dispose()
            elif transaction:
                connection.cursor().execute('ROLLBACK')
        except dbapi_error:
            connection.invalidate()
        finally:
            connection.close()
        if broken:
            raise _Lost from error
        if _is_conflict(self.dialect, error):
            raise _Transient from error


class _Transient(Exception):
    """The work may be tried again; the reason is its cause."""


class _Lost(_Transient):
    """There is no connection, or none any more."""


#: SQLSTATEs and MySQL error numbers.
_CONFLICTS = {
    '40001',
    '40P01',
    '55P03',
    # Two tries of one claim at once: the second finds it made.
    '23505',
    1213,
    1205,
    1020,
}
_LOST = {
    '08000',
    '08001',
    '08003',
    '08006',
    # What PgBouncer says of all that ends a connection.
    '08P01',
    # A prepared statement is not there, or there already: a pooler that
    # nobody told us of has given us another's connection.
    '26000',
    '42P05',
    '57P01',
    '57P02',
    '57P03',
    '57014',
    '53300',
    '25006',
    1040,
    # A node of a Galera cluster that is not with the others: before a
    # statement, and at its commit.
    1047,
    1180,
    1053,
    1290,
    # Ended by an administrator, or by the server's own limit.
    1317,
    1969,
    1836,
    1927,
    2003,
    2006,
    2013,
    2055,
}
_REFUSALS = {
    '28000',
    '28P01',
    '3D000',
    '42501',
    1044,
    1045,
    1049,
    1698,
}


def _code(dialect: str, error: Any) -> Any:
    if dialect == 'postgresql':
        return getattr(error, 'sqlstate', None)
    arguments = getattr(error, 'args', ())
    return arguments[0] if arguments else None


def _is_conflict(dialect: str, error: Any) -> bool:
    return _code(dialect, error) in _CONFLICTS


def _is_lost(dialect: str, error: Any) -> bool:
    return _code(dialect, error) in _LOST


def _is_refusal(dialect: str, error: Any) -> bool:
    text = str(error)
    return (
        _code(dialect, error) in _REFUSALS
        # A refusal at connect carries no SQLSTATE with this driver.
        or 'authentication failed' in text
        or ('database "' in text and 'does not exist' in text)
        or ('role "' in text and 'does not exist' in text)
        or 'no such database' in text
        or 'no such user' in text
        or connecting.REFUSED_PARAMETER in text
        # The driver's own, of the URI.
        or 'invalid connection option' in text
    )


def _one_line(error: Any) -> str:
    return ' '.join(str(error).split())
