# SPDX-License-Identifier: Apache-2.0
"""The declaration of the Redis driver: options, and how stores are opened.

Nothing here imports the client library: a service that uses another driver
needs none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from zaqar.errors import ConfigurationError
from zaqar.storage import abstract_stores
from zaqar.storage.driver_declaration import Capability, Driver
from zaqar.storage.redis import uri_parsing as uris

if TYPE_CHECKING:
    from zaqar.storage.redis.retrying_client import RedisClient

_URI = """
redis://[user:password@]host[:6379] for one server;
redis://[...@]sentinel1[:26379],sentinel2?master=NAME for the primary that
Sentinels name; redis://[...@]/path/to.sock for a UNIX socket;
redis+cluster://[...@]host1[:6379],host2 for a cluster. rediss instead of
redis, or ssl=true, means TLS. Behind a question mark: dbid (0), the database,
except in a cluster; prefix (zq) of all keys; socket_timeout (2),
seconds to wait for an answer, at most 3; sentinel_username and
sentinel_password; ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs and
ssl_check_hostname, which override the options of these names. Special
characters of a password are written as %XX.
"""

_WAITING: Sequence[cfg.Opt] = [
    cfg.IntOpt(
        'wait_replicas',
        default=0,
        min=0,
        help='Number of replicas that must have a change before it is '
        'acknowledged. If they do not within wait_timeout, the answer is 503, '
        'and the change may be made nevertheless. 0 waits for none: a '
        'failover may then lose what was acknowledged a moment before.',
    ),
    cfg.FloatOpt(
        'wait_timeout',
        default=1.0,
        min=0.001,
        max=2.0,
        help='Seconds to wait for wait_replicas.',
    ),
]


def _opts(other: str) -> Sequence[cfg.Opt]:
    return [
        cfg.StrOpt(
            'uri',
            default='redis://127.0.0.1:6379',
            secret=True,
            help=f'{" ".join(_URI.split())} Unset: that of the {other} store, '
            'if it is a Redis with a uri, else the default.',
        ),
        cfg.IntOpt(
            'max_reconnect_attempts',
            default=10,
            min=0,
            help='Retries of a call while the server is unreachable. There '
            'are at most three attempts, within five seconds.',
        ),
        cfg.FloatOpt(
            'reconnect_sleep',
            default=1.0,
            min=0.0,
            help='Maximum wait in seconds before the third attempt; the '
            'second is immediate.',
        ),
        cfg.FloatOpt(
            'connect_timeout',
            default=1.0,
            min=0.01,
            max=2.0,
            help='Seconds to wait for a connection.',
        ),
        *_WAITING,
        *_ssl_opts(),
    ]


def _ssl_opts() -> Sequence[cfg.Opt]:
    return [
        cfg.StrOpt(
            'ssl_ca_certs',
            help='File of the authorities that may have signed the '
            "server's certificate, in PEM. Unset: those of the system.",
        ),
        cfg.StrOpt(
            'ssl_certfile',
            help='File of the client certificate, in PEM, for servers that '
            'require one.',
        ),
        cfg.StrOpt(
            'ssl_keyfile', help='File of the key of ssl_certfile, in PEM.'
        ),
        cfg.StrOpt(
            'ssl_cert_reqs',
            default='CERT_REQUIRED',
            choices=[
                ('CERT_REQUIRED', 'it must be signed by ssl_ca_certs'),
                ('CERT_OPTIONAL', 'as CERT_REQUIRED, for a client'),
                ('CERT_NONE', 'any server is accepted'),
            ],
            help="How the server's certificate is verified.",
        ),
        cfg.BoolOpt(
            'ssl_check_hostname',
            default=True,
            help="Whether the server's certificate must name the host of the "
            'URI.',
        ),
    ]


MESSAGE_OPTS = _opts('management')
MANAGEMENT_OPTS = _opts('message')


def open_messages(
    uri: str, options: Mapping[str, Any]
) -> abstract_stores.MessageStore:
    client = _open(uri, options)
    from zaqar.storage.redis.message_store import RedisMessageStore

    return RedisMessageStore(client)


def open_management(
    uri: str, options: Mapping[str, Any]
) -> abstract_stores.ManagementStore:
    client = _open(uri, options)
    from zaqar.storage.redis.management_store import RedisManagementStore

    return RedisManagementStore(client)


def _open(uri: str, options: Mapping[str, Any]) -> RedisClient:
    settings = uris.parse(uri, options)
    try:
        from zaqar.storage.redis import server_check
        from zaqar.storage.redis.retrying_client import RedisClient
    except ImportError as error:
        raise ConfigurationError(
            f'the client library is missing ({error}): pip install '
            "'redis[hiredis]'"
        ) from None
    client = RedisClient(settings)
    try:
        server_check.check(client, settings)
    except BaseException:
        client.close()
        raise
    return client


DRIVER = Driver(
    name='redis',
    schemes=('redis', 'rediss'),
    capabilities=(
        Capability.FIFO,
        Capability.CLAIMS,
        Capability.AOD,
        Capability.HIGH_THROUGHPUT,
    ),
    open_messages=open_messages,
    open_management=open_management,
    message_opts=MESSAGE_OPTS,
    management_opts=MANAGEMENT_OPTS,
)
