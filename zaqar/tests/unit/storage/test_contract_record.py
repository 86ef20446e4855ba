# SPDX-License-Identifier: Apache-2.0
"""The record of a run of the whole contract."""

from __future__ import annotations

import csv
import pathlib
from types import SimpleNamespace
from typing import Any

import pytest

from zaqar.tests.contract.harnesses import Sqlite
from zaqar.tests.contract.record import HEADER, SERVERS, Record


def end(record: Record, test: str, *outcomes: str) -> None:
    """Let a test of SQLite end; there is an outcome for each phase."""
    item: Any = SimpleNamespace(
        callspec=SimpleNamespace(params={'harness': Sqlite}),
        nodeid=test,
        path=pathlib.Path(test.partition('::')[0]),
    )
    for when, outcome in zip(
        ('setup', 'call', 'teardown'), outcomes, strict=False
    ):
        report = SimpleNamespace(outcome=outcome, when=when, duration=40.0)
        phase: Any = record.pytest_runtest_makereport(item)
        next(phase)
        with pytest.raises(StopIteration) as stop:
            phase.send(report)
        assert stop.value.value is report


def session(limit: bool | str = False) -> Any:
    """Return a session in which SQLite was started.

    :param limit: why it stopped after a failure
    """
    stash = pytest.Stash()
    stash[SERVERS] = {'sqlite': 'SQLite 3'}
    config = SimpleNamespace(stash=stash)
    return SimpleNamespace(shouldfail=limit, config=config)


def rows(path: pathlib.Path) -> list[dict[str, str]]:
    """Return the rows of the record."""
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    """A record with two former runs."""
    csv_file = tmp_path / 'record.csv'
    former = ('x', '26', '9', '0', '0', '1', '2001-01-01', 'abc')
    with csv_file.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerow(('redis', *former))
        writer.writerow(('sqlite', *former))
    return csv_file


def test_a_run_replaces_the_row_of_its_store(path: pathlib.Path) -> None:
    record = Record(path)
    end(record, 'test_a.py::one', 'passed', 'passed', 'passed')
    end(record, 'test_a.py::two', 'passed', 'failed', 'passed')
    end(record, 'test_b.py::one', 'passed', 'passed', 'failed')
    end(record, 'test_c.py::one', 'skipped', 'passed')
    record.pytest_sessionfinish(session(), 0)
    redis, sqlite = rows(path)
    assert redis['Commit'] == 'abc'
    assert sqlite['Server'] == 'SQLite 3'
    assert [sqlite[name] for name in HEADER[2:7]] == ['3', '1', '1', '2', '7']
    assert sqlite['Date'] > '2026'
    assert sqlite['Commit'] != 'abc'


@pytest.mark.parametrize(
    ('status', 'limit'), [(2, False), (3, False), (1, 'after one failure')]
)
def test_a_run_that_was_cut_short_is_not_recorded(
    path: pathlib.Path, status: int, limit: bool | str
) -> None:
    before = path.read_text()
    Record(path).pytest_sessionfinish(session(limit), status)
    assert path.read_text() == before


def test_a_run_of_some_tests_is_not_recorded(path: pathlib.Path) -> None:
    before = path.read_text()
    record = Record(path)
    record.pytest_deselected()
    record.pytest_sessionfinish(session(), 0)
    assert path.read_text() == before
