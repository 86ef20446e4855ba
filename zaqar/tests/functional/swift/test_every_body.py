# SPDX-License-Identifier: Apache-2.0
"""The contract suite with every body in Swift, the smallest too."""

from __future__ import annotations

import subprocess
import sys

#: Parts that post few messages; each is an object. The rest takes minutes.
_PART = 'test_bodies or test_popping'


def test_the_contract_holds_when_no_body_stays_in_its_row() -> None:
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider'),
            *('-p', 'zaqar.tests.functional.swift.every_body'),
            *('--pyargs', 'zaqar.tests.contract'),
            *('-k', f'every-body and ({_PART})'),
        ],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ' passed' in done.stdout
