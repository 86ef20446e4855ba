# SPDX-License-Identifier: Apache-2.0
"""No text that a caller sends costs more than its length."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import zaqar
from zaqar.api import bounded_json
from zaqar.api.operation_declarations import messages
from zaqar.errors import InvalidRequest
from zaqar.tests.unit import backtracking

#: What texts are made of: a beginning, and then one of these for long.
BEGINNINGS = ('', '"', '[', 'at `$', '://', '?', 'Error running script')
REPEATED = (
    ' ', '-', 'e', '1', '.', '"', '\\"', '\\', '[', '{', ',1', '1.1e',
    'a', 'a.', ':', '@', 'a@', '~', '/', '=', '&', '?a', '\n', 'at `$',
    '`', '\\ud8', '://', 'queue', 'password',
)  # fmt: skip

#: Applied with ``match`` or ``fullmatch`` alone.
ANCHORED = {
    'zaqar.storage.secret_masking._SCHEME',
    'zaqar.transport.wsgi.server.request_parser._METHOD',
}

#: Modules that do more than define things when they are imported.
_LEFT_OUT = ('zaqar.tests', '.migrations.env', '.wsgi.app')


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for module in pkgutil.walk_packages(zaqar.__path__, 'zaqar.'):
        if any(part in module.name for part in _LEFT_OUT):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f'{module.name}.{name}', value


PATTERNS = dict(patterns())


def growth(
    pattern: re.Pattern[Any], beginning: str, unit: str, *, searched: bool
) -> float:
    """Return how much more twice the text costs."""
    few, many = (
        backtracking.steps(
            pattern, beginning + unit * (size // len(unit)), searched=searched
        )
        for size in (24, 48)
    )
    # Less than a step for a character says nothing.
    return many / max(few, 24)


def test_exemptions_are_for_patterns_that_exist() -> None:
    assert PATTERNS.keys() >= ANCHORED


@pytest.mark.proves('linear parsing')
@pytest.mark.parametrize('name', PATTERNS)
def test_twice_the_text_costs_twice_the_steps(name: str) -> None:
    worst = max(
        growth(PATTERNS[name], beginning, unit, searched=name not in ANCHORED)
        for beginning, unit in itertools.product(BEGINNINGS, REPEATED)
    )
    assert worst < 2.5, name


@pytest.mark.parametrize(
    'pattern',
    [
        rb'"(?:[^"\\]|\\.)*"',
        rb'[-+.0-9eE]*[0-9][-+.0-9eE]*',
        r'(\w+)=',
    ],
)
def test_a_pattern_that_goes_back_is_noticed(pattern: Any) -> None:
    assert any(
        growth(re.compile(pattern), beginning, unit, searched=True) > 3
        for beginning, unit in itertools.product(BEGINNINGS, REPEATED[:16])
    )


@pytest.mark.parametrize('unit', [b'-', b'e', b'\\"', b'"\\"', b'1-1e'])
@pytest.mark.parametrize('form', [b'%b', b'{"messages": [1%b', b'{"a": "%b'])
def test_a_long_text_that_is_no_json_is_refused(
    unit: bytes, form: bytes
) -> None:
    raw = form % (b'[' * 101 + unit * 2000)
    for read in (bounded_json.decode_any, messages.POST.decode):
        with pytest.raises(InvalidRequest):
            read(raw)
