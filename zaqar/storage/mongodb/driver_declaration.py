# SPDX-License-Identifier: Apache-2.0
"""Declarations of the MongoDB drivers: options, and how stores are opened.

``mongodb.fifo`` hands messages out in queue order, however many clients claim
concurrently; with ``mongodb`` concurrent claims skip each other's messages.

Nothing here imports the client library: a service that uses another driver
needs none.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from oslo_config import cfg

from zaqar.errors import ConfigurationError
from zaqar.storage import abstract_stores
from zaqar.storage.driver_declaration import Capability, Driver
from zaqar.storage.mongodb import pool_uri_options

#: Default prefix of the names of databases.
DATABASE = 'zaqar'

#: Default number of databases of a message store.
PARTITIONS = 2

_CAPABILITIES = (
    Capability.CLAIMS,
    Capability.DURABILITY,
    Capability.AOD,
    Capability.HIGH_THROUGHPUT,
)


def open_management(
    uri: str, options: Mapping[str, Any]
) -> abstract_stores.ManagementStore:
    store: abstract_stores.ManagementStore = _factory().open_management(
        uri, options, database=options.get('database') or DATABASE
    )
    return store


def open_messages(
    uri: str,
    options: Mapping[str, Any],
    *,
    kind: str = 'messages',
    strictly: bool = False,
) -> abstract_stores.MessageStore:
    """Open a message store; see :mod:`.store_factory`."""
    store: abstract_stores.MessageStore = _factory().open_messages(
        uri,
        options,
        kind=kind,
        strictly=strictly,
        database=options.get('database') or DATABASE,
        partitions=options.get('partitions') or PARTITIONS,
    )
    return store


def check_pool(uri: str, _folder: str) -> None:
    pool_uri_options.check(uri)


def _factory() -> ModuleType:
    try:
        from zaqar.storage.mongodb import store_factory
    except ImportError as error:
        raise ConfigurationError(
            f'the client library is missing ({error}): pip install pymongo'
        ) from None
    return store_factory


def _options(plane: str) -> Sequence[cfg.Opt]:
    options: list[cfg.Opt] = [
        cfg.StrOpt(
            'uri',
            help='Connection string of a replica set or of mongos: '
            'mongodb://user:password@host1,host2,host3/?replicaSet=name'
            '&tls=true. A server that is not replicated is refused unless '
            '[DEFAULT] unreliable. Writes wait for a majority and its '
            'journals, unless w and journal here say otherwise.',
            secret=True,
        ),
        cfg.StrOpt(
            'database',
            help='Prefix of the names of all databases. With another prefix '
            'the store is another, empty one.',
            default=DATABASE,
        ),
        cfg.StrOpt(
            'ssl_ca_certs',
            help='File with the certificates of the authorities that sign '
            'those of the servers. Unset: those of the system. Only with '
            'tls=true in the URI, as are the three options below.',
        ),
        cfg.StrOpt('ssl_certfile', help='File with the client certificate.'),
        cfg.StrOpt(
            'ssl_keyfile',
            help='File with the key of ssl_certfile. Unset: it is in '
            'ssl_certfile.',
        ),
        cfg.StrOpt(
            'ssl_cert_reqs',
            help='How the certificates of the servers are checked.',
            default='CERT_REQUIRED',
            choices=[
                ('CERT_REQUIRED', 'they must be valid'),
                ('CERT_OPTIONAL', 'the same'),
                ('CERT_NONE', 'not at all: any server is accepted'),
            ],
        ),
    ]
    if plane == 'message_store':
        options.append(
            cfg.IntOpt(
                'partitions',
                default=PARTITIONS,
                min=1,
                help='Number of databases that queues are spread over. Never '
                'change it: most queues would be looked up in the wrong '
                'database and appear empty.',
            )
        )
    return options + _ignored()


def _ignored() -> list[cfg.Opt]:
    """Return options that existing files may hold."""
    numbers = [
        cfg.IntOpt('max_attempts', default=1000, min=0),
        cfg.FloatOpt('max_retry_sleep', default=0.1),
        cfg.FloatOpt('max_retry_jitter', default=0.005),
        cfg.IntOpt('max_reconnect_attempts', default=10),
        cfg.FloatOpt('reconnect_sleep', default=0.02),
    ]
    for option in numbers:
        option.deprecated_for_removal = True
        option.deprecated_reason = 'Tries are bounded by 5 seconds instead.'
        option.help = 'Ignored.'
    return numbers


DRIVER = Driver(
    name='mongodb',
    schemes=('mongodb',),
    capabilities=_CAPABILITIES,
    open_messages=open_messages,
    open_management=open_management,
    message_opts=_options('message_store'),
    management_opts=_options('management_store'),
    check_pool=check_pool,
)

FIFO = dataclasses.replace(
    DRIVER,
    name='mongodb.fifo',
    schemes=('mongodb.fifo',),
    capabilities=(Capability.FIFO, *_CAPABILITIES),
    open_messages=functools.partial(
        open_messages, kind='messages_fifo', strictly=True
    ),
    falls_back_on='mongodb',
)
