# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a value that is to have the members of a struct."""

from typing import Any

import msgspec


def fault(key: str, value: Any, kind: type[msgspec.Struct]) -> str | None:
    """Return what is wrong with the value of a key, None if nothing is."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return f'{key} is not valid: {error}'
    return None
