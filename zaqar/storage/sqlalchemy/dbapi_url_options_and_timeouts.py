# SPDX-License-Identifier: Apache-2.0
"""Arguments of drivers: options of a URL, and time-outs of all waits."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import asbool

from zaqar.errors import ConfigurationError

#: Seconds in which a server must accept a connection.
CONNECT_TIMEOUT = 2

#: MySQL's flag for counts of the rows that an UPDATE finds.
CLIENT_FLAGS = 1 << 1


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


def number_or_none(text: str) -> int | None:
    """Return the number in a text, None if it is empty or 'none'."""
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
        'prepare_threshold': number_or_none,
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
