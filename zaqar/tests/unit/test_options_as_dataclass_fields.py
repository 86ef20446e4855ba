# SPDX-License-Identifier: Apache-2.0
"""Settings dataclasses declare options, and take values from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from oslo_config import cfg

from zaqar import options_as_dataclass_fields
from zaqar.options_as_dataclass_fields import option


@dataclass(frozen=True)
@options_as_dataclass_fields.of('group', loud=None)
class Sample:
    size: int = option(3, 'A size.', min=1)
    names: tuple[str, ...] = option(
        ['A'],
        'Names.',
        read=lambda names: tuple(name.lower() for name in names),
    )
    mail: Mapping[str, str] = option({'topic': 'x'}, 'Mails.')
    key: str | None = option(None, 'A key.', secret=True)
    loud: bool = option(False, 'A flag.')
    port: int | None = option(None, 'A port.', kind=cfg.PortOpt)
    other: int = 7


def test_options_have_the_types_of_the_fields() -> None:
    options = options_as_dataclass_fields.options(Sample)
    kinds = {
        group: {opt.name: type(opt) for opt in opts}
        for group, opts in options.items()
    }
    assert kinds == {
        'group': {
            'size': cfg.IntOpt,
            'names': cfg.ListOpt,
            'mail': cfg.DictOpt,
            'key': cfg.StrOpt,
            'port': cfg.PortOpt,
        },
        None: {'loud': cfg.BoolOpt},
    }


def test_defaults_are_those_of_the_options() -> None:
    defaults = 3, ('a',), {'topic': 'x'}, None, False, None, 7
    assert Sample() == Sample(*defaults)


def test_a_default_that_can_change_is_nobody_elses() -> None:
    assert Sample().mail is not Sample().mail


def test_values_are_those_of_the_configuration() -> None:
    conf = cfg.ConfigOpts()
    conf([], project='zaqar-test')
    for group, opts in options_as_dataclass_fields.options(Sample).items():
        conf.register_opts(opts, group)
    conf.set_override('names', ['B', 'C'], 'group')
    conf.set_override('loud', True)
    sample = Sample(**options_as_dataclass_fields.values(Sample, conf))
    assert sample == Sample(names=('b', 'c'), loud=True)


def test_secrets_are_not_shown() -> None:
    assert 'hush' not in repr(Sample(key='hush'))
