# SPDX-License-Identifier: Apache-2.0
"""The tests that prove the security rules are there."""

from __future__ import annotations

import ast
import functools
import pathlib

import pytest

from zaqar.tests import rules

_TESTS = pathlib.Path(rules.__file__).parent


@functools.cache
def _functions(file: str) -> frozenset[str]:
    tree = ast.parse((_TESTS / file).read_text())
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef)
    )


@pytest.mark.parametrize('rule', rules.RULES, ids=lambda rule: rule.name)
def test_a_rule_is_proved_by_tests_that_exist(rule: rules.Rule) -> None:
    assert rule.tests
    for test in rule.tests:
        file, _, function = test.partition('::')
        assert function in _functions(file), test


def test_rules_have_names_of_their_own() -> None:
    names = [rule.name for rule in rules.RULES]
    assert len(set(names)) == len(names)
