# SPDX-License-Identifier: Apache-2.0
"""Operators of filters: what tests a value of a body.

Bodies may have a hundred thousand values, and filters a hundred alternatives.
All alternatives with the same operator are therefore one test, whose cost
hardly depends on their number.
"""

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Tells whether a value, which is no array, matches.
Test = Callable[[Any], bool]

#: Types of values that are compared as a whole.
SCALARS = (str, int, float, bool, type(None))


class InvalidFilter(ValueError):
    """A filter does not follow the grammar; the text says where and why."""


def is_one_of(scalars: Sequence[Any]) -> Test:
    """Return a test for one of several values that are no containers."""
    wanted = frozenset(map(_exactly, scalars))
    return lambda value: _exactly(value) in wanted


def _exactly(value: Any) -> tuple[bool, Any]:
    # In Python, unlike in JSON, True equals 1. Objects match nothing.
    if isinstance(value, dict):
        return False, _exactly
    return isinstance(value, bool), value


def _prefix(operands: Sequence[Any], place: str) -> Test:
    texts = _texts(operands, place)
    return lambda value: isinstance(value, str) and value.startswith(texts)


def _suffix(operands: Sequence[Any], place: str) -> Test:
    texts = _texts(operands, place)
    return lambda value: isinstance(value, str) and value.endswith(texts)


def _ignoring_case(operands: Sequence[Any], place: str) -> Test:
    texts = frozenset(text.casefold() for text in _texts(operands, place))
    return lambda value: isinstance(value, str) and value.casefold() in texts


def _anything_but(operands: Sequence[Any], place: str) -> Test:
    for operand in operands:
        if (
            not isinstance(operand, list)
            or not operand
            or not all(isinstance(item, SCALARS) for item in operand)
        ):
            raise InvalidFilter(
                f'{place} must be a list of texts, numbers, true, false or '
                'null.'
            )
    # What one list refuses, another one may admit.
    refused = frozenset.intersection(
        *(frozenset(map(_exactly, operand)) for operand in operands)
    )
    return lambda value: (
        not isinstance(value, dict) and _exactly(value) not in refused
    )


#: A place just before a number, at it, or just behind it.
_Place = tuple[float, int]

#: Where the numbers that a comparison admits begin and end.
_COMPARISONS: Mapping[str, Callable[[float], tuple[_Place, _Place]]] = {
    '=': lambda bound: ((bound, -1), (bound, 1)),
    '>': lambda bound: ((bound, 1), (math.inf, 1)),
    '>=': lambda bound: ((bound, -1), (math.inf, 1)),
    '<': lambda bound: ((-math.inf, -1), (bound, -1)),
    '<=': lambda bound: ((-math.inf, -1), (bound, 1)),
}


def _numeric(operands: Sequence[Any], place: str) -> Test:
    ranges = []
    for operand in operands:
        if not _is_range(operand):
            raise InvalidFilter(
                f'{place} must be one comparison, such as ["=", 5], or a '
                'range, such as [">=", 0, "<", 5], which is not empty.'
            )
        pairs = [
            _COMPARISONS[operand[at]](operand[at + 1])
            for at in range(0, len(operand), 2)
        ]
        ranges.append((max(a for a, _ in pairs), min(b for _, b in pairs)))
    begins, ends = _joined(ranges)
    return lambda value: (
        _is_number(value)
        and (at := bisect.bisect(begins, (value, 0))) > 0
        and (value, 0) < ends[at - 1]
    )


def _joined(
    ranges: Sequence[tuple[_Place, _Place]],
) -> tuple[Sequence[_Place], Sequence[_Place]]:
    """Return the beginnings and the ends of what ranges cover together.

    None of these meets another one, so that one look finds the only one that
    a number may be in.
    """
    begins: list[_Place] = []
    ends: list[_Place] = []
    for begin, end in sorted(ranges):
        if ends and begin <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            begins.append(begin)
            ends.append(end)
    return begins, ends


def _is_range(operand: Any) -> bool:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        return False
    signs, bounds = operand[::2], operand[1::2]
    if not all(
        isinstance(sign, str) and sign in _COMPARISONS for sign in signs
    ) or not all(map(_is_number, bounds)):
        return False
    if len(signs) == 1:
        return True
    if signs[0] not in ('>', '>=') or signs[1] not in ('<', '<='):
        return False
    is_closed = signs == ['>=', '<=']
    return bool(
        bounds[0] < bounds[1] or (is_closed and bounds[0] == bounds[1])
    )


#: Each makes one test of all operands that an operator has in a list of
#: alternatives. The text is for errors: where in the filter that is.
OPERATORS: Mapping[str, Callable[[Sequence[Any], str], Test]] = {
    'prefix': _prefix,
    'suffix': _suffix,
    'anything-but': _anything_but,
    'equals-ignore-case': _ignoring_case,
    'numeric': _numeric,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(operands: Sequence[Any], place: str) -> tuple[str, ...]:
    if not all(isinstance(one, str) and one for one in operands):
        raise InvalidFilter(f'{place} must be a text that is not empty.')
    return tuple(operands)
