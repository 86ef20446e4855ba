# SPDX-License-Identifier: Apache-2.0
"""Filters: conditions on the members of a message's body.

The grammar is that of filter policies of Amazon SNS. A filter is an object.
Each name is a member of the body, or a JSON pointer; its value is a list of
alternatives, of which one has to match. All names have to match, and of the
objects in ``$or`` one.

Where the body has an array, one of its items has to match; a number in a
pointer is the index of an item. A member that is missing matches nothing but
``{"exists": false}``.

:source: reference/http, "Filters"
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

#: Bounds: names and conditions, in all objects of a filter together; bytes of
#: its JSON text; objects in ``$or`` within each other, and parts of a pointer.
MAX_NAMES, MAX_CONDITIONS, MAX_SIZE, MAX_DEPTH = 10, 100, 4096, 5

OR = '$or'

#: Tells whether a value, which is no array, matches.
Test = Callable[[Any], bool]

_SCALARS = (str, int, float, bool, type(None))


class InvalidFilter(ValueError):
    """A filter does not follow the grammar; the text says where and why."""


class _Condition(msgspec.Struct, frozen=True):
    """A name with its alternatives.

    :ivar path: of the member, from the top
    :ivar presence: what ``exists`` alternatives ask for
    """

    path: tuple[str, ...]
    tests: tuple[Test, ...]
    presence: frozenset[bool]

    def matches(self, body: Any) -> bool:
        values = _values(body, self.path)
        is_present = False
        for value in values:
            is_present = True
            if not self.tests:
                break
            if any(
                test(leaf) for leaf in _leaves(value) for test in self.tests
            ):
                return True
        return is_present in self.presence


class Filter(msgspec.Struct, frozen=True):
    """A filter that was checked. Without conditions it matches everything."""

    conditions: tuple[_Condition, ...] = ()
    either: tuple[Filter, ...] = ()

    def matches(self, body: Any) -> bool:
        """Tell whether a decoded body matches; takes time linear in it."""
        return all(one.matches(body) for one in self.conditions) and (
            not self.either or any(one.matches(body) for one in self.either)
        )

    def matches_text(self, body: bytes) -> bool:
        """Tell whether a body matches, as it is stored unencrypted."""
        if not self.conditions and not self.either:
            return True
        try:
            document = msgspec.json.decode(body)
        except msgspec.DecodeError:
            # Perhaps a body with a lone surrogate.
            try:
                document = json.loads(body)
            except (ValueError, RecursionError):
                return False
        return self.matches(document)


class _Bounds:
    """Counts what a filter may have only so many of."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._names = self._conditions = 0

    def count_name(self) -> None:
        self._names += 1
        if self._names > MAX_NAMES:
            raise InvalidFilter(
                f'{self._place} may have {MAX_NAMES} names at most.'
            )

    def count_conditions(self, more: int) -> None:
        self._conditions += more
        if self._conditions > MAX_CONDITIONS:
            raise InvalidFilter(
                f'{self._place} may have {MAX_CONDITIONS} conditions at most.'
            )


def parse(document: Any, place: str) -> Filter:
    """Return a filter that was checked.

    :param document: decoded JSON
    :param place: what to call it in errors, such as ``filter.body``
    :raises InvalidFilter: it is malformed, or out of bounds
    """
    if not isinstance(document, dict):
        raise InvalidFilter(f'{place} must be an object.')
    try:
        size = len(msgspec.json.encode(document))
    except (msgspec.MsgspecError, ValueError, TypeError):
        raise InvalidFilter(f'{place} must be valid Unicode.') from None
    if size > MAX_SIZE:
        raise InvalidFilter(
            f'{place} may have {MAX_SIZE} bytes at most, as JSON.'
        )
    return _filter(document, place, 1, _Bounds(place))


def _filter(
    document: Mapping[str, Any], place: str, depth: int, bounds: _Bounds
) -> Filter:
    conditions = []
    either: tuple[Filter, ...] = ()
    for name, value in document.items():
        inner = f'{place}[{name!r}]'
        if name == OR:
            either = _either(value, inner, depth, bounds)
            continue
        bounds.count_name()
        conditions.append(_condition(name, value, inner, bounds))
    return Filter(tuple(conditions), either)


def _either(
    value: Any, place: str, depth: int, bounds: _Bounds
) -> tuple[Filter, ...]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(item, dict) and item for item in value)
    ):
        raise InvalidFilter(
            f'{place} must be a list of objects, each with a name.'
        )
    if depth == MAX_DEPTH:
        raise InvalidFilter(f'{place} is nested more than {MAX_DEPTH} deep.')
    return tuple(_filter(item, place, depth + 1, bounds) for item in value)


def _condition(
    name: str, value: Any, place: str, bounds: _Bounds
) -> _Condition:
    path = _path(name, place)
    if not isinstance(value, list) or not value:
        raise InvalidFilter(
            f'{place} must be a list of alternatives, one at least.'
        )
    tests: list[Test] = []
    presence: set[bool] = set()
    scalars = [item for item in value if isinstance(item, _SCALARS)]
    if scalars:
        bounds.count_conditions(len(scalars))
        tests.append(_is_one_of(scalars))
    for item in value:
        if isinstance(item, _SCALARS):
            continue
        if not isinstance(item, dict) or len(item) != 1:
            raise InvalidFilter(
                f'{place}: an alternative is a text, a number, true, false, '
                'null, or an object with one operator.'
            )
        operator, operand = next(iter(item.items()))
        if operator == 'exists':
            bounds.count_conditions(1)
            presence.add(_boolean(operand, place))
            continue
        make = _OPERATORS.get(operator)
        if make is None:
            known = ', '.join((*_OPERATORS, 'exists'))
            raise InvalidFilter(
                f'{place}: {operator!r} is no operator; there are {known}.'
            )
        bounds.count_conditions(
            len(operand)
            if operator == 'anything-but' and isinstance(operand, list)
            else 1
        )
        tests.append(make(operand, f'{place}, {operator}'))
    return _Condition(path, tuple(tests), frozenset(presence))


def _path(name: str, place: str) -> tuple[str, ...]:
    if name.startswith('$'):
        raise InvalidFilter(
            f'{place}: names that begin with "$" are reserved; a member of '
            f'that name is "/{name}".'
        )
    if not name.startswith('/'):
        return (name,)
    parts = name[1:].split('/')
    if len(parts) > MAX_DEPTH:
        raise InvalidFilter(
            f'{place}: a JSON pointer may have {MAX_DEPTH} parts at most.'
        )
    if any('~' in p.replace('~0', '').replace('~1', '') for p in parts):
        raise InvalidFilter(
            f'{place}: in a JSON pointer "~" is written as "~0".'
        )
    return tuple(p.replace('~1', '/').replace('~0', '~') for p in parts)


def _is_one_of(scalars: Sequence[Any]) -> Test:
    wanted = frozenset(map(_exactly, scalars))
    return lambda value: _exactly(value) in wanted


def _exactly(value: Any) -> tuple[bool, Any]:
    # In Python, unlike in JSON, True equals 1. Objects match nothing.
    if isinstance(value, dict):
        return False, _exactly
    return isinstance(value, bool), value


def _prefix(operand: Any, place: str) -> Test:
    text = _text(operand, place)
    return lambda value: isinstance(value, str) and value.startswith(text)


def _suffix(operand: Any, place: str) -> Test:
    text = _text(operand, place)
    return lambda value: isinstance(value, str) and value.endswith(text)


def _ignoring_case(operand: Any, place: str) -> Test:
    text = _text(operand, place).casefold()
    return lambda value: isinstance(value, str) and value.casefold() == text


def _anything_but(operand: Any, place: str) -> Test:
    if (
        not isinstance(operand, list)
        or not operand
        or not all(isinstance(item, _SCALARS) for item in operand)
    ):
        raise InvalidFilter(
            f'{place} must be a list of texts, numbers, true, false or null.'
        )
    is_refused = _is_one_of(operand)
    return lambda value: not isinstance(value, dict) and not is_refused(value)


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    '=': lambda value, bound: bool(value == bound),
    '>': lambda value, bound: bool(value > bound),
    '>=': lambda value, bound: bool(value >= bound),
    '<': lambda value, bound: bool(value < bound),
    '<=': lambda value, bound: bool(value <= bound),
}


def _numeric(operand: Any, place: str) -> Test:
    if not _is_range(operand):
        raise InvalidFilter(
            f'{place} must be one comparison, such as ["=", 5], or a range, '
            'such as [">=", 0, "<", 5], which is not empty.'
        )
    pairs = [
        (_COMPARISONS[operand[at]], operand[at + 1])
        for at in range(0, len(operand), 2)
    ]
    return lambda value: (
        _is_number(value)
        and all(compare(value, bound) for compare, bound in pairs)
    )


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


_OPERATORS: Mapping[str, Callable[[Any, str], Test]] = {
    'prefix': _prefix,
    'suffix': _suffix,
    'anything-but': _anything_but,
    'equals-ignore-case': _ignoring_case,
    'numeric': _numeric,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(operand: Any, place: str) -> str:
    if not isinstance(operand, str) or not operand:
        raise InvalidFilter(f'{place} must be a text that is not empty.')
    return operand


def _boolean(operand: Any, place: str) -> bool:
    if not isinstance(operand, bool):
        raise InvalidFilter(f'{place}, exists must be true or false.')
    return operand


def _values(body: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield what a path leads to, in all items of arrays on the way."""
    if not path:
        yield body
        return
    name, rest = path[0], path[1:]
    if isinstance(body, dict):
        if name in body:
            yield from _values(body[name], rest)
    elif isinstance(body, list):
        if _is_index(name):
            if int(name) < len(body):
                yield from _values(body[int(name)], rest)
            return
        for item in body:
            # Not in arrays in arrays: no pointer says so.
            if isinstance(item, dict):
                yield from _values(item, path)


def _is_index(name: str) -> bool:
    return name == '0' or (
        name.isascii()
        and name.isdigit()
        and name[0] != '0'
        and len(name) <= len(str(2**63))
    )


def _leaves(value: Any) -> Iterator[Any]:
    """Yield a value, or the items of an array, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
