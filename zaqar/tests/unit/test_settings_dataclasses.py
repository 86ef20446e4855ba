# SPDX-License-Identifier: Apache-2.0
"""Settings take values and defaults from their options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from oslo_config import cfg

from zaqar import settings_dataclasses

OPTS = [
    cfg.IntOpt('size', default=3),
    cfg.ListOpt('names', default=['A']),
    cfg.DictOpt('mail', default={'topic': 'x'}),
    cfg.StrOpt('key', secret=True),
]

GENERAL = [cfg.BoolOpt('loud', default=False), cfg.BoolOpt('unused')]

GROUPS: settings_dataclasses.Groups = {'group': OPTS, None: GENERAL}


@dataclass(frozen=True)
@settings_dataclasses.of(GROUPS)
class Sample:
    size: int = settings_dataclasses.option()
    names: tuple[str, ...] = settings_dataclasses.option(
        lambda names: tuple(name.lower() for name in names)
    )
    mail: Mapping[str, str] = settings_dataclasses.option()
    key: str | None = settings_dataclasses.option()
    loud: bool = settings_dataclasses.option()
    other: int = 7


def test_defaults_are_those_of_the_options() -> None:
    assert Sample() == Sample(3, ('a',), {'topic': 'x'}, None, False, 7)


def test_a_default_that_can_change_is_nobody_elses() -> None:
    assert Sample().mail is not Sample().mail


def test_values_are_those_of_the_configuration() -> None:
    conf = cfg.ConfigOpts()
    conf([], project='zaqar-test')
    for group, opts in GROUPS.items():
        conf.register_opts(opts, group)
    conf.set_override('names', ['B', 'C'], 'group')
    conf.set_override('loud', True)
    sample = Sample(**settings_dataclasses.values(Sample, conf, GROUPS))
    assert sample == Sample(names=('b', 'c'), loud=True)


def test_secrets_are_not_shown() -> None:
    assert 'hush' not in repr(Sample(key='hush'))


def test_a_field_without_an_option_is_refused() -> None:
    with pytest.raises(TypeError, match='sizes'):

        @settings_dataclasses.of(GROUPS)
        class Wrong:
            sizes: int = settings_dataclasses.option()
