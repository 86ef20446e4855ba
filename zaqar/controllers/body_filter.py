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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from zaqar.controllers.filter_operators import (
    OPERATORS,
    SCALARS,
    InvalidFilter,
    Test,
    is_one_of,
)

#: Bounds: names and conditions, in all objects of a filter together; bytes of
#: its JSON text; objects in ``$or`` within each other, and parts of a pointer.
MAX_NAMES, MAX_CONDITIONS, MAX_SIZE, MAX_DEPTH = 10, 100, 4096, 5

OR = '$or'


class _Condition(msgspec.Struct, frozen=True):
    """A name with its alternatives.

    :ivar path: of the member, from the top
    :ivar presence: what ``exists`` alternatives ask for
    """

    path: tuple[str, ...]
    tests: tuple[Test, ...]
    presence: frozenset[bool]

    def matches(self, body: Any) -> bool:
        values = [*_values(body, self.path)]
        if self.tests and values:
            # Arrays may have a hundred thousand items: no step for each of
            # them but the test itself.
            leaves = values
            if any(isinstance(value, list) for value in values):
                leaves = _distinct(
                    leaf for value in values for leaf in _leaves(value)
                )
            if any(any(map(test, leaves)) for test in self.tests):
                return True
        return bool(values) in self.presence


class Filter(msgspec.Struct, frozen=True):
    """A filter that was checked. Without conditions it matches everything."""

    conditions: tuple[_Condition, ...] = ()
    either: tuple[Filter, ...] = ()

    @property
    def tests(self) -> int:
        """How many tests a value may undergo, in all objects together."""
        own = sum(len(one.tests) or 1 for one in self.conditions)
        return own + sum(one.tests for one in self.either)

    def matches(self, body: Any) -> bool:
        """Tell whether a decoded body matches; takes time linear in it."""
        return all(one.matches(body) for one in self.conditions) and (
            not self.either or any(one.matches(body) for one in self.either)
        )

    def matches_text(self, body: bytes) -> bool:
        """Tell whether a body matches, as it is stored unencrypted."""
        if not self.conditions and not self.either:
            return True
        return self.matches(decoded(body))


def decoded(body: bytes) -> Any:
    """Return a body, as it is stored unencrypted, for filters to match.

    One that cannot be decoded is like one that is no object.
    """
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        # Perhaps a body with a lone surrogate.
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None


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
    operands: dict[str, list[Any]] = {}
    scalars = [item for item in value if isinstance(item, SCALARS)]
    if scalars:
        bounds.count_conditions(len(scalars))
        tests.append(is_one_of(scalars))
    for item in value:
        if isinstance(item, SCALARS):
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
        if operator not in OPERATORS:
            known = ', '.join((*OPERATORS, 'exists'))
            raise InvalidFilter(
                f'{place}: {operator!r} is no operator; there are {known}.'
            )
        bounds.count_conditions(
            len(operand)
            if operator == 'anything-but' and isinstance(operand, list)
            else 1
        )
        operands.setdefault(operator, []).append(operand)
    tests += [
        OPERATORS[operator](alike, f'{place}, {operator}')
        for operator, alike in operands.items()
    ]
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


def _distinct(leaves: Iterable[Any]) -> list[Any]:
    """Return each value once, without objects, which no test admits.

    A body has room for half as many different numbers as alike ones.
    """
    once = {
        (isinstance(leaf, bool), leaf): leaf
        for leaf in leaves
        if not isinstance(leaf, dict)
    }
    return [*once.values()]


def _is_index(name: str) -> bool:
    return name == '0' or (
        name.isascii()
        and name.isdigit()
        and name[0] != '0'
        and len(name) <= len(str(2**63))
    )


def _leaves(value: Any) -> Iterator[Any]:
    """Yield a value, or the items of an array, at any depth."""
    if not isinstance(value, list):
        yield value
        return
    # Generators in each other would take a step at each depth for each item.
    under_way = [iter(value)]
    while under_way:
        for item in under_way[-1]:
            if isinstance(item, list):
                under_way.append(iter(item))
                break
            yield item
        else:
            under_way.pop()
