# SPDX-License-Identifier: Apache-2.0
"""Classification of the errors of the database drivers."""

from typing import Any

from zaqar.storage.sqlalchemy.server_connections_and_poolers import (
    REFUSED_PARAMETER,
)

#: SQLSTATEs and MySQL error numbers.
_CONFLICTS = {
    '40001',
    '40P01',
    '55P03',
    # Two concurrent tries of one claim: the second one meets the first.
    '23505',
    1213,
    1205,
    1020,
}
_CONNECTION_LOSSES = {
    '08000',
    '08001',
    '08003',
    '08006',
    # PgBouncer's code for everything that ends a connection.
    '08P01',
    # A prepared statement does not exist, or exists already: an undetected
    # pooler has lent us another client's connection.
    '26000',
    '42P05',
    '57P01',
    '57P02',
    '57P03',
    '57014',
    '53300',
    '25006',
    1040,
    # A node of a Galera cluster is cut off from the others: before a
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
_REFUSALS = {'28000', '28P01', '3D000', '42501', 1044, 1045, 1049, 1698}


def _code(dialect: str, error: Any) -> Any:
    if dialect == 'postgresql':
        return getattr(error, 'sqlstate', None)
    arguments = getattr(error, 'args', ())
    return arguments[0] if arguments else None


def is_conflict(dialect: str, error: Any) -> bool:
    """Tell whether a transaction failed because of a concurrent one."""
    return _code(dialect, error) in _CONFLICTS


def is_connection_loss(dialect: str, error: Any) -> bool:
    """Tell whether the connection cannot be used any more."""
    return _code(dialect, error) in _CONNECTION_LOSSES


def is_refusal(dialect: str, error: Any) -> bool:
    """Tell whether the server refused the login or the settings."""
    text = str(error)
    return (
        _code(dialect, error) in _REFUSALS
        # A refusal at connect carries no SQLSTATE with this driver.
        or 'authentication failed' in text
        or ('database "' in text and 'does not exist' in text)
        or ('role "' in text and 'does not exist' in text)
        or 'no such database' in text
        or 'no such user' in text
        or REFUSED_PARAMETER in text
        # An error of the driver about the URI.
        or 'invalid connection option' in text
    )
