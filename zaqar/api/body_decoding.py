# SPDX-License-Identifier: Apache-2.0
"""Decoding of request bodies, with the errors of malformed ones."""

import re
from typing import Any, TypeVar

import msgspec

from zaqar.api import bounded_json
from zaqar.errors import InvalidBody

#: The path that msgspec gives of a fault: ``$.messages[0].ttl``.
_PLACE = re.compile(r'at `\$(?:[^`]*\.)?(\w+)(?:\[[^`]*)?`')

T = TypeVar('T')


class NotAnObject(InvalidBody):
    """An array in the place of an object."""


def struct(raw: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode into a struct whose fields are integers or left raw.

    :raises NotAnObject: an array
    :raises InvalidBody: no JSON, or a field of another type
    """
    try:
        return bounded_json.decode(raw, decoder.decode)
    except msgspec.ValidationError as error:
        raise _misfit(raw, str(error)) from None


def mapping(raw: bytes) -> dict[str, Any]:
    """Decode into an object with any members."""
    document = bounded_json.decode_any(raw)
    if not isinstance(document, dict):
        raise InvalidBody('Document type not supported.')
    return document


def _misfit(raw: bytes, fault: str) -> InvalidBody:
    # Raises for a scalar, which is no document.
    if isinstance(bounded_json.decode_any(raw), list):
        return NotAnObject('Document type not supported.')
    place = _PLACE.search(fault)
    if place is None or place[1] == 'messages':
        return InvalidBody('Document type not supported.')
    return InvalidBody(f'The value of the "{place[1]}" field must be a int.')
