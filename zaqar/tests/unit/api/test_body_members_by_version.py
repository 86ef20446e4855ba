# SPDX-License-Identifier: Apache-2.0
"""Members of bodies that a version has added."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from zaqar.api import (
    body_members_by_version,
    json_schema_parts,
    operation_table,
)
from zaqar.microversion_constants import V2_0, V2_1, Version

Raw = msgspec.Raw | msgspec.UnsetType


class Item(msgspec.Struct):
    """An item of an array."""

    old: int = 0
    new: Raw = msgspec.UNSET


class Document(msgspec.Struct):
    """A document with an array."""

    items: list[Item] | msgspec.UnsetType = msgspec.UNSET
    new: Raw = msgspec.UNSET


ITEM = json_schema_parts.obj(
    {
        'old': json_schema_parts.COUNT,
        'new': json_schema_parts.since(V2_1, json_schema_parts.COUNT),
    }
)
SCHEMA = json_schema_parts.obj(
    {
        'items': json_schema_parts.array(ITEM),
        'new': json_schema_parts.since(V2_1, json_schema_parts.TEXT),
    }
)


@pytest.mark.parametrize(('version', 'known'), [(V2_0, False), (V2_1, True)])
def test_below_their_version_they_are_unset(
    version: Version, known: bool
) -> None:
    text = b'{"items": [{"old": 1, "new": "x"}, {"old": 2}], "new": [1]}'
    document = msgspec.json.decode(text, type=Document)
    newer = body_members_by_version.of(SCHEMA)
    assert newer is not None
    newer.unset([document], version)
    assert isinstance(document.items, list)
    seen: list[Any] = [document.new, document.items[0].new]
    assert [value is not msgspec.UNSET for value in seen] == [
        known,
        known,
    ]
    assert [item.old for item in document.items] == [1, 2]


def test_an_absent_array_has_none() -> None:
    document = Document()
    newer = body_members_by_version.of(SCHEMA)
    assert newer is not None
    newer.unset([document], V2_0)
    assert document == Document()


def test_a_schema_of_the_first_version_has_none() -> None:
    schema = json_schema_parts.obj({'a': json_schema_parts.TEXT})
    assert body_members_by_version.of(schema) is None
    assert body_members_by_version.of({}) is None
    body = operation_table.BY_ACTION['claim_update'].body
    assert body is not None
    assert body.newer is None


def test_what_is_newer_may_be_of_any_type_before() -> None:
    body = operation_table.BY_ACTION['message_post'].body
    assert body is not None
    newer = body.newer
    assert newer is not None
    members = newer.items['messages'].absent[V2_0]
    assert members
    for name in members:
        for value in ('1', '"x"', 'null', '{"a": [1]}'):
            text = f'{{"messages": [{{"body": 1, "{name}": {value}}}]}}'
            document = body.decode(text.encode())
            newer.unset([document], V2_0)
            assert document == body.decode(b'{"messages": [{"body": 1}]}')
