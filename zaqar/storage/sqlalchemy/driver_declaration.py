# SPDX-License-Identifier: Apache-2.0
"""The declaration of the SQL driver: options, and how stores are opened.

Nothing here imports SQLAlchemy: a service that uses another driver needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from zaqar.storage.driver_declaration import Capability, Driver
from zaqar.storage.sqlalchemy.pooler_and_connection_options import (
    BACKENDS,
    Pooler,
    SqlConnectionSettings,
)

if TYPE_CHECKING:
    import sqlalchemy as sa

    from zaqar.storage.sqlalchemy.database_interface import SqlDatabase

_SYNCHRONOUS = cfg.StrOpt(
    'sqlite_synchronous',
    default='FULL',
    choices=[
        ('FULL', 'what was acknowledged survives a power cut'),
        ('NORMAL', 'it survives the death of processes only; faster'),
    ],
    help='How durable a commit to SQLite is.',
)

# Beside the URI rather than in [storage]: stores and pools may be on different
# servers, of which one is behind a pooler and another is not.
_POOLER = cfg.StrOpt(
    'sql_pooler',
    default=Pooler.AUTO,
    choices=[
        (
            Pooler.AUTO,
            'detect a pooler, and assume that it lends transactions',
        ),
        (Pooler.NONE, 'there is none, or it lends whole sessions'),
        (Pooler.TRANSACTION, 'one lends transactions (PgBouncer, Odyssey)'),
    ],
    help='The pooler in front of PostgreSQL. With one that assigns a '
    'connection for one transaction, no prepared statements and no startup '
    'parameters are used.',
)

_MAX_CONNECTIONS = cfg.IntOpt(
    'sql_max_connections',
    default=SqlConnectionSettings.max_connections,
    min=1,
    help='Maximum number of connections of a process to the server. Stores '
    'with the same uri and the same options share them; a call waits for one '
    'for a second.',
)

_SYNC_WAIT = cfg.BoolOpt(
    'galera_sync_wait',
    default=SqlConnectionSettings.galera_sync_wait,
    help='Whether each transaction on a Galera node first waits until the '
    'node has applied what the others have committed (wsrep_sync_wait). '
    'Disable it only if all processes use the same node at any time: '
    'otherwise reads are stale, and deletions through a node that lags have '
    'no effect. Other servers ignore it.',
)

_URI = 'SQLAlchemy URL of the database: sqlite:////path/to/file, '
_URI += 'postgresql+psycopg://user:password@host/name or '
_URI += 'mysql+pymysql://user:password@host/name. '


def _uri_opt(other: str) -> cfg.Opt:
    return cfg.StrOpt(
        'uri',
        secret=True,
        help=f'{_URI}Unset: that of the {other} store, else a file '
        'zaqar.sqlite in state_path.',
    )


_SHARED = [_POOLER, _MAX_CONNECTIONS, _SYNC_WAIT, _SYNCHRONOUS]
MANAGEMENT_OPTS = [_uri_opt('message'), *_SHARED]
MESSAGE_OPTS = [
    _uri_opt('management'),
    cfg.IntOpt(
        'group_commit_window_ms',
        default=5,
        min=0,
        help='Milliseconds for which a post waits for a commit of the same '
        'process, beyond the time that commits usually take, to share the '
        'next one with others, and at most for which that one waits for '
        'them. So do claims and deletions on MariaDB and MySQL. 0 commits '
        'each alone. SQLite always shares.',
    ),
    *_SHARED,
]


def _lazily(name: str) -> Callable[..., Any]:
    """Return a function of :mod:`.store_factory`, which is imported late."""

    def run(*arguments: Any) -> Any:
        from zaqar.storage.sqlalchemy import store_factory

        return getattr(store_factory, name)(*arguments)

    return run


parse: Callable[[str], sa.URL] = _lazily('parse')
open_database: Callable[[str, Mapping[str, Any]], SqlDatabase] = _lazily(
    'open_database'
)
open_messages = _lazily('open_messages')
open_management = _lazily('open_management')

DRIVER = Driver(
    name='sqlalchemy',
    schemes=BACKENDS,
    capabilities=(
        Capability.FIFO,
        Capability.CLAIMS,
        Capability.DURABILITY,
        Capability.AOD,
    ),
    open_messages=open_messages,
    open_management=open_management,
    message_opts=MESSAGE_OPTS,
    management_opts=MANAGEMENT_OPTS,
    default_uri=_lazily('default_uri'),
    check_pool=_lazily('check_pool'),
)
