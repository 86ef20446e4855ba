# SPDX-License-Identifier: Apache-2.0
"""Open the stores that a configuration or a pool names."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from oslo_config import cfg

from zaqar import state_path
from zaqar.errors import ConfigurationError
from zaqar.storage import (
    configured_drivers_and_options,
    installed_drivers,
    secret_masking,
)
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.configured_drivers_and_options import Choice, Plane
from zaqar.storage.driver_declaration import Driver

Store = TypeVar('Store', MessageStore, ManagementStore)


class Wrap(Protocol):
    """Puts something in front of stores, as to measure their calls."""

    def __call__(
        self, store: Store, plane: Plane, driver: str, pool: str, /
    ) -> Store:
        """Return what callers use instead of a store.

        :param pool: its name, '' for a store that the configuration names
        """


POOL_GROUP = 'pooling:catalog'

POOL_OPTS = [
    cfg.StrOpt(
        'sqlite_path',
        help='Folder below which pools may have their SQLite files; a pool '
        'elsewhere is refused and not opened. Unset: [DEFAULT] state_path. '
        'Pools are managed over the network: keep no other files there.',
    ),
]


@dataclass(frozen=True)
class Stores:
    """The open stores of both planes."""

    management: ManagementStore
    messages: MessageStore


def open_stores(conf: cfg.ConfigOpts, wrap: Wrap | None = None) -> Stores:
    """Open the stores that the configuration names.

    :param wrap: see :class:`Wrap`
    :raises ConfigurationError: one cannot be opened; the text names the option
    """
    messages, management = configured_drivers_and_options.choices(conf)
    installed = installed_drivers.installed()
    # Before anything is opened, for the clearer error.
    _rows_place(
        conf,
        installed[messages.driver],
        management=management,
        messages=messages,
    )
    stores = Stores(
        _open(conf, installed[management.driver], management, messages),
        _open(conf, installed[messages.driver], messages, management),
    )
    if wrap is None:
        return stores
    return Stores(
        wrap(stores.management, 'management_store', management.driver, ''),
        wrap(stores.messages, 'message_store', messages.driver, ''),
    )


class PoolOpener:
    """Opens the stores of pools.

    The settings of a store are those of its driver's group, read here at the
    start, overridden by the options of the pool.

    :param wrap: see :class:`Wrap`
    """

    def __init__(self, conf: cfg.ConfigOpts, wrap: Wrap | None = None) -> None:
        messages, management = configured_drivers_and_options.choices(conf)
        conf.register_opts(POOL_OPTS, POOL_GROUP)
        self._wrap = wrap
        self._folder = conf[POOL_GROUP].sqlite_path or str(
            state_path.state_folder(conf)
        )
        plane: Plane = 'message_store'
        self._drivers = installed_drivers.installed()
        self._settings: Mapping[str, Mapping[str, Any]] = {
            name: configured_drivers_and_options.values_of(
                conf, driver, plane, name
            )
            for name, driver in self._drivers.items()
        }
        self._rows_place = functools.partial(
            _rows_place, conf, management=management, messages=messages
        )

    def driver(self, uri: str) -> Driver:
        """Return the driver that knows the scheme of a URI."""
        scheme, colon, _rest = uri.partition(':')
        for driver in self._drivers.values():
            if colon and scheme.partition('+')[0] in driver.schemes:
                return driver
        raise ConfigurationError(f'there is no driver for "{scheme}"')

    def settings(
        self, driver: Driver, options: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return the settings of a pool; options of other drivers are omitted.

        :raises ValueError: an option has a value of the wrong type
        """
        values = dict(self._settings[driver.name])
        for opt in driver.message_opts:
            if opt.dest != 'uri' and options.get(opt.dest) is not None:
                values[opt.dest] = opt.type(options[opt.dest])
        return values

    def check(self, uri: str) -> None:
        """Refuse a pool that could access files of this machine."""
        driver = self.driver(uri)
        if driver.check_pool is not None:
            driver.check_pool(uri, self._folder)

    def open(
        self, uri: str, options: Mapping[str, Any], pool: str = ''
    ) -> MessageStore:
        """Open the store of a pool.

        :param pool: its name, unless it is only tried
        """
        driver = self.driver(uri)
        try:
            # Also here: it may have been recorded before there were checks.
            self.check(uri)
            store = driver.open_messages(
                uri,
                {**self.settings(driver, options), **self._rows_place(driver)},
            )
        except (ConfigurationError, TypeError, ValueError) as error:
            text = secret_masking.scrub(str(error), uri)
            raise ConfigurationError(text) from None
        if self._wrap is not None:
            store = self._wrap(store, 'message_store', driver.name, pool)
        return store


def _open(
    conf: cfg.ConfigOpts, driver: Driver, choice: Choice, other: Choice
) -> Any:
    opened = (
        driver.open_messages
        if choice.plane == 'message_store'
        else driver.open_management
    )
    uri, blame = configured_drivers_and_options.uri_of(
        conf, driver, choice, other
    )
    if blame == state_path.STATE_PATH_LABEL:
        state_path.state_path(conf)
    values = configured_drivers_and_options.values_of(
        conf, driver, choice.plane, choice.driver
    )
    if choice.plane == 'message_store':
        values |= _rows_place(conf, driver, management=other, messages=choice)
    try:
        return opened(uri, values)
    except ConfigurationError as error:
        text = secret_masking.scrub(str(error), uri)
        raise ConfigurationError(f'{blame}: {text}') from None


def _rows_place(
    conf: cfg.ConfigOpts,
    driver: Driver,
    *,
    management: Choice,
    messages: Choice,
) -> Mapping[str, Any]:
    """Return how a driver reaches the management store, if it does."""
    if driver.rows_of is None:
        return {}
    if management.driver != driver.rows_of:
        raise ConfigurationError(
            f'the driver "{driver.name}" keeps rows in the database of the '
            f'management store: set [{configured_drivers_and_options.GROUP}] '
            f'management_store = {driver.rows_of} (it is {management.driver})'
        )
    beside = installed_drivers.installed()[driver.rows_of]
    uri, _ = configured_drivers_and_options.uri_of(
        conf, beside, management, messages
    )
    plane: Plane = 'management_store'
    values = configured_drivers_and_options.values_of(
        conf, beside, plane, management.driver
    )
    return {'management': (uri, values)}
