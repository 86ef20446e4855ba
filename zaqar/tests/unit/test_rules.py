# SPDX-License-Identifier: Apache-2.0
"""Every security rule has tests that prove it."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[3]
PAGE = ROOT / 'doc/source/contributor/security_rules.rst'
RULES = frozenset(
    re.findall(r'^(\S.*)\n    \S', PAGE.read_text(), re.MULTILINE)
)


def marks(test: ast.FunctionDef) -> Iterator[tuple[str, list[object]]]:
    """Yield names and arguments of a test's marks."""
    for mark in test.decorator_list:
        arguments: list[object] = []
        if isinstance(mark, ast.Call):
            arguments = [
                argument.value
                for argument in mark.args
                if isinstance(argument, ast.Constant)
            ]
            mark = mark.func
        yield ast.unparse(mark).removeprefix('pytest.mark.'), arguments


def proofs() -> Iterator[tuple[str, ast.FunctionDef, object]]:
    """Yield each marked test: its address, its code, a rule it proves."""
    for file in sorted((ROOT / 'zaqar/tests').rglob('test_*.py')):
        text = file.read_text()
        if 'mark.proves' not in text:
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                for name, rules in marks(node):
                    for rule in rules if name == 'proves' else ():
                        yield f'{file.name}::{node.name}', node, rule


PROOFS = tuple(proofs())


def asserts(test: ast.FunctionDef) -> bool:
    """Return whether a test can fail by more than an accident."""
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Attribute) and node.attr == 'raises')
        for node in ast.walk(test)
    )


@pytest.mark.parametrize('rule', sorted(RULES))
def test_a_rule_has_a_proof(rule: str) -> None:
    assert rule in {proved for _, _, proved in PROOFS}


@pytest.mark.parametrize(
    ('test', 'rule'),
    [(test, rule) for _, test, rule in PROOFS],
    ids=[f'{name}-{rule}' for name, _, rule in PROOFS],
)
def test_a_proof_asserts_a_rule_of_the_list(
    test: ast.FunctionDef, rule: object
) -> None:
    assert rule in RULES
    assert asserts(test)
    assert not {'skip', 'xfail'} & {name for name, _ in marks(test)}
