# SPDX-License-Identifier: Apache-2.0
"""The table of faults is written row by row."""

from __future__ import annotations

import csv
import pathlib

import pytest

from zaqar.tests.functional.cluster import table
from zaqar.tests.functional.cluster.history import Answer, History


def test_a_row_counts_what_is_wrong_in_all_runs(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'table.csv'
    monkeypatch.setattr(table, 'FILE', str(path))
    well = History(deleted=['a', 'b'], reads=3).judge([], [])
    ill = History(
        answers=[
            Answer(0, 2.5, 'GET', 500),
            Answer(1, 2, 'GET', 503),
            Answer(7, 8, 'GET', 503),
        ],
        posted=['z'],
        deleted=['c'],
        undone=['c'],
        outages=[(1, 2)],
    ).judge([], ['c'])
    table.write('one', 'kill', [well])
    table.write('one', 'pause', [well])
    table.write('one', 'kill', [well, ill])
    header, *rows = csv.reader(path.read_text().splitlines())
    assert header == list(table.HEADER)
    assert [row[:2] for row in rows] == [['one', 'kill'], ['one', 'pause']]
    (row, _) = (dict(zip(header, row, strict=True)) for row in rows)
    assert row.pop('Commit')
    assert list(row.values())[2:] == [
        *('2', '3', '1', '2.5', '3', '1', '1', '1', '0', '0'),
        *('1 of 3', '0 of 3', '0 of 0'),
    ]
