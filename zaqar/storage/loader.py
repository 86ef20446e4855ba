# SPDX-License-Identifier: Apache-2.0
"""From a configuration to open stores, through entry points."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oslo_config import cfg
from stevedore import ExtensionManager

from zaqar.errors import ConfigurationError
from zaqar.storage.base import Driver, ManagementStore, MessageStore

NAMESPACE = 'zaqar.storage'

GROUP = 'drivers'

#: Which driver, when nobody says.
EMBEDDED = 'sqlalchemy'

#: Drivers that existing configurations may speak of, installed or not.
KNOWN = ('mongodb', 'redis', 'sqlalchemy', 'swift')

Plane = Literal['message_store', 'management_store']

PLANES: Sequence[Plane] = ('message_store', 'management_store')

#: Stands something before a store: given it, its plane and its driver's name.
Wrap = Callable[[Any, Plane, str], Any]

OPTS = [
    cfg.StrOpt(
        'message_store',
        deprecated_name='storage',
        help='Driver of the store that keeps messages and claims. Unset: '
        f'"{EMBEDDED}", on an SQLite file in state_path unless its uri is '
        'set.',
    ),
    cfg.StrOpt(
        'management_store',
        help='Driver of the store that keeps queues and everything else but '
        'messages. Unset: the driver of the message store.',
    ),
]

_SYSTEM = '/var/lib/zaqar'

_STATE_PATH = '[DEFAULT] state_path'

STATE_OPTS = [
    cfg.StrOpt(
        'state_path',
        sample_default='/var/lib/zaqar',
        help='Folder of the embedded database. Unset: /var/lib/zaqar if that '
        'exists and is writable, else $XDG_STATE_HOME/zaqar, else '
        '~/.local/state/zaqar.',
    ),
    cfg.BoolOpt(
        'unreliable',
        default=False,
        help='Whether to start on a MongoDB that is not replicated or does '
        'not wait for a majority, and so may lose what it acknowledged. '
        'Other drivers do not look at it.',
    ),
]


@dataclass(frozen=True)
class Stores:
    """Both planes, open."""

    management: ManagementStore
    messages: MessageStore


@dataclass(frozen=True)
class Location:
    """What a plane is opened with.

    :ivar driver: its name
    :ivar option: where the URI comes from, for people
    """

    plane: Plane
    driver: str
    uri: str
    option: str


@dataclass(frozen=True)
class _Choice:
    """What a configuration says of one plane.

    :ivar driver: its name
    :ivar blame: the option to name when the driver does not exist
    """

    plane: Plane
    driver: str
    blame: str

    @property
    def group(self) -> str:
        return f'{GROUP}:{self.plane}:{self.driver}'


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of both planes and of all drivers known."""
    conf.register_opts(OPTS, GROUP)
    conf.register_opts(STATE_OPTS)
    installed = drivers()
    for plane in PLANES:
        for name in sorted({*installed, *KNOWN}):
            conf.register_opts(
                options(installed.get(name), plane), f'{GROUP}:{plane}:{name}'
            )


def options(driver: Driver | None, plane: Plane) -> Sequence[cfg.Opt]:
    """Return the options of a driver; of a missing one, what we look at."""
    if driver is None:
        return [cfg.StrOpt('uri', secret=True, help='Not installed.')]
    if plane == 'message_store':
        return driver.message_opts
    return driver.management_opts


def drivers() -> Mapping[str, Driver]:
    """Return the installed drivers by name."""
    found: ExtensionManager[Any] = ExtensionManager(
        NAMESPACE, on_load_failure_callback=_complain
    )
    return {extension.name: _plugin(extension) for extension in found}


def open_stores(conf: cfg.ConfigOpts, wrap: Wrap | None = None) -> Stores:
    """Open what the configuration names.

    :param wrap: what callers of the stores are given instead
    :raises ConfigurationError: it names nothing that works; the text names
        the option
    """
    register_opts(conf)
    installed = drivers()
    messages = _choose(conf, 'message_store', None)
    management = _choose(conf, 'management_store', messages)
    for choice in (messages, management):
        if choice.driver not in installed:
            raise _no_driver(choice, installed)
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
        wrap(found.management, 'management_store', management.driver),
        wrap(found.messages, 'message_store', messages.driver),
    )


def locations(conf: cfg.ConfigOpts) -> Sequence[Location]:
    """Return what both planes would be opened with; touch nothing.

    :raises ConfigurationError: it cannot be known
    """
    register_opts(conf)
    installed = drivers()
    messages = _choose(conf, 'message_store', None)
    management = _choose(conf, 'management_store', messages)
    found = []
    for choice, other in ((management, messages), (messages, management)):
        if choice.driver not in installed:
            raise _no_driver(choice, installed)
        uri, option = _uri(conf, installed[choice.driver], choice, other)
        found.append(Location(choice.plane, choice.driver, uri, option))
    return found


class PoolOpener:
    """Opens stores of messages by their URI alone.

    Each gets settings of its own: those of its driver's group with the
    options of the pool laid over them. What is read here at the start is
    never written to.

    :param wrap: what callers of the stores are given instead
    """

    def __init__(self, conf: cfg.ConfigOpts, wrap: Wrap | None = None) -> None:
        register_opts(conf)
        self._wrap = wrap
        plane: Plane = 'message_store'
        self._drivers = drivers()
        self._given: Mapping[str, Mapping[str, Any]] = {
            name: _values(conf, driver, plane, name)
            for name, driver in self._drivers.items()
        }
        messages = _choose(conf, plane, None)
        management = _choose(conf, 'management_store', messages)
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

    def open(self, uri: str, given: Mapping[str, Any]) -> MessageStore:
        """Open the store of a pool.

        :raises ConfigurationError: that cannot be done
        """
        driver = self.driver(uri)
        try:
            found = driver.open_messages(
                uri, {**self.settings(driver, given), **self._beside(driver)}
            )
        except (TypeError, ValueError) as error:
            raise ConfigurationError(str(error)) from None
        if self._wrap is not None:
            found = self._wrap(found, 'message_store', driver.name)
        return found


def state_path(conf: cfg.ConfigOpts) -> pathlib.Path:
    """Return the folder for what we keep ourselves, made if it is missing.

    :raises ConfigurationError: it cannot be made
    """
    folder = _state_folder(conf)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f'[DEFAULT] state_path: {folder} cannot be made: {error.strerror}'
        ) from None
    return folder


def _state_folder(conf: cfg.ConfigOpts) -> pathlib.Path:
    conf.register_opts(STATE_OPTS)
    return pathlib.Path(conf.state_path or _default_state_path())


def _default_state_path() -> pathlib.Path:
    if os.path.isdir(_SYSTEM) and os.access(_SYSTEM, os.W_OK | os.X_OK):
        return pathlib.Path(_SYSTEM)
    given = os.environ.get('XDG_STATE_HOME')
    # The base directory specification says to ignore relative paths.
    if given and os.path.isabs(given):
        return pathlib.Path(given) / 'zaqar'
    return pathlib.Path.home() / '.local' / 'state' / 'zaqar'


def _no_driver(
    choice: _Choice, installed: Mapping[str, Driver]
) -> ConfigurationError:
    return ConfigurationError(
        f'{choice.blame} = {choice.driver}: there is no such driver; '
        f'installed are {", ".join(sorted(installed))}'
    )


def _choose(
    conf: cfg.ConfigOpts, plane: Plane, other: _Choice | None
) -> _Choice:
    """Return the driver of a plane; that of the other one if unset."""
    option = f'[{GROUP}] {plane}'
    chosen = conf[GROUP][plane]
    if chosen:
        return _Choice(plane, chosen, option)
    found = (
        _Choice(plane, other.driver, other.blame)
        if other
        else _Choice(plane, EMBEDDED, option)
    )
    _check_forgotten(conf, found, option)
    return found


def _check_forgotten(
    conf: cfg.ConfigOpts, choice: _Choice, option: str
) -> None:
    """Refuse to start on an empty database beside a full one.

    :raises ConfigurationError: a driver has a URI and was not chosen
    """
    for name in sorted({*drivers(), *KNOWN} - {choice.driver}):
        group = f'{GROUP}:{choice.plane}:{name}'
        if _is_set(conf, group):
            raise ConfigurationError(
                f'[{group}] uri is set, but {option} is not; set '
                f'{choice.plane} = {name}, or remove the uri'
            )


def _is_set(conf: cfg.ConfigOpts, group: str) -> bool:
    where = conf.get_location('uri', group)
    return bool(where and where.location.is_user_controlled)


def _open(
    conf: cfg.ConfigOpts, driver: Driver, choice: _Choice, other: _Choice
) -> Any:
    opened = (
        driver.open_messages
        if choice.plane == 'message_store'
        else driver.open_management
    )
    uri, blame = _uri(conf, driver, choice, other)
    if blame == _STATE_PATH:
        state_path(conf)
    values = _values(conf, driver, choice.plane, choice.driver)
    if choice.plane == 'message_store':
        values |= _beside(conf, driver, management=other, messages=choice)
    try:
        return opened(uri, values)
    except ConfigurationError as error:
        raise ConfigurationError(f'{blame}: {error}') from None


def _values(
    conf: cfg.ConfigOpts, driver: Driver, plane: Plane, name: str
) -> dict[str, Any]:
    given = conf[f'{GROUP}:{plane}:{name}']
    found = {opt.dest: given[opt.dest] for opt in options(driver, plane)}
    return {**found, 'unreliable': conf.unreliable}


def _beside(
    conf: cfg.ConfigOpts,
    driver: Driver,
    *,
    management: _Choice,
    messages: _Choice,
) -> Mapping[str, Any]:
    """Return what a driver is told of the management store, if anything.

    :raises ConfigurationError: its rows cannot be kept there
    """
    if driver.rows_of is None:
        return {}
    if management.driver != driver.rows_of:
        raise ConfigurationError(
            f'the driver "{driver.name}" keeps rows in the database of the '
            f'management store: set [{GROUP}] management_store = '
            f'{driver.rows_of} (it is {management.driver})'
        )
    beside = drivers()[driver.rows_of]
    uri, _ = _uri(conf, beside, management, messages)
    plane: Plane = 'management_store'
    values = _values(conf, beside, plane, management.driver)
    return {'management': (uri, values)}


def _uri(
    conf: cfg.ConfigOpts, driver: Driver, choice: _Choice, other: _Choice
) -> tuple[str, str]:
    """Return the URI of a plane and the option it came from."""
    groups = [choice.group]
    if other.driver == choice.driver:
        groups.append(other.group)
    # What the other plane was given goes before a default of this one.
    for group in sorted(groups, key=lambda group: _is_default(conf, group)):
        if conf[group].uri:
            return conf[group].uri, f'[{group}] uri'
    if driver.default_uri is None:
        raise ConfigurationError(f'[{choice.group}] uri is not set')
    folder = str(_state_folder(conf))
    return driver.default_uri(folder), _STATE_PATH


def _is_default(conf: cfg.ConfigOpts, group: str) -> bool:
    where = conf.get_location('uri', group)
    return bool(where and where.location is cfg.Locations.opt_default)


def _plugin(extension: Any) -> Driver:
    found: Driver = extension.plugin
    return found


def _complain(_manager: Any, entry_point: Any, error: BaseException) -> None:
    raise ConfigurationError(
        f'the storage driver "{entry_point.name}" cannot be loaded: {error}'
    )
