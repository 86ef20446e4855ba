# SPDX-License-Identifier: Apache-2.0
"""Settings dataclasses whose fields are options.

An option is declared once, where its value is used::

    @dataclass(frozen=True)
    @options_as_dataclass_fields.of('group')
    class Settings:
        port: int = option(80, 'Port on which ...', kind=cfg.PortOpt)
"""

import collections
import dataclasses
import ipaddress
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from oslo_config import cfg

from zaqar.errors import ConfigurationError

Cls = TypeVar('Cls', bound=type)

#: Classes of options by the types of fields; others are lists.
_KINDS: Mapping[Any, type[cfg.Opt]] = {
    bool: cfg.BoolOpt,
    int: cfg.IntOpt,
    float: cfg.FloatOpt,
    str: cfg.StrOpt,
    Mapping: cfg.DictOpt,
}


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read networks and addresses.

    :raises ValueError: one is neither
    """
    return tuple(
        ipaddress.ip_network(text, strict=False) for text in texts if text
    )


def _immutable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def option(
    default: Any,
    help: str,
    *,
    kind: type[cfg.Opt] | None = None,
    read: Callable[[Any], Any] = _immutable,
    **more: Any,
) -> Any:
    """Declare a field, and the option of its name.

    :param kind: class of the option, if not that of the field's type
    :param read: converts the option's value; unset, lists become tuples
    :param more: further arguments of the option's class
    """
    more |= {'default': default, 'help': help}
    return dataclasses.field(
        metadata={'kind': kind, 'read': read, 'arguments': more}
    )


def of(group: str | None, **groups: str | None) -> Callable[[Cls], Cls]:
    """Make the options of a dataclass, and give its fields their defaults.

    Apply it below ``@dataclass``. Secrets are left out of the ``repr``.

    :param group: of the options, None for [DEFAULT]
    :param groups: of single ones, by their names
    """

    def prepare(cls: Cls) -> Cls:
        hints = typing.get_type_hints(cls)
        for name, field in vars(cls).items():
            if not isinstance(field, dataclasses.Field):
                continue
            declared = field.metadata
            kind = declared['kind'] or _kind(hints[name])
            opt = kind(name, **declared['arguments'])
            field.metadata = {  # type: ignore[assignment]
                **declared,
                'opt': opt,
                'group': groups.get(name, group),
            }
            value = declared['read'](opt.default)
            if isinstance(value, dict):
                field.default_factory = value.copy
            else:
                field.default = value
            field.repr = not opt.secret
        return cls

    return prepare


def options(cls: type) -> Mapping[str | None, Sequence[cfg.Opt]]:
    """Return the options of a dataclass by their group."""
    by_group = collections.defaultdict(list)
    for field in dataclasses.fields(cls):
        if field.metadata:
            by_group[field.metadata['group']].append(field.metadata['opt'])
    return by_group


def values(cls: type, conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Return the fields of a dataclass as a loaded configuration has them.

    :raises ConfigurationError: the reader of an option has raised ValueError
    """
    settings = {}
    for group, opts in options(cls).items():
        conf.register_opts(opts, group)
    for field in dataclasses.fields(cls):
        if field.metadata:
            group = field.metadata['group']
            section = conf if group is None else conf[group]
            try:
                value = field.metadata['read'](section[field.name])
            except ValueError as error:
                raise ConfigurationError(
                    f'[{group or "DEFAULT"}] {field.name}: {error}'
                ) from None
            settings[field.name] = value
    return settings


def _kind(hint: Any) -> type[cfg.Opt]:
    """Return the class of options for fields of a type, None beside it."""
    if isinstance(hint, types.UnionType):
        hint = next(one for one in hint.__args__ if one is not types.NoneType)
    return _KINDS.get(typing.get_origin(hint) or hint, cfg.ListOpt)
