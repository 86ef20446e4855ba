# SPDX-License-Identifier: Apache-2.0
"""The driver record that the entry point names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from oslo_config import cfg

from zaqar.errors import ConfigurationError
from zaqar.storage.driver_declaration import Capability, Driver
from zaqar_example.client import Client
from zaqar_example.stores import ManagementStore, MessageStore

OPTS = [
    cfg.StrOpt(
        'uri',
        help='Server and a place in it, as example://host:port/place.',
    )
]


def open_messages(uri: str, options: Mapping[str, Any]) -> MessageStore:
    """Open the message store of a place."""
    return MessageStore(_client(uri))


def open_management(uri: str, options: Mapping[str, Any]) -> ManagementStore:
    """Open the management store of a place."""
    return ManagementStore(_client(uri))


def _client(uri: str) -> Client:
    """Return a client, which connects when it is used first.

    :raises ConfigurationError: the URI is malformed; Zaqar shows the text
        with the name of the option, or as the answer to a pool's creation
    """
    try:
        parts = urlsplit(uri)
        host, port, place = parts.hostname, parts.port, parts.path.strip('/')
    except ValueError:
        raise ConfigurationError('the URI is malformed') from None
    if parts.scheme != 'example' or not (host and port and place):
        raise ConfigurationError('the URI must be example://host:port/place')
    return Client(host, port, place)


DRIVER = Driver(
    name='example',
    schemes=('example',),
    capabilities=(Capability.FIFO, Capability.CLAIMS),
    open_messages=open_messages,
    open_management=open_management,
    message_opts=OPTS,
    management_opts=OPTS,
)
