# SPDX-License-Identifier: Apache-2.0
"""The transport is off unless it is switched on."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys
from zaqar import service_assembly
names = sys.modules
print(*[name for name in names if name.startswith('zaqar.transport.sqs.')])
"""


def test_nothing_but_settings_is_imported_while_it_is_off() -> None:
    done = subprocess.run(
        [sys.executable, '-c', _PROGRAM],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ['zaqar.transport.sqs.settings']
