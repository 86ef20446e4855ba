# SPDX-License-Identifier: Apache-2.0
"""The README names every program and module here."""

from __future__ import annotations

import pathlib

import pytest

FOLDER = pathlib.Path(__file__).parent

MODULES = [
    path
    for path in sorted(FOLDER.glob('*.py'))
    if not path.name.startswith(('__', 'test_'))
]


@pytest.mark.parametrize('module', MODULES, ids=lambda path: path.stem)
def test_the_readme_names_a_module(module: pathlib.Path) -> None:
    readme = (FOLDER / 'README.rst').read_text()

    assert f'``{module.stem}``' in readme
