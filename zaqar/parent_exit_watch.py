# SPDX-License-Identifier: Apache-2.0
"""Watch for the exit of the parent process, which may give no signal."""

import os
from collections.abc import Callable


def watch() -> Callable[[], bool]:
    """Return a function that tells whether the present parent has ended."""
    parent = os.getppid()
    return lambda: os.getppid() != parent
