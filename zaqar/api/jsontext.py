# SPDX-License-Identifier: Apache-2.0
"""What JSON we take: UTF-8, numbers that fit, nesting that ends.

Message bodies are kept as the client's own bytes and never decoded on the hot
path, and the decoder skips over them without a look at their text. They are
checked once, here: a scan by regular expressions, and only a text that holds a
long number, an exponent or many brackets is looked at token by token.
"""

from __future__ import annotations

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
_SUSPECT = re.compile(rb'[\[:,\s]-?[0-9](?:[0-9]{18}|[0-9.]*[eE])')
#: Strings, numbers and brackets. The text need not be JSON, hence nothing is
#: looked at twice: no part gives back what it took, and a string that is left
#: open ends with the text.
_TOKEN = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"?|-?[0-9][-+.0-9eE]*+|[][{}]', re.DOTALL
)
_FLOAT = frozenset(b'.eE')

T = TypeVar('T')


def unparsable() -> InvalidBody:
    """Return the answer to a body that is not JSON."""
    return InvalidBody('Request body could not be parsed.')


def decode(raw: bytes, decoder: Callable[[bytes], T]) -> T:
    """Check a text and decode it.

    :param decoder: a msgspec decoder's ``decode``
    :raises InvalidBody: not UTF-8, not JSON, nested too deep, a number out of
        range
    :raises msgspec.ValidationError: JSON of another shape than wanted
    """
    _check_text(raw)
    try:
        document = decoder(raw)
    except msgspec.ValidationError:
        # Which of its faults is reported must not depend on the shape.
        _check_tokens(raw)
        raise
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise unparsable() from None
    _check_tokens(raw)
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


def _check_text(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise unparsable() from None
    brackets = raw.count(b'[') + raw.count(b'{')
    if brackets > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        raise InvalidBody(f'JSON is nested more than {MAX_DEPTH} levels deep.')


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    for match in _TOKEN.finditer(raw):
        token = match[0]
        if token in (b'[', b'{'):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b']', b'}'):
            depth -= 1
    return deepest


def _check_tokens(raw: bytes) -> None:
    if _SUSPECT.search(raw) is None:
        return
    for match in _TOKEN.finditer(raw):
        token = match[0]
        if token[0] not in b'"[]{}':
            _check_number(token)


def _check_number(token: bytes) -> None:
    try:
        fits = _fits(token)
    except ValueError:
        # The decoder stopped at a wrong shape and never came here.
        raise unparsable() from None
    if not fits:
        kind = 'integer' if _FLOAT.isdisjoint(token) else 'number'
        raise InvalidBody(f'JSON contains {kind} that is too large.')


def _fits(token: bytes) -> bool:
    if not _FLOAT.isdisjoint(token):
        return not math.isinf(float(token))
    return len(token) <= 20 and MIN_INT <= int(token) <= MAX_INT
