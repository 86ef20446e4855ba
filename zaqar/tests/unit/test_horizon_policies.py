# SPDX-License-Identifier: Apache-2.0
"""The policies that Horizon reads are those of the service."""

from __future__ import annotations

import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).parents[3]


def test_the_policies_for_horizon_are_up_to_date() -> None:
    tool = TOP / 'tools' / 'horizon_policies.py'
    done = subprocess.run(
        [sys.executable, str(tool), '--check'],
        env={'PYTHONPATH': str(TOP)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, '')
