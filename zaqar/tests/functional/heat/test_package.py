# SPDX-License-Identifier: Apache-2.0
"""The resource types as a package, and their tables."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

from zaqar.tests.servers import heat

TYPES = {
    'Flavor',
    'MistralTrigger',
    'Pool',
    'Queue',
    'Signal',
    'SignalWait',
    'SignedQueueURL',
    'Subscription',
    'Topic',
}


def run(*command: str) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, f'{done.stdout}{done.stderr}'
    return done.stdout


def test_heat_loads_the_types_from_where_pip_puts_them(
    tmp_path: pathlib.Path,
) -> None:
    # A copy: pip leaves things in the folder that it builds from.
    source = shutil.copytree(heat.PLUGINS, tmp_path / 'source')
    python = str(heat.environment() / 'bin' / 'python')
    run(
        *(python, '-m', 'pip', 'install', '--quiet', '--no-deps'),
        *('--no-build-isolation', '--disable-pip-version-check'),
        *('--prefix', str(tmp_path / 'prefix'), str(source)),
    )
    folder = tmp_path / 'prefix' / 'lib' / 'heat'
    lines = run(*heat.program('list', str(folder))).splitlines()
    ours = dict(line.split() for line in lines)
    assert set(ours) == {f'OS::Zaqar::{name}' for name in TYPES}
    assert all(m.startswith('heat.engine.plugins.') for m in ours.values())
    shared = tmp_path / 'prefix' / 'share' / 'zaqar' / 'heat-templates'
    assert (shared / 'signal.yaml').exists()


def test_types_of_heat_are_replaced_by_what_has_all_of_theirs() -> None:
    lines = run(*heat.program('missing', str(heat.PLUGINS))).splitlines()
    assert sorted(lines) == [
        f'type OS::Zaqar::{name}'
        for name in (
            'MistralTrigger',
            'Queue',
            'SignedQueueURL',
            'Subscription',
        )
    ]


def test_the_tables_in_the_readme_are_up_to_date() -> None:
    python = str(heat.environment() / 'bin' / 'python')
    tool = heat.PLUGINS.parent / 'tools' / 'heat_table.py'
    run(python, str(tool), '--check')
