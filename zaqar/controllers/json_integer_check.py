# SPDX-License-Identifier: Apache-2.0
"""Whether a decoded JSON value is an integer."""

from typing import Any


def is_int(value: Any) -> bool:
    """Tell whether a JSON value is an integer; booleans are none."""
    return type(value) is int
