# SPDX-License-Identifier: Apache-2.0
"""Writes what a run of the whole contract has shown.

``ZAQAR_TEST_RECORD`` names a CSV file with a row for each harness. A run
replaces the rows of its harnesses, if it ran all of the tests of each.
"""

from __future__ import annotations

import datetime
import pathlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import pytest

from zaqar.tests import results

HEADER = (
    'Store',
    'Server',
    'Modules',
    'Passed',
    'Skipped',
    'Failed',
    'Minutes',
    'Date',
    'Commit',
)

#: The servers of the harnesses that were started, by their names.
SERVERS = pytest.StashKey[dict[str, str]]()

#: How a test ended, the strongest last.
_OUTCOMES = ('passed', 'skipped', 'failed')


class Record:
    """Counts outcomes by harness.

    :param path: the file
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._outcomes: dict[str, dict[str, str]] = defaultdict(dict)
        self._modules: dict[str, set[str]] = defaultdict(set)
        self._seconds: dict[str, float] = defaultdict(float)
        self._is_partial = False

    def pytest_deselected(self) -> None:
        """Note that not all tests are run."""
        self._is_partial = True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Note how a phase of a test ended."""
        report: pytest.TestReport = yield  # type: ignore[assignment, misc]
        name = harness_name(item)
        if name is not None:
            ends = self._outcomes[name]
            former = ends.get(item.nodeid, 'passed')
            ends[item.nodeid] = max(
                former, report.outcome, key=_OUTCOMES.index
            )
            self._seconds[name] += report.duration
            if report.when == 'call':
                self._modules[name].add(item.path.stem)
        return report  # type: ignore[return-value]

    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> None:
        """Write the file, unless the run was cut short."""
        is_over = exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.TESTS_FAILED,
        )
        if self._is_partial or session.shouldfail or not is_over:
            return
        servers = session.config.stash.get(SERVERS, {})
        rows = [self._row(name, server) for name, server in servers.items()]
        results.update(self._path, HEADER, rows)

    def _row(self, name: str, server: str) -> Sequence[object]:
        ends = list(self._outcomes[name].values())
        return (
            name,
            server,
            len(self._modules[name]),
            *map(ends.count, _OUTCOMES),
            f'{self._seconds[name] / 60:.0f}',
            f'{datetime.datetime.now(datetime.UTC):%Y-%m-%d}',
            results.commit(),
        )


def harness_name(item: pytest.Item) -> str | None:
    """Return the name of the harness that a test runs on."""
    call = getattr(item, 'callspec', None)
    kind = call.params.get('harness') if call else None
    return getattr(kind, 'name', None)
