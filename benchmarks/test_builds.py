# SPDX-License-Identifier: Apache-2.0
"""Another build is checked out, run in turns, and compared."""

from __future__ import annotations

import argparse
import pathlib
import subprocess

import pytest

from benchmarks import builds, report


@pytest.fixture
def repository(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / 'repository'
    who = ('-c', 'user.name=bench', '-c', 'user.email=bench@example.org')
    for words in (
        ('init', '-q', str(folder)),
        ('-C', str(folder), *who, 'commit', '-q', '--allow-empty', '-m', 'a'),
    ):
        subprocess.run(('git', *words), check=True)
    return folder


def test_a_commit_is_checked_out_for_a_while(
    repository: pathlib.Path,
) -> None:
    with builds.checked_out('HEAD', repository) as top:
        assert (top / '.git').is_file()

    assert not top.exists()
    listed = subprocess.run(
        ('git', '-C', str(repository), 'worktree', 'list'),
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(listed.stdout.splitlines()) == 1


def test_another_build_is_a_folder_or_a_commit(
    tmp_path: pathlib.Path,
) -> None:
    assert builds.tree(str(tmp_path)) == tmp_path
    with pytest.raises(argparse.ArgumentTypeError, match='nor a commit'):
        builds.tree('no-such-commit')


def test_a_ratio_is_the_middle_one_with_the_least_and_the_greatest() -> None:
    text = report.ratio([1.0, 2.0, 4.0], [1.5, 2.0, 10.0])

    assert text == '1.50 (1.00 to 2.50)'
