# SPDX-License-Identifier: Apache-2.0
"""Limits of JSON: UTF-8, numbers within range, bounded nesting.

Message bodies are stored as the client's own bytes and never decoded on the
hot path; the decoder skips over them without checking their text. They are
checked here once, after they are known to be JSON. Only a text with a long
number, an exponent or many brackets is examined more closely.
"""

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from zaqar.errors import InvalidBody

#: Objects and arrays within each other.
MAX_DEPTH = 100

MIN_INT = -(2**63)
MAX_INT = 2**63 - 1

#: Any number that could be out of range, behind what comes before a member of
#: an object or array; strings may give false alarms, but ids seldom do.
_SUSPECT = re.compile(
    rb'[\[:,\s](-?[0-9](?:[0-9]{18}|[0-9.]*[eE])[-+.0-9eE]*)'
)
#: A string; one that is left open ends with the text.
#: What every such text has once it is translated, which takes a fifth of the
#: time of that search: a mark, digits and an exponent, or many digits.
_SPACE = b' \t\n\r\f\v'
_PLAIN = bytes.maketrans(
    b'123456789.E[:' + _SPACE, b'0' * 10 + b'e,,' + b',' * len(_SPACE)
)
_EXPONENT = re.compile(rb',0++e')
_MANY_DIGITS = b'0' * 19
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
#: What is no bracket, and what makes all brackets square.
_NO_BRACKET = bytes(set(range(256)) - set(b'[]{}'))
_SQUARE = bytes.maketrans(b'{}', b'[]')
_FLOAT = frozenset(b'.eE')

T = TypeVar('T')


def unparsable() -> InvalidBody:
    """Return the error for a body that is not JSON."""
    return InvalidBody('Request body could not be parsed.')


def decode(raw: bytes, decoder: Callable[[bytes], T]) -> T:
    """Decode a text and check it, in linear time.

    :param decoder: a msgspec decoder's ``decode``
    :raises InvalidBody: not UTF-8, not JSON, nested too deep, a number out of
        range
    :raises msgspec.ValidationError: JSON of another type than wanted
    """
    try:
        raw.decode()
        document = decoder(raw)
    except msgspec.ValidationError:
        # Faults of the JSON itself are reported first.
        decode(raw, _ANYTHING.decode)
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise unparsable() from None
    except RecursionError:
        raise _too_deep() from None
    # What is shorter has no room for as many brackets, and their ends.
    is_deep = len(raw) > 2 * MAX_DEPTH and (
        raw.count(b'[') + raw.count(b'{') > MAX_DEPTH
    )
    plain = raw.translate(_PLAIN, b'-')
    has_suspect = (
        _EXPONENT.search(plain) is not None or _MANY_DIGITS in plain
    ) and _SUSPECT.search(raw) is not None
    if is_deep or has_suspect:
        _check(raw, is_deep=is_deep)
    return document


def decode_any(raw: bytes) -> Any:
    """Decode an object or array of any shape."""
    try:
        return decode(raw, _CONTAINER.decode)
    except msgspec.ValidationError:
        raise unparsable() from None


_CONTAINER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    dict[str, Any] | list[Any]
)
_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder(msgspec.Raw)


def _too_deep() -> InvalidBody:
    return InvalidBody(f'JSON is nested more than {MAX_DEPTH} levels deep.')


def _check(raw: bytes, *, is_deep: bool) -> None:
    """Check the numbers of a text that is JSON, and its nesting if need be."""
    bare = _STRING.sub(b'', raw)
    if is_deep:
        _check_depth(bare)
    for match in _SUSPECT.finditer(bare):
        _check_number(match[1])


def _check_depth(bare: bytes) -> None:
    """Check the nesting of a text without strings.

    Each pass removes the innermost brackets of all branches.
    """
    brackets = bare.translate(_SQUARE, _NO_BRACKET)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        brackets = brackets.replace(b'[]', b'')
    if brackets:
        raise _too_deep()


def _check_number(token: bytes) -> None:
    if not _fits(token):
        kind = 'integer' if _FLOAT.isdisjoint(token) else 'number'
        raise InvalidBody(f'JSON contains {kind} that is too large.')


def _fits(token: bytes) -> bool:
    if not _FLOAT.isdisjoint(token):
        return not math.isinf(float(token))
    return len(token) <= 20 and MIN_INT <= int(token) <= MAX_INT
