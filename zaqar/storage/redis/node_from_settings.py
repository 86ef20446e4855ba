# SPDX-License-Identifier: Apache-2.0
"""A node of Redis, made from the settings of its connections."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from redis import connection as _connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from zaqar.storage.redis.node_connection_pool import RedisNode, is_shareable
from zaqar.storage.redis.uri_parsing import ConnectionSettings, Host, Login

#: The client library gives its connections no types.
_redis: Any = _connection

#: Arguments that keep the client library from sending its name, which would
#: take two more round trips.
_NO_CLIENT_NAME: Mapping[str, None] = (
    {'driver_info': None}
    if 'driver_info' in inspect.signature(_redis.AbstractConnection).parameters
    else {'lib_name': None, 'lib_version': None}
)


def make_node(
    settings: ConnectionSettings,
    host: Host | None,
    *,
    credentials: Login | None = None,
    timeout: float | None = None,
) -> RedisNode:
    """Return a node, which connects when it is first used.

    :param host: None for the socket of the settings
    :param credentials: None for those of the settings
    :param timeout: seconds for connecting and for each answer; None for
        those of the settings
    """
    login = settings.credentials if credentials is None else credentials
    options: dict[str, Any] = {
        'username': login.username,
        'password': login.password,
        # Sentinels have no databases.
        'db': settings.database if credentials is None else 0,
        'socket_timeout': timeout or settings.read_timeout,
        'retry': Retry(NoBackoff(), 0),
        'protocol': 2,
        **_NO_CLIENT_NAME,
    }
    if host is None:
        options['path'] = settings.path
        return RedisNode(
            functools.partial(_redis.UnixDomainSocketConnection, **options),
            settings.path,
            is_shareable=is_shareable(settings),
        )
    options |= {
        'host': host[0],
        'port': host[1],
        'socket_connect_timeout': timeout or settings.connect_timeout,
        'socket_keepalive': True,
    }
    if settings.ssl is None:
        make = functools.partial(_redis.Connection, **options)
    else:
        make = functools.partial(
            _redis.SSLConnection, **options, **settings.ssl
        )
    return RedisNode(make, host[0], is_shareable=is_shareable(settings))
