# SPDX-License-Identifier: Apache-2.0
"""Which bodies match which filters, and which filters are refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaqar.controllers import body_filter
from zaqar.controllers.body_filter import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_NAMES,
    MAX_SIZE,
)
from zaqar.controllers.filter_operators import InvalidFilter


def matches(document: Any, body: Any) -> bool:
    parsed = body_filter.parse(document, 'filter')
    result = parsed.matches(body)
    assert parsed.matches_text(json.dumps(body).encode()) == result
    return result


ORDER = {
    'type': 'invoice',
    'size': 12.5,
    'paid': True,
    'note': None,
    'tags': ['new', 'large'],
    'empty': [],
    'to': {'city': 'Turin', 'a/b': 1, 'm~n': 2, '0': 'zero'},
    'lines': [{'sku': 'A1', 'n': 1}, {'sku': 'B2', 'n': 0}],
}

MATCHING = [
    {},
    {'type': ['invoice']},
    {'type': ['offer', 'invoice']},
    {'type': ['invoice'], 'paid': [True]},
    {'size': [12.5]},
    {'/lines/0/n': [1.0]},
    {'paid': [True]},
    {'note': [None]},
    {'type': [{'prefix': 'inv'}]},
    {'type': [{'suffix': 'ice'}]},
    {'type': [{'equals-ignore-case': 'INVOICE'}]},
    {'type': [{'anything-but': ['offer', 3]}]},
    {'size': [{'numeric': ['>', 12, '<=', 12.5]}]},
    {'size': [{'numeric': ['=', 12.5]}]},
    {'size': [{'numeric': ['>=', 12.5, '<=', 12.5]}]},
    {'type': [{'exists': True}]},
    {'note': [{'exists': True}]},
    {'to': [{'exists': True}]},
    {'empty': [{'exists': True}]},
    {'other': [{'exists': False}]},
    {'other': ['x', {'exists': False}]},
    {'type': ['x', {'exists': True}]},
    {'tags': ['large']},
    # One item is enough, as at Amazon.
    {'tags': [{'anything-but': ['new']}]},
    {'/to/city': ['Turin']},
    {'/to/a~1b': [1]},
    {'/to/m~0n': [2]},
    {'/to/0': ['zero']},
    {'/lines/1/sku': ['B2']},
    {'/lines/sku': ['B2']},
    {'$or': [{'type': ['offer']}, {'paid': [True]}]},
    {'type': ['invoice'], '$or': [{'size': [1]}, {'tags': ['new']}]},
    {'$or': [{'$or': [{'paid': [False]}, {'/to/city': ['Turin']}]}]},
]

OTHERS = [
    {'type': ['offer']},
    {'type': ['Invoice']},
    {'type': ['invoice'], 'paid': [False]},
    {'paid': [1]},
    {'/lines/0/n': [True]},
    {'note': ['']},
    {'size': ['12.5']},
    {'type': [{'prefix': 'voice'}]},
    {'type': [{'suffix': 'inv'}]},
    {'size': [{'prefix': '1'}]},
    {'type': [{'anything-but': ['invoice']}]},
    {'other': [{'anything-but': ['invoice']}]},
    {'to': [{'anything-but': ['invoice']}]},
    {'empty': [{'anything-but': ['invoice']}]},
    {'tags': [{'anything-but': ['new', 'large']}]},
    {'size': [{'numeric': ['<', 12.5]}]},
    {'type': [{'numeric': ['>', 0]}]},
    {'paid': [{'numeric': ['>', 0]}]},
    {'other': [{'exists': True}]},
    {'type': [{'exists': False}]},
    {'note': [{'exists': False}]},
    {'to.city': ['Turin']},
    {'/to': ['Turin']},
    {'/to/city/x': ['Turin']},
    {'/lines/2/sku': ['B2']},
    {'/lines/01/sku': ['B2']},
    {'/tags/x': ['new']},
    {'$or': [{'type': ['offer']}, {'paid': [False]}]},
    {'type': ['offer'], '$or': [{'paid': [True]}]},
]


@pytest.mark.parametrize('document', MATCHING, ids=json.dumps)
def test_a_filter_matches(document: Any) -> None:
    assert matches(document, ORDER)


@pytest.mark.parametrize('document', OTHERS, ids=json.dumps)
def test_a_filter_does_not_match(document: Any) -> None:
    assert not matches(document, ORDER)


@pytest.mark.parametrize('body', [3, 'type', None, [], ['type'], True])
def test_a_body_that_is_no_object_has_no_members(body: Any) -> None:
    assert not matches({'type': [{'exists': True}]}, body)
    assert not matches({'type': [{'anything-but': ['x']}]}, body)
    assert matches({'type': [{'exists': False}]}, body)
    assert matches({}, body)


def test_an_array_matches_by_any_of_its_objects() -> None:
    assert matches({'type': ['x']}, [{'type': 'y'}, {'type': 'x'}])
    assert matches({'/1/type': ['x']}, [{'type': 'y'}, {'type': 'x'}])
    assert not matches({'/0/type': ['x']}, [{'type': 'y'}, {'type': 'x'}])


def test_a_body_with_half_a_surrogate_pair_matches() -> None:
    parsed = body_filter.parse({'type': ['x']}, 'filter')
    assert parsed.matches_text(b'{"type": "x", "text": "\\ud800"}')
    assert not parsed.matches_text(b'{"type": "y", "text": "\\ud800"}')
    assert not parsed.matches_text(b'{')


def nested(depth: int) -> Any:
    document: Any = {'a': [1]}
    for _ in range(depth - 1):
        document = {'$or': [document]}
    return document


def names(count: int) -> Any:
    return {f'n{number}': [1] for number in range(count)}


def padded(size: int) -> Any:
    document = {'a': ['']}
    document['a'][0] = 'x' * (size - len(json.dumps(document)) + 1)
    return document


BOUNDS = [
    ('names', names, MAX_NAMES),
    ('conditions', lambda n: {'a': [*range(n)]}, MAX_CONDITIONS),
    (
        'anything-but',
        lambda n: {'a': [{'anything-but': [*range(n)]}]},
        MAX_CONDITIONS,
    ),
    ('depth', nested, MAX_DEPTH),
    ('pointer', lambda n: {'/a' * n: [1]}, MAX_DEPTH),
    ('size', padded, MAX_SIZE),
    (
        'names of alternatives',
        lambda n: {'a': [1], '$or': [{'b': [1]}] * (n - 1)},
        MAX_NAMES,
    ),
]


@pytest.mark.parametrize(
    ('make', 'most'), [row[1:] for row in BOUNDS], ids=[r[0] for r in BOUNDS]
)
def test_a_filter_is_bounded(make: Any, most: int) -> None:
    body_filter.parse(make(most), 'filter')
    with pytest.raises(InvalidFilter, match=r'filter.* (at most|than 5 deep)'):
        body_filter.parse(make(most + 1), 'filter')


@pytest.mark.parametrize(
    'operator',
    [
        lambda n: {'prefix': f'x{n}'},
        lambda n: {'suffix': f'x{n}'},
        lambda n: {'equals-ignore-case': f'x{n}'},
        lambda n: {'anything-but': ['a', n]},
        lambda n: {'numeric': ['=', n]},
        lambda n: n,
    ],
    ids=['prefix', 'suffix', 'case', 'anything-but', 'numeric', 'scalar'],
)
@pytest.mark.proves('linear parsing')
def test_the_cost_is_one_of_the_body_alone(operator: Any) -> None:
    body: Any = ['a'] * 1000
    for _ in range(90):
        body = [body]
    filters = [
        body_filter.parse({'a': [operator(n) for n in range(count)]}, 'filter')
        for count in (1, MAX_CONDITIONS // 2)
    ]
    flat, deep = ({'a': ['a'] * 1000}, {'a': body})
    one = calls(lambda: filters[0].matches(flat))
    assert calls(lambda: filters[1].matches(deep)) < one + 500


def calls(function: Callable[[], Any]) -> int:
    """Return how many functions and generators are entered."""
    count = 0

    def see(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ('call', 'c_call')

    former = sys.getprofile()
    sys.setprofile(see)
    try:
        function()
    finally:
        sys.setprofile(former)
    return count


MALFORMED: list[Any] = [
    None,
    [],
    'type',
    3,
    {'type': 'invoice'},
    {'type': 3},
    {'type': None},
    {'type': {}},
    {'type': {'exists': True}},
    {'type': []},
    {'type': [[]]},
    {'type': [['invoice']]},
    {'type': [{}]},
    {'type': [{'prefix': 'a', 'suffix': 'b'}]},
    {'type': [{'wildcard': 'a*'}]},
    {'type': [{'': 'a'}]},
    {'type': [{'prefix': ''}]},
    {'type': [{'prefix': 3}]},
    {'type': [{'prefix': ['a']}]},
    {'type': [{'suffix': None}]},
    {'type': [{'equals-ignore-case': ['a']}]},
    {'type': [{'anything-but': 'a'}]},
    {'type': [{'anything-but': []}]},
    {'type': [{'anything-but': [[]]}]},
    {'type': [{'anything-but': {'prefix': 'a'}}]},
    {'type': [{'exists': 1}]},
    {'type': [{'exists': 'true'}]},
    {'size': [{'numeric': []}]},
    {'size': [{'numeric': 5}]},
    {'size': [{'numeric': ['=']}]},
    {'size': [{'numeric': ['!=', 5]}]},
    {'size': [{'numeric': ['=', '5']}]},
    {'size': [{'numeric': ['=', True]}]},
    {'size': [{'numeric': [['='], 5]}]},
    {'size': [{'numeric': ['<', 5, '>', 0]}]},
    {'size': [{'numeric': ['>', 0, '=', 5]}]},
    {'size': [{'numeric': ['>', 5, '<', 5]}]},
    {'size': [{'numeric': ['>=', 5, '<', 5]}]},
    {'size': [{'numeric': ['>', 0, '<', 5, '<', 6]}]},
    {'$or': []},
    {'$or': {}},
    {'$or': [{}]},
    {'$or': [['type']]},
    {'$or': 'type'},
    {'$and': [{'type': ['a']}]},
    {'$type': ['a']},
    {'/a~2': [1]},
    {'/a~': [1]},
    {'type': ['\ud800']},
]


@pytest.mark.parametrize('document', MALFORMED, ids=json.dumps)
def test_a_malformed_filter_is_refused(document: Any) -> None:
    with pytest.raises(InvalidFilter) as refused:
        body_filter.parse(document, 'filter.body')
    assert str(refused.value).startswith('filter.body')
    assert '\n' not in str(refused.value)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from('ab0'), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(['a', 'b', '/a', '/a/b', '/0', '/a/0', '/a/b/0'])
ALTERNATIVES = st.lists(
    SCALARS
    | st.fixed_dictionaries({'exists': st.booleans()})
    | st.fixed_dictionaries(
        {'anything-but': st.lists(SCALARS, min_size=1, max_size=3)}
    )
    | st.fixed_dictionaries(
        {'numeric': st.tuples(st.sampled_from('<>='), st.integers()).map(list)}
    )
    | st.fixed_dictionaries({'prefix': st.text(min_size=1, max_size=2)}),
    min_size=1,
    max_size=4,
)


@given(NAMES, ALTERNATIVES, JSON)
def test_alternatives_match_where_one_of_them_does(
    name: str, alternatives: list[Any], body: Any
) -> None:
    whole = matches({name: alternatives}, body)
    single = [matches({name: [one]}, body) for one in alternatives]
    assert whole == any(single)
    objects = [{name: [one]} for one in alternatives]
    assert matches({'$or': objects}, body) == whole


@given(st.dictionaries(NAMES, ALTERNATIVES, max_size=4), JSON)
def test_names_match_where_all_of_them_do(
    document: dict[str, Any], body: Any
) -> None:
    single = [matches({name: value}, body) for name, value in document.items()]
    assert matches(document, body) == all(single)


@given(NAMES, JSON)
def test_a_member_exists_or_does_not(name: str, body: Any) -> None:
    exists = matches({name: [{'exists': True}]}, body)
    assert matches({name: [{'exists': False}]}, body) != exists


@given(SCALARS, SCALARS)
def test_a_scalar_is_equal_or_anything_but_it(value: Any, body: Any) -> None:
    is_equal = matches({'a': [value]}, {'a': body})
    assert matches({'a': [{'anything-but': [value]}]}, {'a': body}) != is_equal
    assert matches({'a': [body]}, {'a': body})


@given(JSON)
def test_any_document_is_a_filter_or_refused(document: Any) -> None:
    try:
        parsed = body_filter.parse(document, 'filter')
    except InvalidFilter:
        return
    parsed.matches(ORDER)
