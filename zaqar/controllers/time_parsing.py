# SPDX-License-Identifier: Apache-2.0
"""Moments from texts, as clients write them."""

import datetime
import re
from typing import Any

from zaqar.errors import InvalidBody

_ISO_8601 = re.compile(
    r'\d{4}-\d\d-\d\d'
    r'([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?)?'
    r'(Z|[+-]\d\d(:?\d\d)?)?'
)


def parse_iso_8601(text: str) -> datetime.datetime:
    """Return the moment that a text names; one without a zone is UTC.

    :raises ValueError: it names none
    """
    if not _ISO_8601.fullmatch(text):
        raise ValueError(text)
    parsed = datetime.datetime.fromisoformat(text.replace(',', '.'))
    if parsed.tzinfo is None:
        return parsed.replace(tzinfo=datetime.UTC)
    try:
        return parsed.astimezone(datetime.UTC)
    except OverflowError:
        raise ValueError(text) from None


#: RFC 3339. Python would accept all of ISO 8601, and no lower-case "z".
_RFC3339 = re.compile(
    r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)',
    re.ASCII | re.IGNORECASE,
)
_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)


def parse_rfc3339(text: Any, name: str) -> int:
    """Return a moment in milliseconds, rounded up.

    :param name: of the member that has it
    :raises InvalidBody: it is none
    """
    try:
        if not isinstance(text, str) or not _RFC3339.fullmatch(text):
            raise ValueError(text)
        parsed = parse_iso_8601(text.upper())
    except ValueError:
        raise InvalidBody(
            f'The value of the "{name}" field must be a time with an offset, '
            'as RFC 3339 writes it.'
        ) from None
    return -((_EPOCH - parsed) // _MILLISECOND)
