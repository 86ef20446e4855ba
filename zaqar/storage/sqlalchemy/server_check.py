# SPDX-License-Identifier: Apache-2.0
"""Checks of a server at start-up: version, isolation level, tables."""

import sqlalchemy as sa

from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy import database_schema_revision

#: Oldest servers, by the name of the product.
OLDEST = {'PostgreSQL': (13, 0), 'MariaDB': (10, 6), 'MySQL': (8, 0)}


def check(connection: sa.Connection, *, is_pooled: bool) -> None:
    """Refuse a server that cannot be used.

    :param is_pooled: whether a pooler stands before it
    """
    _check_version(connection.dialect)
    if is_pooled and connection.dialect.name == 'postgresql':
        _check_isolation(connection)
    database_schema_revision.check(connection)


def _check_version(dialect: sa.Dialect) -> None:
    product = 'PostgreSQL'
    if dialect.name != 'postgresql':
        is_mariadb = getattr(dialect, 'is_mariadb', False)
        product = 'MariaDB' if is_mariadb else 'MySQL'
    version = dialect.server_version_info or (0,)
    if tuple(version[:2]) < OLDEST[product]:
        raise ConfigurationError(
            f'{product} {".".join(map(str, version[:2]))} is too old; '
            f'{".".join(map(str, OLDEST[product]))} is needed'
        )


def _check_isolation(connection: sa.Connection) -> None:
    """Refuse a default level that cannot be set behind a pooler."""
    level = connection.exec_driver_sql(
        'SHOW default_transaction_isolation'
    ).scalar()
    if level != 'read committed':
        raise ConfigurationError(
            f'the server\'s default_transaction_isolation is "{level}", '
            'which cannot be changed through a pooler; run "ALTER ROLE '
            "... SET default_transaction_isolation = 'read committed'\""
        )
