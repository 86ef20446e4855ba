# SPDX-License-Identifier: Apache-2.0
"""From a configuration to open stores, through entry points."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from zaqar.errors import ConfigurationError
from zaqar.storage import configuration, drivers, masking
from zaqar.storage.base import Driver, ManagementStore, MessageStore
from zaqar.storage.configuration import Choice, Plane

#: Stands something before a store: given it, its plane, its driver's name and
#: the pool that it is, '' for those that the configuration names.
Wrap = Callable[[Any, Plane, str, str], Any]

POOL_GROUP = 'pooling:catalog'

POOL_OPTS = [
    cfg.StrOpt(
        'sqlite_path',
        help='Folder below which pools may have their SQLite files; a pool '
        'elsewhere is refused and not opened. Unset: [DEFAULT] state_path. '
        'Pools are managed over the network: let nothing but such files be '
        'there.',
    ),
]


@dataclass(frozen=True)
class Stores:
    """Both planes, open."""

    management: ManagementStore
    messages: MessageStore


def open_stores(conf: cfg.ConfigOpts, wrap: Wrap | None = None) -> Stores:
    """Open what the configuration names.

    :param wrap: what callers of the stores are given instead
    :raises ConfigurationError: it names nothing that works; the text names
        the option
    """
    configuration.register_opts(conf)
    installed = drivers.installed()
    messages = configuration.choose(conf, 'message_store', None)
    management = configuration.choose(conf, 'management_store', messages)
    for choice in (messages, management):
        if choice.driver not in installed:
            raise configuration.no_driver(choice, installed)
    # Before anything is opened, so that the clearer complaint comes first.
    _beside(
        conf,
        installed[messages.driver],
        management=management,
        messages=messages,
    )
    found = Stores(
        _open(conf, installed[management.driver], management, messages),
        _open(conf, installed[messages.driver], messages, management),
    )
    if wrap is None:
        return found
    return Stores(
        wrap(found.management, 'management_store', management.driver, ''),
        wrap(found.messages, 'message_store', messages.driver, ''),
    )


class PoolOpener:
    """Opens stores of messages by their URI alone.

    Each gets settings of its own: those of its driver's group with the
    options of the pool laid over them. What is read here at the start is
    never written to.

    :param wrap: what callers of the stores are given instead
    """

    def __init__(self, conf: cfg.ConfigOpts, wrap: Wrap | None = None) -> None:
        configuration.register_opts(conf)
        conf.register_opts(POOL_OPTS, POOL_GROUP)
        self._wrap = wrap
        self._folder = conf[POOL_GROUP].sqlite_path or str(
            configuration.state_folder(conf)
        )
        plane: Plane = 'message_store'
        self._drivers = drivers.installed()
        self._given: Mapping[str, Mapping[str, Any]] = {
            name: configuration.values_of(conf, driver, plane, name)
            for name, driver in self._drivers.items()
        }
        messages = configuration.choose(conf, plane, None)
        management = configuration.choose(conf, 'management_store', messages)
        self._beside = functools.partial(
            _beside, conf, management=management, messages=messages
        )

    def driver(self, uri: str) -> Driver:
        """Return the driver that knows the scheme of a URI.

        :raises ConfigurationError: there is none
        """
        scheme, found, _rest = uri.partition(':')
        for driver in self._drivers.values():
            if found and scheme.partition('+')[0] in driver.schemes:
                return driver
        raise ConfigurationError(f'there is no driver for "{scheme}"')

    def settings(
        self, driver: Driver, given: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return the settings of a pool; options of others are left out.

        :raises ValueError: an option has a value of the wrong type
        """
        values = dict(self._given[driver.name])
        for opt in driver.message_opts:
            if opt.dest != 'uri' and given.get(opt.dest) is not None:
                values[opt.dest] = opt.type(given[opt.dest])
        return values

    def check(self, uri: str) -> None:
        """Refuse a pool that would reach into this machine.

        :raises ConfigurationError: it would, or there is no driver for it
        """
        driver = self.driver(uri)
        if driver.check_pool is not None:
            driver.check_pool(uri, self._folder)

    def open(
        self, uri: str, given: Mapping[str, Any], pool: str = ''
    ) -> MessageStore:
        """Open the store of a pool.

        :param pool: its name, where it is there to stay
        :raises ConfigurationError: that cannot be done
        """
        driver = self.driver(uri)
        try:
            # Here as well: it may have been recorded before there were rules.
            self.check(uri)
            found = driver.open_messages(
                uri, {**self.settings(driver, given), **self._beside(driver)}
            )
        except (ConfigurationError, TypeError, ValueError) as error:
            text = masking.scrub(str(error), uri)
            raise ConfigurationError(text) from None
        if self._wrap is not None:
            found = self._wrap(found, 'message_store', driver.name, pool)
        return found


def _open(
    conf: cfg.ConfigOpts, driver: Driver, choice: Choice, other: Choice
) -> Any:
    opened = (
        driver.open_messages
        if choice.plane == 'message_store'
        else driver.open_management
    )
    uri, blame = configuration.uri_of(conf, driver, choice, other)
    if blame == configuration.STATE_PATH:
        configuration.state_path(conf)
    values = configuration.values_of(conf, driver, choice.plane, choice.driver)
    if choice.plane == 'message_store':
        values |= _beside(conf, driver, management=other, messages=choice)
    try:
        return opened(uri, values)
    except ConfigurationError as error:
        text = masking.scrub(str(error), uri)
        raise ConfigurationError(f'{blame}: {text}') from None


def _beside(
    conf: cfg.ConfigOpts,
    driver: Driver,
    *,
    management: Choice,
    messages: Choice,
) -> Mapping[str, Any]:
    """Return what a driver is told of the management store, if anything.

    :raises ConfigurationError: its rows cannot be kept there
    """
    if driver.rows_of is None:
        return {}
    if management.driver != driver.rows_of:
        raise ConfigurationError(
            f'the driver "{driver.name}" keeps rows in the database of the '
            f'management store: set [{configuration.GROUP}] management_store '
            f'= {driver.rows_of} (it is {management.driver})'
        )
    beside = drivers.installed()[driver.rows_of]
    uri, _ = configuration.uri_of(conf, beside, management, messages)
    plane: Plane = 'management_store'
    values = configuration.values_of(conf, beside, plane, management.driver)
    return {'management': (uri, values)}
