# SPDX-License-Identifier: Apache-2.0
"""Priority of a process that is loading."""

from __future__ import annotations

import subprocess
import sys

#: In a process of its own, since not everybody may raise the priority again.
_PROGRAM = """
import os
import threading
from zaqar.cmd import priority

usual = os.getpriority(os.PRIO_PROCESS, 0)
before = priority.lower()
ended = threading.Event()
thread = threading.Thread(target=ended.wait)
thread.start()
numbers = [0, thread.native_id]
lowered = [os.getpriority(os.PRIO_PROCESS, number) for number in numbers]
if before is not None:
    priority.restore(before)
restored = [os.getpriority(os.PRIO_PROCESS, number) for number in numbers]
ended.set()
print(before is None, set(lowered) == {19}, set(restored) == {usual})
"""


def test_a_lowered_priority_is_restored_for_all_threads() -> None:
    run = subprocess.run(
        [sys.executable, '-c', _PROGRAM],
        capture_output=True,
        text=True,
        check=True,
    )
    unchanged, lowered, restored = run.stdout.split()
    assert restored == 'True'
    assert lowered != unchanged
