# SPDX-License-Identifier: Apache-2.0
"""How a database driver is given its settings, and poolers in between.

A pooler that lends a connection for one transaction (PgBouncer's
``pool_mode = transaction``) gives the next one to another client of it. What
PostgreSQL remembers for a connection is then another client's: a prepared
statement, a setting, a lock. It refuses start-up parameters that it does not
know, too.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import asbool

from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy.deadline import limit, watched

LOG = logging.getLogger(__name__)

#: Seconds in which a server is to let us in.
CONNECT_TIMEOUT = 2

#: Milliseconds after which PostgreSQL ends a statement by itself.
STATEMENT_TIMEOUT = 4000

#: What a pooler says of a start-up parameter.
REFUSED_PARAMETER = 'unsupported startup parameter'


class Pooler(enum.StrEnum):
    """What stands before PostgreSQL."""

    AUTO = 'auto'
    NONE = 'none'
    TRANSACTION = 'transaction'


class Connector:
    """Connects to PostgreSQL, and knows whether a pooler is in between.

    :ivar is_pooled: whether one is, as far as is known
    :raises ConfigurationError: the URL asks for what a pooler does not give
    """

    def __init__(self, pooler: Pooler, url: sa.URL) -> None:
        if pooler is Pooler.TRANSACTION:
            _refuse_sessions(url)
        self._pooler = pooler
        self._has_options = 'options' in url.query
        self.is_pooled = pooler is Pooler.TRANSACTION

    @property
    def begin(self) -> str:
        """Return what begins a transaction, in one round trip."""
        if not self.is_pooled:
            return 'BEGIN'
        return (
            'BEGIN ISOLATION LEVEL READ COMMITTED; '
            f'SET LOCAL statement_timeout = {STATEMENT_TIMEOUT}'
        )

    def connect(
        self, dialect: Any, _record: Any, args: Any, options: Any
    ) -> Any:
        """Connect, in SQLAlchemy's stead."""
        module = dialect.loaded_dbapi
        connect: Callable[..., Any] = watched(module).connect
        options['autocommit'] = True
        if not self.is_pooled:
            try:
                connection = connect(*args, **self._with_settings(options))
            except module.OperationalError as error:
                # Settings of the URI are not ours to leave out.
                is_ours = not self._has_options
                if REFUSED_PARAMETER not in str(error) or not is_ours:
                    raise
                if self._pooler is Pooler.NONE:
                    raise
            else:
                if self._pooler is Pooler.NONE or _is_direct(connection):
                    return connection
                connection.prepare_threshold = None
                self._note()
                return connection
            self._note()
        return connect(*args, **{**options, 'prepare_threshold': None})

    def _with_settings(self, options: dict[str, Any]) -> dict[str, Any]:
        if self._has_options:
            return options
        # Planning takes longer than the statements themselves, and what they
        # read by does not depend on values.
        settings = (
            f'-c statement_timeout={STATEMENT_TIMEOUT} '
            '-c plan_cache_mode=force_generic_plan '
            '-c default_transaction_isolation=read\\ committed'
        )
        return {**options, 'options': settings}

    def _note(self) -> None:
        if not self.is_pooled:
            self.is_pooled = True
            LOG.info(
                'A pooler stands before PostgreSQL: prepared statements and '
                'start-up parameters are left out'
            )


def _is_direct(connection: Any) -> bool:
    """Tell whether the server is the one that let us in.

    Poolers make up the process number that a client is given.
    """
    limit(connection, 'postgresql', time.monotonic() + CONNECT_TIMEOUT)
    row = connection.execute('SELECT pg_backend_pid()').fetchone()
    return bool(row[0] == connection.info.backend_pid)


def _refuse_sessions(url: sa.URL) -> None:
    threshold = str(url.query.get('prepare_threshold', 'none'))
    for name, is_given in (
        ('options', 'options' in url.query),
        ('prepare_threshold', _number_or_none(threshold) is not None),
    ):
        if is_given:
            raise ConfigurationError(
                f'"{name}" in the URI does not work with sql_pooler = '
                'transaction; leave it out'
            )


def typed(url: sa.URL) -> tuple[sa.URL, Mapping[str, Any]]:
    """Take values that are no text out of a URL.

    The drivers take them as they come, and fail much later.

    :returns: the URL without them, and the values by the drivers' names
    :raises ConfigurationError: one is of the wrong type
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


def _truth(text: str) -> bool:
    return bool(asbool(text))


_TYPES: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
    'postgresql': {
        'autocommit': _truth,
        'connect_timeout': int,
        'keepalives': int,
        'keepalives_count': int,
        'keepalives_idle': int,
        'keepalives_interval': int,
        'prepare_threshold': _number_or_none,
        'tcp_user_timeout': int,
    },
    'mysql': {
        'autocommit': _truth,
        'binary_prefix': _truth,
        'client_flag': int,
        'connect_timeout': int,
        'defer_connect': _truth,
        'local_infile': _truth,
        'max_allowed_packet': int,
        'read_timeout': int,
        'ssl_disabled': _truth,
        'ssl_verify_cert': _truth,
        'ssl_verify_identity': _truth,
        'use_unicode': _truth,
        'write_timeout': int,
    },
}


def arguments(url: sa.URL) -> tuple[sa.URL, Mapping[str, Any]]:
    """Return a URL and what else its driver is called with.

    Every wait for the server is bounded to a few seconds, unless the URL has
    other bounds.

    :raises ConfigurationError: see :func:`typed`
    """
    rest, given = typed(url)
    if url.get_backend_name() == 'postgresql':
        settings: dict[str, Any] = {
            'connect_timeout': CONNECT_TIMEOUT,
            'tcp_user_timeout': 4000,
            'application_name': 'zaqar',
        }
    else:
        settings = {
            'connect_timeout': CONNECT_TIMEOUT,
            'read_timeout': 2,
            'write_timeout': 2,
            'charset': 'utf8mb4',
        }
    return rest, {
        **{
            name: value
            for name, value in settings.items()
            if name not in rest.query
        },
        **given,
    }
