# SPDX-License-Identifier: Apache-2.0
"""Checks of members of the request of a redrive, and of its filter."""

from collections.abc import Mapping
from typing import Any

from zaqar.controllers.json_integer_check import is_int
from zaqar.errors import InvalidRequest

#: Bounds of a limit and of an age.
MOST = 2**53


def check_names(
    members: Mapping[str, Any], known: frozenset[str], what: str
) -> None:
    """Refuse members that are not known.

    :param what: what they are members of, for the error
    :raises InvalidRequest: there is one
    """
    unknown = sorted(members.keys() - known)
    if unknown:
        raise InvalidRequest(
            f'{unknown[0]!r} is no member of {what}; there are '
            f'{", ".join(sorted(known))}.'
        )


def number(
    members: Mapping[str, Any], name: str, least: int, most: int
) -> int | None:
    """Return a member that is an integer within bounds, None if absent.

    :raises InvalidRequest: it is no such integer
    """
    value = members.get(name)
    if value is None:
        return None
    if not is_int(value) or not least <= value <= most:
        raise InvalidRequest(
            f'"{name}" must be an integer of {least} to {most}.'
        )
    return int(value)
