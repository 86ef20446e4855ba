# SPDX-License-Identifier: Apache-2.0
"""Checks of the groups and attributes that posts have from 2.1 on."""

import base64
import binascii
import re
from contextlib import suppress
from typing import Any

import msgspec

from zaqar.controllers import message_attribute_codec
from zaqar.controllers.message_attribute_codec import Attribute
from zaqar.errors import InvalidBody, InvalidRequest

#: A member of a message that is still encoded.
Member = msgspec.Raw | msgspec.UnsetType

#: Attributes of a message, at most, and those that are not counted: clients of
#: Amazon SQS send them beside the others.
MAX_ATTRIBUTES = 10
TRACE, FAIR_GROUP = 'AWS.TraceHeader', 'AWS.MessageGroupId'
NOT_COUNTED = frozenset((TRACE, FAIR_GROUP))

#: Characters of the name and of the type of an attribute, at most.
MAX_NAME = 256

#: Printable ASCII without blanks.
TEXT = re.compile(r'[!-~]{1,128}')

_NAME = re.compile(r'[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*')
TYPE = re.compile(r'(String|Number|Binary)(\.[A-Za-z0-9_.-]+)?')

#: Digits are those of an exact decimal number.
_NUMBER = re.compile(
    r'[+-]?(\d{1,38}(\.\d{0,38})?|\.\d{1,38})([eE][+-]?\d{1,3})?', re.ASCII
)

_DECODER = msgspec.json.Decoder(dict[str, Attribute])


def text(name: str, raw: Member) -> str | None:
    """Return a group or a text that duplicates have in common, if any.

    :param name: of the member
    :raises InvalidBody: it is neither
    """
    if isinstance(raw, msgspec.UnsetType):
        return None
    value: Any = None
    with suppress(msgspec.DecodeError):
        value = msgspec.json.decode(raw)
    if isinstance(value, str) and TEXT.fullmatch(value):
        return value
    raise InvalidBody(
        f'The value of the "{name}" field must be a text of 1 to 128 '
        'printable ASCII characters without blanks.'
    )


def group(raw: Member, *delays: Member) -> str | None:
    """Return the group of a message, if it has one.

    :param delays: members that a message with a group must not have
    :raises InvalidRequest: it has one all the same
    """
    name = text('group', raw)
    if name is not None and any(
        isinstance(delay, msgspec.Raw) for delay in delays
    ):
        raise InvalidRequest(
            'A message with a "group" may have neither "delay" nor '
            '"deliver_at".'
        )
    return name


def attributes(raw: Member) -> bytes | None:
    """Return the attributes of a message, encoded; None without any.

    :raises InvalidBody: they are malformed
    """
    if isinstance(raw, msgspec.UnsetType):
        return None
    try:
        values = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        raise InvalidBody(
            'The value of the "attributes" field must be an object whose '
            'values are objects with the texts "type" and "value".'
        ) from None
    if len(values.keys() - NOT_COUNTED) > MAX_ATTRIBUTES:
        raise InvalidBody(
            f'A message may have at most {MAX_ATTRIBUTES} attributes.'
        )
    for name, attribute in values.items():
        _check(name, attribute)
    return (
        message_attribute_codec.encode_attributes(values) if values else None
    )


def _check(name: str, attribute: Attribute) -> None:
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise InvalidBody(
            'The name of an attribute must be 1 to 256 letters, digits, '
            'hyphens, underscores and single dots between them.'
        )
    kind = TYPE.fullmatch(attribute.type)
    if kind is None or len(attribute.type) > MAX_NAME:
        raise InvalidBody(
            f'The type of the attribute "{name}" must be "String", "Number" '
            'or "Binary"; a label may follow, as in "String.json".'
        )
    if not _is_of(kind[1], attribute.value):
        raise InvalidBody(
            f'The value of the attribute "{name}" is not of its type: a '
            '"String" is not empty, a "Number" is a decimal number, and '
            '"Binary" is base64.'
        )


def _is_of(kind: str, value: str) -> bool:
    if kind == 'Number':
        return bool(_NUMBER.fullmatch(value))
    if kind == 'Binary':
        try:
            return bool(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            return False
    return bool(value)
