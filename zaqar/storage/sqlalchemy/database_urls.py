# SPDX-License-Identifier: Apache-2.0
"""URLs of databases, as SQLAlchemy has them."""

import sqlalchemy as sa

from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy.pooler_and_connection_options import BACKENDS

#: The DBAPI drivers whose errors error_classification.py knows.
_DRIVERS = {'postgresql': 'psycopg', 'mysql': 'pymysql', 'mariadb': 'pymysql'}


def of_file(path: str) -> str:
    """Return the URI of an SQLite file."""
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
