# SPDX-License-Identifier: Apache-2.0
"""Shares of a core are written as each version of control groups has them."""

from __future__ import annotations

import pathlib

import pytest

from benchmarks import core_shares
from benchmarks.core_shares import Hierarchy, UnavailableError


def test_version_1_has_a_hierarchy_for_processors() -> None:
    found = core_shares.hierarchy(
        'cgroup2 /none/unified cgroup2 rw 0 0\n'
        'cgroup /none/cpuset cgroup rw,cpuset 0 0\n'
        'cgroup /none/cpu cgroup rw,cpu,cpuacct 0 0\n'
    )

    assert found == Hierarchy(pathlib.Path('/none/cpu'), 1)
    assert found.limits(0.2) == {
        'cpu.cfs_period_us': '20000',
        'cpu.cfs_quota_us': '4000',
    }


def test_version_2_must_pass_the_limit_on(tmp_path: pathlib.Path) -> None:
    control = tmp_path / 'cgroup.subtree_control'
    control.write_text('cpu memory\n')
    mounts = f'cgroup2 {tmp_path} cgroup2 rw 0 0\n'

    found = core_shares.hierarchy(mounts)

    assert found == Hierarchy(tmp_path, 2)
    assert found.limits(0.2) == {'cpu.max': '4000 20000'}
    control.write_text('cpuset memory\n')
    with pytest.raises(UnavailableError):
        core_shares.hierarchy(mounts)
