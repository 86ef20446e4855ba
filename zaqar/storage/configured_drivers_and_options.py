# SPDX-License-Identifier: Apache-2.0
"""Drivers, URIs and options of the stores, as the configuration has them.

A store of one plane holds messages, that of the other everything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oslo_config import cfg

from zaqar import state_path
from zaqar.errors import ConfigurationError
from zaqar.storage import installed_drivers
from zaqar.storage.driver_declaration import Driver

GROUP = 'drivers'

#: The default driver.
EMBEDDED = 'sqlalchemy'

#: Drivers that configurations may name, installed or not.
KNOWN = ('mongodb', 'redis', 'sqlalchemy', 'swift')

Plane = Literal['message_store', 'management_store']

PLANES: Sequence[Plane] = ('message_store', 'management_store')

OPTS = [
    cfg.StrOpt(
        'message_store',
        deprecated_name='storage',
        help='Driver of the store of messages and claims. Unset: '
        f'"{EMBEDDED}", on an SQLite file in state_path unless its uri is '
        'set.',
    ),
    cfg.StrOpt(
        'management_store',
        help='Driver of the store of queues and everything else but messages. '
        'Unset: the driver of the message store.',
    ),
]


#: In no group.
GENERAL_OPTS = [
    cfg.BoolOpt(
        'unreliable',
        default=False,
        help='Whether to accept a MongoDB that is not replicated or does not '
        'wait for a majority, and so may lose acknowledged messages. Other '
        'drivers ignore this option.',
    ),
]


@dataclass(frozen=True)
class Location:
    """Driver and URI of a plane.

    :ivar driver: its name
    :ivar option: the option that names the URI, for operators
    """

    plane: Plane
    driver: str
    uri: str
    option: str


@dataclass(frozen=True)
class Choice:
    """The driver of a plane.

    :ivar driver: its name
    :ivar option_label: the option to name if the driver does not exist
    """

    plane: Plane
    driver: str
    option_label: str

    @property
    def group(self) -> str:
        return f'{GROUP}:{self.plane}:{self.driver}'


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options of both planes and of all drivers."""
    conf.register_opts(OPTS, GROUP)
    conf.register_opts([*state_path.OPTS, *GENERAL_OPTS])
    installed = installed_drivers.installed()
    for plane in PLANES:
        for name in sorted({*installed, *KNOWN}):
            conf.register_opts(
                opts_of(installed.get(name), plane), f'{GROUP}:{plane}:{name}'
            )


def opts_of(driver: Driver | None, plane: Plane) -> Sequence[cfg.Opt]:
    """Return the options of a driver, those that matter of a missing one."""
    if driver is None:
        return [cfg.StrOpt('uri', secret=True, help='Not installed.')]
    if plane == 'message_store':
        return driver.message_opts
    return driver.management_opts


def locations(conf: cfg.ConfigOpts) -> Sequence[Location]:
    """Return driver and URI of both planes, without opening them."""
    messages, management = choices(conf)
    installed = installed_drivers.installed()
    places = []
    for choice, other in ((management, messages), (messages, management)):
        uri, option = uri_of(conf, installed[choice.driver], choice, other)
        places.append(Location(choice.plane, choice.driver, uri, option))
    return places


def choices(conf: cfg.ConfigOpts) -> tuple[Choice, Choice]:
    """Return the drivers of messages and of management."""
    register_opts(conf)
    installed = installed_drivers.installed()
    messages = _choose(conf, 'message_store', None)
    management = _choose(conf, 'management_store', messages)
    for choice in (messages, management):
        if choice.driver not in installed:
            raise ConfigurationError(
                f'{choice.option_label} = {choice.driver}: there is no such '
                f'driver; installed are {", ".join(sorted(installed))}'
            )
    return messages, management


def _choose(
    conf: cfg.ConfigOpts, plane: Plane, other: Choice | None
) -> Choice:
    """Return the driver of a plane, by default that of the other one."""
    option = f'[{GROUP}] {plane}'
    chosen = conf[GROUP][plane]
    if chosen:
        return Choice(plane, chosen, option)
    default = (
        Choice(plane, other.driver, other.option_label)
        if other
        else Choice(plane, EMBEDDED, option)
    )
    _check_forgotten(conf, default, option)
    return default


def values_of(
    conf: cfg.ConfigOpts, driver: Driver, plane: Plane, name: str
) -> dict[str, Any]:
    """Return the options of a driver for a plane, by name."""
    groups = _groups(driver, plane, name)
    values = {}
    for opt in opts_of(driver, plane):
        group = min(
            groups, key=lambda group: _is_default(conf, group, opt.dest)
        )
        values[opt.dest] = conf[group][opt.dest]
    return {**values, 'unreliable': conf.unreliable}


def uri_of(
    conf: cfg.ConfigOpts, driver: Driver, choice: Choice, other: Choice
) -> tuple[str, str]:
    """Return the URI of a plane and the option that names it."""
    groups = [*_groups(driver, choice.plane, choice.driver)]
    if other.driver == choice.driver:
        groups += _groups(driver, other.plane, other.driver)
    # A value set for the other plane comes before a default of this one.
    for group in sorted(
        groups, key=lambda group: _is_default(conf, group, 'uri')
    ):
        if conf[group].uri:
            return conf[group].uri, f'[{group}] uri'
    if driver.default_uri is None:
        raise ConfigurationError(f'[{choice.group}] uri is not set')
    folder = str(state_path.state_folder(conf))
    return driver.default_uri(folder), state_path.STATE_PATH_LABEL


def _check_forgotten(
    conf: cfg.ConfigOpts, choice: Choice, option: str
) -> None:
    """Refuse to start on an empty database beside a full one."""
    for name in sorted(
        {*installed_drivers.installed(), *KNOWN} - {choice.driver}
    ):
        group = f'{GROUP}:{choice.plane}:{name}'
        if _is_set(conf, group):
            raise ConfigurationError(
                f'[{group}] uri is set, but {option} is not; set '
                f'{choice.plane} = {name}, or remove the uri'
            )


def _groups(driver: Driver, plane: Plane, name: str) -> Sequence[str]:
    """Return the groups that a driver's options are read from, in order."""
    # Not a deprecated name: oslo.config would warn of it, and read it where it
    # is the group of the chosen driver.
    names = filter(None, (name, driver.falls_back_on))
    return [f'{GROUP}:{plane}:{name}' for name in names]


def _is_set(conf: cfg.ConfigOpts, group: str) -> bool:
    where = conf.get_location('uri', group)
    return bool(where and where.location.is_user_controlled)


def _is_default(conf: cfg.ConfigOpts, group: str, name: str) -> bool:
    where = conf.get_location(name, group)
    return bool(where and where.location is cfg.Locations.opt_default)
