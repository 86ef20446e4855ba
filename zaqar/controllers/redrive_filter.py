# SPDX-License-Identifier: Apache-2.0
"""The filter of a redrive: its conditions, and checks of their values."""

from collections.abc import Mapping
from typing import Any

import msgspec

from zaqar.controllers import body_filter
from zaqar.controllers.body_filter import Filter
from zaqar.controllers.filter_operators import InvalidFilter
from zaqar.controllers.json_integer_check import is_int
from zaqar.errors import InvalidRequest

#: The members of a filter.
TEXTS, AGES, BODY = ('source', 'reason'), ('older_than', 'newer_than'), 'body'

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


class Conditions(msgspec.Struct, frozen=True):
    """A filter of a redrive, taken apart.

    :ivar facts: conditions on source and reason
    """

    facts: Filter
    body: Filter
    older_than: int | None
    newer_than: int | None


def compiled(conditions: Any) -> Conditions:
    """Return a filter that was sent, taken apart.

    :raises InvalidRequest: it is malformed
    """
    if not isinstance(conditions, dict):
        raise InvalidRequest('"filter" must be an object.')
    check_names(conditions, frozenset((*TEXTS, *AGES, BODY)), 'a filter')
    facts = {
        name: [value] if isinstance(value, str) else value
        for name in TEXTS
        if (value := conditions.get(name)) is not None
    }
    body = conditions.get(BODY)
    older, newer = (number(conditions, name, 0, MOST) for name in AGES)
    if older is not None and newer is not None and older >= newer:
        raise InvalidRequest(
            '"older_than" must be less than "newer_than", or no message could '
            'match.'
        )
    try:
        return Conditions(
            body_filter.parse(facts, 'filter'),
            body_filter.parse({} if body is None else body, 'filter.body'),
            older,
            newer,
        )
    except InvalidFilter as error:
        raise InvalidRequest(str(error)) from None
