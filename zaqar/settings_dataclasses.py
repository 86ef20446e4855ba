# SPDX-License-Identifier: Apache-2.0
"""Settings dataclasses that take their values and defaults from options.

A default stands in the option alone::

    @dataclass(frozen=True)
    @settings.of({GROUP: OPTS})
    class Settings:
        port: int = settings.option()
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from oslo_config import cfg

#: Options by their group, None for [DEFAULT].
Groups = Mapping[str | None, Sequence[cfg.Opt]]

Cls = TypeVar('Cls', bound=type)

_READ = 'read'


def option(read: Callable[[Any], Any] | None = None) -> Any:
    """Declare a field with the value of the option of the same name.

    :param read: converts the option's value; unset, lists become tuples
    """
    return dataclasses.field(metadata={_READ: read or _immutable})


def of(groups: Groups) -> Callable[[Cls], Cls]:
    """Give the fields of a dataclass the defaults of their options.

    Apply it below ``@dataclass``. Secrets are left out of the ``repr``.

    :raises TypeError: a field has no option
    """
    by_name = {opt.dest: opt for opts in groups.values() for opt in opts}

    def prepare(cls: Cls) -> Cls:
        for name, field in _declared(cls).items():
            opt = by_name.get(name)
            if opt is None:
                raise TypeError(f'{cls.__name__}.{name}: no such option')
            value = field.metadata[_READ](opt.default)
            if isinstance(value, dict):
                field.default_factory = value.copy
            else:
                field.default = value
            field.repr = not opt.secret
        return cls

    return prepare


def values(cls: type, conf: cfg.ConfigOpts, groups: Groups) -> dict[str, Any]:
    """Return the fields of a dataclass as a loaded configuration has them."""
    fields = {
        field.name: field.metadata[_READ]
        for field in dataclasses.fields(cls)
        if _READ in field.metadata
    }
    settings = {}
    for group, opts in groups.items():
        conf.register_opts(opts, group)
        section = conf if group is None else conf[group]
        for opt in opts:
            if opt.dest in fields:
                settings[opt.dest] = fields[opt.dest](section[opt.dest])
    return settings


def _declared(cls: type) -> dict[str, Any]:
    return {
        name: field
        for name, field in vars(cls).items()
        if isinstance(field, dataclasses.Field) and _READ in field.metadata
    }


def _immutable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
