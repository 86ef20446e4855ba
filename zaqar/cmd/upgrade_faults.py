# SPDX-License-Identifier: Apache-2.0
"""Faults of stores, pools and subscribers that matter before an upgrade.

Reads databases directly where it can, since what is checked may be older
than this code, and changes no data. Other stores are opened as a service opens
them, which may make the file of an SQLite pool or indexes that are missing.
"""

import collections
import contextlib
import ipaddress
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from oslo_config import cfg

from zaqar.controllers.subscription_records import SUBSCRIPTION
from zaqar.errors import ConfigurationError, StoreUnavailable, one_line
from zaqar.notification.settings import NotificationSettings
from zaqar.objects import Kind
from zaqar.pools import (
    flavor_records,
    pool_records,
    pooled_catalogue,
    registered_and_virtual_pools,
)
from zaqar.storage import configured_drivers_and_options, store_opener
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.sqlalchemy import (
    database_schema_revision,
    driver_declaration,
    migrations,
    tables,
)
from zaqar.webhook_client.receiver_address_guard import (
    PORTS,
    AddressRefused,
    Guard,
    port_of,
)

#: What the planes are called, for people.
TITLES: dict[configured_drivers_and_options.Plane, str] = {
    'management_store': 'management store',
    'message_store': 'message store',
}

#: Metadata of queues whose messages are kept encrypted.
ENCRYPTED = '_enable_encrypt_messages'

#: Fault of mail addresses that were subscribed without a confirmation.
_UNCONFIRMED = (
    'by mail are not confirmed, so nothing is sent to them as long as '
    '[notification] confirm_mail is on'
)


class Unseen(Exception):
    """A store cannot be inspected; the text says why."""


@dataclass(frozen=True)
class Place:
    """A store, open or not.

    :ivar title: what it is, for people
    :ivar url: the database, for one of SQL
    """

    title: str
    url: sa.URL | None

    @property
    def is_new(self) -> bool:
        """Whether the service will create it at its first start."""
        if self.url is None or self.url.get_backend_name() != 'sqlite':
            return False
        return not os.path.exists(self.url.database or '')


@dataclass(frozen=True)
class Entry:
    """A record of the management store, with its parent."""

    parent: str
    name: str
    data: Any


def places(conf: cfg.ConfigOpts) -> Sequence[Place]:
    """Return the stores that the configuration names, management first."""
    return [
        Place(TITLES[where.plane], _url(where))
        for where in configured_drivers_and_options.locations(conf)
    ]


def revision_fault(place: Place) -> str | None:
    """Return the fault of the tables of a store, None if there is none.

    :raises Unseen: they cannot be looked at
    """
    if place.url is None or place.is_new:
        return None
    with _seen(place):
        revision = migrations.current(place.url)
    if revision == database_schema_revision.HEAD:
        return None
    return (
        f'the tables of the {place.title} are at revision '
        f'{revision or "none"}, not {database_schema_revision.HEAD}; run '
        '"zaqar-sql-db-manage upgrade head"'
    )


def faults(conf: cfg.ConfigOpts) -> Sequence[str]:
    """Open each store and return its faults."""
    if any(place.is_new for place in places(conf)):
        # Opening it would create it, perhaps as the wrong user.
        return ()
    try:
        stores = store_opener.open_stores(conf)
    except ConfigurationError as error:
        return [str(error)]
    return [
        f'the {title} does not answer'
        for title, store in (
            (TITLES['management_store'], stores.management),
            (TITLES['message_store'], stores.messages),
        )
        if not _answers(store)
    ]


def pool_faults(conf: cfg.ConfigOpts) -> tuple[Sequence[str], Sequence[str]]:
    """Return faults of pools: errors and warnings.

    :raises Unseen: they cannot be looked at
    """
    stops, warns = [], []
    pool_opener = store_opener.PoolOpener(conf)
    for entry in entries(conf, pool_records.KIND):
        try:
            pool_opener.driver(entry.data['uri'])
        except ConfigurationError as error:
            warns.append(f'pool "{entry.name}": {error}')
            continue
        options = entry.data.get('options') or {}
        try:
            store = pool_opener.open(entry.data['uri'], options)
        except ConfigurationError as error:
            stops.append(f'pool "{entry.name}": {error}')
        else:
            if not _answers(store):
                stops.append(f'pool "{entry.name}": it does not answer')
    return stops, warns


def orphans(conf: cfg.ConfigOpts) -> Sequence[str]:
    """Return queues and flavors with a pool that does not exist.

    :raises Unseen: the records cannot be listed
    """
    pools = list(entries(conf, pool_records.KIND))
    names = {pool.name for pool in pools}
    flavored = {pool.data.get('flavor') for pool in pools}
    texts = [
        f'queue "{entry.name}" of project "{entry.parent}" is in pool '
        f'"{entry.data["pool"]}", which does not exist'
        for entry in entries(conf, pooled_catalogue.ENTRY)
        if entry.data['pool'] not in names
    ]
    texts += [
        f'pool "{name}" does not exist and {count} queues are in it'
        for name, count in _counted(conf, names).items()
    ]
    texts += [
        f'flavor "{entry.name}" of project "{entry.parent}" has no pool'
        for entry in entries(conf, flavor_records.KIND)
        if entry.name not in flavored
    ]
    return texts


def encrypted(conf: cfg.ConfigOpts) -> int:
    """Count the queues and topics with encryption.

    :raises Unseen: the records cannot be listed
    """
    return sum(
        1
        for kind in (Kind.QUEUE, Kind.TOPIC)
        for entry in entries(conf, kind)
        if (entry.data.get('metadata') or {}).get(ENCRYPTED)
    )


def entries(conf: cfg.ConfigOpts, kind: str) -> Iterator[Entry]:
    """Yield all records of a kind, of all parents.

    :raises Unseen: the store cannot list them, or does not answer
    """
    place = places(conf)[0]
    if place.is_new:
        return
    if place.url is None:
        raise Unseen('this store cannot list what it holds')
    table = tables.record
    chosen = sa.select(table.c.parent, table.c.name, table.c.data)
    with _seen(place), migrations.connect(place.url) as connection:
        if not sa.inspect(connection).has_table(table.name):
            return
        rows = connection.execution_options(yield_per=1000).execute(
            chosen.where(table.c.kind == kind).order_by(
                table.c.parent, table.c.name
            )
        )
        for parent, name, data in rows:
            yield Entry(parent, name, json.loads(data))


def _url(where: configured_drivers_and_options.Location) -> sa.URL | None:
    if where.driver != driver_declaration.DRIVER.name:
        return None
    try:
        return driver_declaration.parse(where.uri)
    except ConfigurationError as error:
        raise ConfigurationError(f'{where.option}: {error}') from None


def _answers(store: ManagementStore | MessageStore) -> bool:
    """Close a store; tell whether it answered."""
    with contextlib.closing(store):
        try:
            store.ping()
        except StoreUnavailable:
            return False
    return True


def _counted(conf: cfg.ConfigOpts, names: set[str]) -> Mapping[str, int]:
    """Count the queues of each pool that does not exist."""
    pools = (
        entry.data.get('pool') or registered_and_virtual_pools.VIRTUAL
        for kind in (Kind.QUEUE, Kind.TOPIC)
        for entry in entries(conf, kind)
    )
    return collections.Counter(
        pool
        for pool in pools
        if pool not in {*names, registered_and_virtual_pools.VIRTUAL}
    )


@contextlib.contextmanager
def _seen(place: Place) -> Iterator[None]:
    """Convert errors to one that names the store."""
    try:
        yield
    except (ConfigurationError, sa.exc.SQLAlchemyError) as error:
        reason = one_line(getattr(error, 'orig', None) or error)
        raise Unseen(f'the {place.title} cannot be read: {reason}') from None


def refused_subscribers(conf: cfg.ConfigOpts) -> Sequence[str]:
    """Return the faults of addresses of subscribers, with their number.

    Names are not resolved: their addresses may change.

    :raises Unseen: subscriptions cannot be listed
    """
    settings = NotificationSettings.from_conf(conf)
    guard = Guard(settings.allowed_networks, settings.allowed_ports)
    faults: collections.Counter[str] = collections.Counter()
    for entry in entries(conf, SUBSCRIPTION):
        if settings.confirm_mail and _is_unconfirmed_mail(entry.data):
            faults[_UNCONFIRMED] += 1
        fault = _subscriber_fault(guard, entry.data['subscriber'])
        if fault is not None:
            faults[fault] += 1
    return [
        f'{count} subscriptions {fault}' for fault, count in faults.items()
    ]


def _is_unconfirmed_mail(data: Mapping[str, Any]) -> bool:
    is_mail = data['subscriber'].lower().startswith('mailto:')
    return is_mail and not data['confirmed']


def _subscriber_fault(guard: Guard, uri: str) -> str | None:
    parts = urlsplit(uri)
    # Hosts of ``trust+`` schemes are checked against the service catalogue.
    if parts.scheme not in PORTS or not parts.hostname:
        return None
    port = port_of(parts)
    place = f'lead to {parts.hostname} port {port}'
    try:
        guard.check_port(port)
    except AddressRefused:
        return f'{place}, which [notification] allowed_ports does not hold'
    address = _address(parts.hostname)
    if address is None or guard.admits(address):
        return None
    return (
        f'{place}, which is not public and not in [notification] '
        'allowed_networks'
    )


def _address(host: str) -> str | None:
    """Return a host as an IP address, None if it is a name."""
    if host.lower() == 'localhost':
        return '127.0.0.1'
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
