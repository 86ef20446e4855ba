# SPDX-License-Identifier: Apache-2.0
"""Results replace their former selves in files, and nothing else."""

from __future__ import annotations

import pathlib

from benchmarks import report
from benchmarks.report import Table

_RESULTS = """# Results

## Rates

old

## Soak

soaked
"""


def test_a_section_replaces_itself_or_comes_after_its_kind(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / 'RESULTS.md'
    path.write_text(_RESULTS)

    report.write_section(path, 'Soak', 'new')
    report.write_section(path, 'Rates, redis', 'fast')

    assert path.read_text() == (
        '# Results\n\n## Rates\n\nold\n\n## Rates, redis\n\nfast\n\n'
        '## Soak\n\nnew\n'
    )


def test_rows_of_a_table_replace_those_of_the_same_store(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / 'table.csv'
    head = ('Store', 'a second')

    report.write_csv(path, Table('', head, [('a', '1,000'), ('b', '2')]))
    report.write_csv(path, Table('', head, [('a', '3')]))
    assert path.read_text() == 'Store,a second\nb,2\na,3\n'

    report.write_csv(path, Table('', head, [('c', '4')]), anew=True)
    assert path.read_text() == 'Store,a second\nc,4\n'
