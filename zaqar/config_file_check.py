# SPDX-License-Identifier: Apache-2.0
"""Check of configuration files, as an operator wrote them.

oslo.config ignores unknown options silently, and reads a number that is left
blank as None; both are reported here.
"""

import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoints, entry_points

from oslo_config import cfg

from zaqar.errors import ConfigurationError

#: By which our own options are known to oslo.config; looked up, since the
#: modules that declare them stand above this one.
OURS = 'zaqar'

#: Libraries whose options the service reads, where they are installed.
NAMESPACES = (
    'keystonemiddleware.auth_token',
    'oslo.cache',
    'oslo.limit',
    'oslo.log',
    'oslo.middleware.cors',
    'oslo.middleware.healthcheck',
    'oslo.policy',
    'oslo.reports',
    'osprofiler',
)

#: Groups that also hold options of whichever plugin ``auth_type`` names.
OPEN_GROUPS = ('keystone_authtoken', 'oslo_limit', 'trustee')

#: Is in every remark on what has no effect.
_IGNORED = 'ignored'

#: Stands in errors of oslo.config behind the location, which is the
#: representation of an object there (10.7).
_INVALID = ' is not valid: '

#: Begins the names of groups that other programs read from the same file.
FOREIGN_GROUPS = ('oslo_messaging',)


@dataclass
class Known:
    """The options of a group.

    :ivar names: those that are read
    :ivar old: names that are read and deprecated, with the new ones
    :ivar leaving: names that are read and will not be for long
    """

    names: set[str] = field(default_factory=set)
    old: dict[str, str] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)


def remarks(conf: cfg.ConfigOpts) -> Sequence[str]:
    """Return warnings about the files of a loaded configuration.

    Values are never shown.

    :raises ConfigurationError: a file cannot be read
    """
    known = _known()
    texts = (
        text
        for path in files(conf)
        for group, keys in _sections(path).items()
        for text in _of_group(group, keys, known)
    )
    return list(dict.fromkeys(texts))


def ignored(conf: cfg.ConfigOpts) -> Sequence[str]:
    """Return the settings that have no effect."""
    return [remark for remark in remarks(conf) if _IGNORED in remark]


def check(conf: cfg.ConfigOpts) -> None:
    """Read every option of ours once.

    :raises ConfigurationError: one was left blank that needs a value, has
        one that cannot be read, or refers to another one that does not exist
    """
    listed = [
        (group, options)
        # keystoneauth makes those of OPEN_GROUPS anew, and refuses what it
        # did not make.
        for group, options in _listed(OURS, of_plugins=False)
        if group not in OPEN_GROUPS
    ]
    # First, since any of them may refer to any other.
    for group, options in listed:
        # By the name of DEFAULT nothing could refer to them.
        conf.register_opts(options, None if group == 'DEFAULT' else group)
    for group, options in listed:
        values = conf if group == 'DEFAULT' else conf[group]
        for option in options:
            name = f'[{group}] {option.name}'
            try:
                value = values[option.dest]
            except (cfg.TemplateSubstitutionError, cfg.NoSuchOptError):
                raise ConfigurationError(
                    f'{name}: a dollar sign refers to another option; write '
                    '$$ for the character itself'
                ) from None
            except cfg.ConfigFileValueError as error:
                reason = str(error).partition(_INVALID)[2] or str(error)
                raise ConfigurationError(f'{name}: {reason}') from None
            if value is None and option.default is not None:
                raise ConfigurationError(
                    f'{name} is blank: give it a value, or remove the line '
                    f'for the default, {option.default}'
                )


def files(conf: cfg.ConfigOpts) -> Sequence[str]:
    """Return the files that a configuration was read from, in order."""
    dropped = [
        str(path)
        for folder in conf.config_dir or ()
        for path in sorted(pathlib.Path(folder).glob('*.conf'))
    ]
    return [*(conf.config_file or ()), *dropped]


def _known() -> Mapping[str, Known]:
    groups: dict[str, Known] = {}
    for group, options in (*_listed(OURS), *_listed(*NAMESPACES)):
        for option in options:
            _add(groups, group, option)
    # Options of oslo.config itself: which files to read.
    here = groups.setdefault('DEFAULT', Known())
    here.names |= {'config_file', 'config_dir', 'config_source'}
    return groups


def _listed(
    *names: str, **how: bool
) -> Iterator[tuple[str, Sequence[cfg.Opt]]]:
    for entry in _entries():
        if entry.name in names:
            for group, options in entry.load()(**how):
                yield str(group or 'DEFAULT'), options


@functools.cache
def _entries() -> EntryPoints:
    # Looking for them opens a file of every installed package.
    return entry_points(group='oslo.config.opts')


def _add(groups: dict[str, Known], group: str, option: cfg.Opt) -> None:
    here = groups.setdefault(group, Known())
    here.names.add(option.dest)
    if option.deprecated_for_removal:
        here.leaving.add(option.dest)
    for old in option.deprecated_opts:
        place = old.group or group
        name = (old.name or option.dest).replace('-', '_')
        if (place, name) != (group, option.dest):
            section = groups.setdefault(place, Known())
            section.old.setdefault(name, f'[{group}] {option.dest}')


def _sections(path: str) -> Mapping[str, Mapping[str, Sequence[str]]]:
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except (OSError, UnicodeDecodeError, cfg.ParseError) as error:
        raise ConfigurationError(f'{path}: {error}') from None
    return sections


def _of_group(
    group: str, keys: Mapping[str, Sequence[str]], known: Mapping[str, Known]
) -> Iterator[str]:
    name = group if group == 'DEFAULT' else group.lower()
    if name.startswith(FOREIGN_GROUPS):
        return
    here = known.get(name)
    if here is None:
        if name not in OPEN_GROUPS:
            yield f'[{group}] is not known and {_IGNORED}'
        return
    for key in keys:
        remark = _of_key(key, here, is_open=name in OPEN_GROUPS)
        if remark:
            yield f'[{group}] {key} {remark}'


def _of_key(key: str, here: Known, *, is_open: bool) -> str:
    if key in here.leaving:
        return 'is deprecated and will be removed'
    if key in here.names:
        return ''
    if key in here.old:
        return f'is deprecated; it is {here.old[key]} now'
    plain = key.replace('-', '_')
    if plain != key and (is_open or plain in here.names | here.old.keys()):
        return f'is {_IGNORED} because of its hyphen; write {plain}'
    return '' if is_open else f'is not known and {_IGNORED}'
