# SPDX-License-Identifier: Apache-2.0
"""Options of the database drivers that a pool's URI may have.

Not among them are those that read files of other kinds than certificates
(``read_default_file``, ``service``, ``passfile``), send files to the server
(``local_infile`` and the flag for it in ``client_flag``), write them
(``sslkeylogfile``) or load code (SQLAlchemy's own ``plugin``).
"""

from collections.abc import Iterator

import sqlalchemy as sa

from zaqar.storage import pool_uri_restrictions

_PSYCOPG = (
    'application_name',
    'channel_binding',
    'client_encoding',
    'connect_timeout',
    'gssencmode',
    'host',
    'hostaddr',
    'keepalives',
    'keepalives_count',
    'keepalives_idle',
    'keepalives_interval',
    'load_balance_hosts',
    'options',
    'port',
    'require_auth',
    'requirepeer',
    'ssl_max_protocol_version',
    'ssl_min_protocol_version',
    'sslcompression',
    'sslmode',
    'sslnegotiation',
    'sslpassword',
    'sslsni',
    'target_session_attrs',
    'tcp_user_timeout',
)
_PSYCOPG_FILES = ('sslcert', 'sslcrl', 'sslkey', 'sslrootcert')

_PYMYSQL = (
    'charset',
    'collation',
    'connect_timeout',
    'max_allowed_packet',
    'program_name',
    'read_timeout',
    'ssl_check_hostname',
    'ssl_cipher',
    'ssl_disabled',
    'ssl_key_password',
    'ssl_verify_cert',
    'ssl_verify_identity',
    'unix_socket',
    'write_timeout',
)
_PYMYSQL_FILES = ('ssl_ca', 'ssl_cert', 'ssl_key')


def check(url: sa.URL, folder: str) -> None:
    """Refuse what a pool may not name; see :mod:`.pool_uri_restrictions`.

    :param folder: below which SQLite files must be
    """
    backend = url.get_backend_name()
    if backend == 'sqlite':
        pool_uri_restrictions.check_options(_pairs(url), ())
        pool_uri_restrictions.check_below(str(url.database), folder)
    elif backend == 'postgresql':
        pool_uri_restrictions.check_options(
            _pairs(url), _PSYCOPG, _PSYCOPG_FILES
        )
    else:
        pool_uri_restrictions.check_options(
            _pairs(url), _PYMYSQL, _PYMYSQL_FILES
        )


def _pairs(url: sa.URL) -> Iterator[tuple[str, str]]:
    for name, values in url.normalized_query.items():
        for value in values:
            yield name, value
