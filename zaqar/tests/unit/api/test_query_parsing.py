# SPDX-License-Identifier: Apache-2.0
"""Query strings."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.api import query_parsing
from zaqar.api.operation import Param
from zaqar.errors import InvalidParameter

PARAMS = (
    Param('limit', 'int', ''),
    Param('detailed', 'bool', ''),
    Param('marker', 'text', ''),
    Param('ids', 'ids', ''),
)


def parse(**values: list[str]) -> dict[str, Any]:
    return query_parsing.parse(PARAMS, values)


@pytest.mark.parametrize(
    ('texts', 'value'),
    [(['1'], 1), (['1', '2'], 2), (['1,2'], 2), ([''], None), (['-3'], -3)],
)
def test_of_integers_the_last_counts(texts: list[str], value: Any) -> None:
    assert parse(limit=texts)['limit'] == value


@pytest.mark.parametrize('text', ['x', '1.5', '%20', ' ', '0x1', '1e3'])
def test_what_is_no_integer_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r'"limit".*integer'):
        parse(limit=[text])


@pytest.mark.parametrize('text', ['true', 'True', 't', 'yes', 'y', '1', 'on'])
def test_seven_spellings_are_true(text: str) -> None:
    assert parse(detailed=[text])['detailed'] is True


@pytest.mark.parametrize(
    'text', ['false', 'False', 'f', 'no', 'n', '0', 'off']
)
def test_seven_spellings_are_false(text: str) -> None:
    assert parse(detailed=[text])['detailed'] is False


@pytest.mark.parametrize('text', ['TRUE', 'None', 'FALSE', '2', 'Y'])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match='"true" or "false"'):
        parse(detailed=[text])


def test_a_blank_counts_as_absent() -> None:
    assert set(parse(limit=[''], detailed=[''], ids=['']).values()) == {None}


def test_ids_come_separated_repeated_or_both() -> None:
    assert parse(ids=['a,b', 'c', ''])['ids'] == ['a', 'b', 'c']


def test_unknown_parameters_are_named_unless_blank() -> None:
    values = {'limit': ['1'], 'owner': ['ops'], 'empty': ['']}
    assert query_parsing.unknown(PARAMS, values) == {'owner': ['ops']}
