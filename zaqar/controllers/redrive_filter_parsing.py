# SPDX-License-Identifier: Apache-2.0
"""Parsing of the filter of a redrive into conditions."""

from typing import Any

import msgspec

from zaqar.controllers import body_filter
from zaqar.controllers.body_filter import Filter
from zaqar.controllers.filter_operators import InvalidFilter
from zaqar.controllers.redrive_request_member_checks import (
    MOST,
    check_names,
    number,
)
from zaqar.errors import InvalidRequest

#: The members of a filter.
TEXTS, AGES, BODY = ('source', 'reason'), ('older_than', 'newer_than'), 'body'


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
