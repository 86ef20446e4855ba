# SPDX-License-Identifier: Apache-2.0
"""The declaration of the Swift driver: options, and how a store is opened."""

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

from zaqar.errors import ConfigurationError
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.driver_declaration import Capability, Driver

MESSAGE_OPTS = [
    cfg.StrOpt(
        'uri',
        secret=True,
        help='User, password and project, as swift://user:password@/project. '
        'Characters with a meaning in URIs are escaped as %XX. Bodies of more '
        'than 4 KiB go to containers zaqar_bodies_* of that project; all '
        'else to the database of the management store, which must be '
        '"sqlalchemy".',
    ),
    cfg.StrOpt(
        'auth_url',
        default='http://127.0.0.1:5000/v3/',
        help='URL of Keystone, or one that ends in /v1.0 for tokens by Swift '
        'itself (tempauth), where the project is the account.',
    ),
    cfg.BoolOpt(
        'insecure',
        default=False,
        help='Whether certificates are not verified. Anyone on the network to '
        'Keystone or Swift can then read passwords and messages.',
    ),
    cfg.StrOpt(
        'project_domain_id',
        help='Id of the domain of the project, instead of its name.',
    ),
    cfg.StrOpt(
        'project_domain_name',
        default='Default',
        help='Name of the domain of the project.',
    ),
    cfg.StrOpt(
        'user_domain_id',
        help='Id of the domain of the user, instead of its name.',
    ),
    cfg.StrOpt(
        'user_domain_name',
        default='Default',
        help='Name of the domain of the user.',
    ),
    cfg.StrOpt(
        'region_name',
        help='Region of the Swift to use. Unset: the first in the catalogue.',
    ),
    cfg.StrOpt(
        'interface',
        default='public',
        help='Endpoint of Swift to use: public, internal or admin.',
    ),
    cfg.IntOpt(
        'max_connections',
        default=32,
        min=1,
        max=1024,
        help='Concurrent requests of a process, each on a persistent '
        'connection. Further ones wait.',
    ),
]


def open_messages(uri: str, options: Mapping[str, Any]) -> MessageStore:
    """Open the message store.

    :param options: with ``management``, URI and options of the management
        store, whose database takes the rows
    """
    try:
        from zaqar.storage.swift import store_factory
    except ImportError as error:
        raise ConfigurationError(
            f'the client library is missing ({error}): pip install '
            'python-swiftclient'
        ) from None
    return store_factory.open_messages(uri, options)


def open_management(uri: str, options: Mapping[str, Any]) -> ManagementStore:
    """Refuse: Swift is no management store."""
    raise ConfigurationError(
        'Swift keeps bodies of messages only; set [drivers] '
        'management_store = sqlalchemy'
    )


DRIVER = Driver(
    name='swift',
    schemes=('swift',),
    # Those of the rows.
    capabilities=(
        Capability.FIFO,
        Capability.CLAIMS,
        Capability.DURABILITY,
        Capability.AOD,
    ),
    open_messages=open_messages,
    open_management=open_management,
    message_opts=MESSAGE_OPTS,
    management_opts=[
        cfg.StrOpt(
            'uri', secret=True, help='Not used: Swift is no management store.'
        )
    ],
    rows_of='sqlalchemy',
)
