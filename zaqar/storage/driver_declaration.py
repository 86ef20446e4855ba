# SPDX-License-Identifier: Apache-2.0
"""The declaration of a storage driver: what it says of itself."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from zaqar.storage.abstract_stores import ManagementStore, MessageStore


class Capability(enum.StrEnum):
    """A property beyond the contract, as flavors show it."""

    FIFO = 'FIFO'
    CLAIMS = 'CLAIMS'
    DURABILITY = 'DURABILITY'
    AOD = 'AOD'
    HIGH_THROUGHPUT = 'HIGH_THROUGHPUT'


@dataclass(frozen=True)
class Driver:
    """A backend: what an entry point of the group ``zaqar.storage`` names.

    The two functions take the URI and the options of the driver's group (or
    of a pool, which override them), already typed, by the names of the
    configuration file. They check the settings and, where it is reachable,
    the server.

    :ivar schemes: URI schemes, without ``+driver``
    :ivar message_opts: options of ``[drivers:message_store:<name>]``, ``uri``
        among them
    :ivar management_opts: the same of ``[drivers:management_store:<name>]``
    :ivar default_uri: for a driver that needs no server, returns the URI in
        our state folder; None for others
    :ivar rows_of: the driver that the management store must have, since its
        database takes rows of messages, too; ``open_messages`` gets its URI
        and options, a pair, as the option ``management``
    :ivar check_pool: refuses a pool that would read or create files of this
        machine, or use its identity; takes its URI and the folder below which
        pools may create files. None for a driver with no such URIs
    :ivar falls_back_on: another driver with the same options, whose groups
        hold what is not set in those of this one
    :raises ConfigurationError: by all functions; one line naming the fault:
        a malformed URI, refused credentials, a server too old, a folder that
        is missing or not writable
    """

    name: str
    schemes: tuple[str, ...]
    capabilities: tuple[Capability, ...]
    open_messages: Callable[[str, Mapping[str, Any]], MessageStore]
    open_management: Callable[[str, Mapping[str, Any]], ManagementStore]
    message_opts: Sequence[cfg.Opt]
    management_opts: Sequence[cfg.Opt]
    default_uri: Callable[[str], str] | None = None
    rows_of: str | None = None
    check_pool: Callable[[str, str], None] | None = None
    falls_back_on: str | None = None
