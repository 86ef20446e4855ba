# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

from __future__ import annotations

import functools
import pathlib
import re
from typing import Any

import pytest

#: Folders in the order in which they are run: what is run by several
#: processes ends for all at about the same time if the short files are last.
ORDER = ('functional', 'contract', 'functional/http')

#: Files that share servers which are long in starting, by what these are: one
#: process runs them all.
TOGETHER = re.compile(
    '(?P<heat>/heat/)|(?P<clients>/scenarios/)|(?P<sqs>/sqs/)'
    '|(?P<galera>galera|/functional/cluster/)'
)

#: How many tests may pass only the second time, where they run twice. More are
#: no accident of the machine.
MOST_RERUN = 3

_HERE = pathlib.Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Declare our marker."""
    config.addinivalue_line(
        'markers',
        'proves(rule): fails when this security rule is broken; the rules '
        'are in doc/source/contributor/security_rules.rst',
    )


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if many tests had to run twice."""
    reporter = session.config.pluginmanager.getplugin('terminalreporter')
    if reporter is None:
        # A process of several, which reports to the first.
        return
    again = {one.nodeid for one in reporter.stats.get('rerun', ())}
    if len(again) > MOST_RERUN and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f'{len(again)} tests had to run twice', red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share out files, and some folders as a whole."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        """Gives each file to a process, and its neighbours if need be."""

        def _split_scope(self, nodeid: str) -> str:
            path = str(super()._split_scope(nodeid))
            shared = TOGETHER.search(path)
            return str(shared.lastgroup) if shared else path

    if config.getoption('dist') != 'loadfile':
        return None
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first."""
    items.sort(key=lambda item: _turn(item.path))


@functools.cache
def _turn(path: pathlib.Path) -> int:
    turns = [
        turn for turn, name in enumerate(ORDER) if _HERE / name in path.parents
    ]
    return max(turns, default=len(ORDER))
