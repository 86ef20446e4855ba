# SPDX-License-Identifier: Apache-2.0
"""The patch dialect."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.controllers import metadata_json_patch
from zaqar.controllers.reserved_metadata import reserved
from zaqar.errors import Conflict, InvalidBody
from zaqar.microversion_constants import V2_1
from zaqar.objects import Kind

RESERVED = reserved(Kind.QUEUE, V2_1)


def patched(stored: dict[str, Any], *changes: Any) -> dict[str, Any]:
    return metadata_json_patch.apply(
        metadata_json_patch.parse(list(changes)), stored, RESERVED
    )


def change(op: str, path: str = '/metadata/k', **more: Any) -> dict[str, Any]:
    return {'op': op, 'path': path, **more}


def test_add_sets_and_overwrites() -> None:
    assert patched({}, change('add', value=1)) == {'k': 1}
    assert patched({'k': 0}, change('add', value=None)) == {'k': None}


def test_replace_and_remove_need_the_key() -> None:
    assert patched({'k': 0}, change('replace', value=1)) == {'k': 1}
    assert patched({'k': 0}, change('remove')) == {}
    with pytest.raises(
        Conflict, match=r"Can't replace non-existent object k."
    ):
        patched({}, change('replace', value=1))
    with pytest.raises(Conflict, match=r"Can't remove non-existent object k."):
        patched({}, change('remove'))


@pytest.mark.parametrize('key', RESERVED)
def test_a_reserved_key_counts_as_present(key: str) -> None:
    path = f'/metadata/{key}'
    assert patched({}, change('replace', path, value=60)) == {key: 60}
    assert patched({}, change('remove', path)) == {}


@pytest.mark.parametrize('key', ['_flavor', '_retry_policy', '_max_messages'])
def test_other_underscored_keys_are_free(key: str) -> None:
    with pytest.raises(Conflict):
        patched({}, change('remove', f'/metadata/{key}'))


def test_changes_apply_in_order() -> None:
    changes = [
        change('add', value=1),
        change('replace', value=2),
        change('remove'),
        change('add', value=3),
    ]
    assert patched({}, *changes) == {'k': 3}


def test_a_key_shown_as_null_is_added_and_not_removed_again() -> None:
    path = '/metadata/_max_claim_count'
    changes = metadata_json_patch.parse(
        [change('add', path, value=3), change('remove', path)]
    )
    key = '_max_claim_count'
    assert metadata_json_patch.apply(changes, {}, [key], [key]) == {key: 3}
    # One that was set is removed, as anybody would expect.
    assert metadata_json_patch.apply(changes, {key: 2}, [key], []) == {}
    # And a later addition counts.
    again = metadata_json_patch.parse(
        [change('remove', path), change('add', path, value=3)]
    )
    assert metadata_json_patch.apply(again, {}, [key], [key]) == {key: 3}


@pytest.mark.parametrize(
    ('path', 'key'),
    [
        ('/metadata/a~1b', 'a/b'),
        ('/metadata/a~0b', 'a~b'),
        ('/metadata/a~01', 'a~1'),
        ('/METADATA/k', 'k'),
        ('//metadata/k', 'k'),
        ('/ metadata / k ', 'k'),
    ],
)
def test_pointers_are_read(path: str, key: str) -> None:
    assert patched({}, change('add', path, value=1)) == {key: 1}


@pytest.mark.parametrize(
    ('document', 'text'),
    [
        ({}, 'must be a JSON array'),
        (['x'], 'Operations must be JSON objects.'),
        ([{}], 'Unable to find `op`'),
        ([{'op': 'move'}], 'Invalid operation: `move`. It must be one of'),
        ([{'op': 'ADD'}], 'Invalid operation'),
        ([{'op': 1}], 'Invalid operation'),
        ([{'op': ['add']}], 'Invalid operation'),
        ([{'op': 'add'}], "Unable to find 'path' in JSON Schema change"),
        ([change('add')], 'requires a member named "value"'),
        ([change('add', 1, value=1)], 'must be a text'),  # type: ignore
        ([change('add', 'metadata/k', value=1)], 'must start with'),
        ([change('add', '', value=1)], 'must start with'),
        ([change('add', '/metadata//k', value=1)], 'adjacent'),
        ([change('add', '/metadata/k/', value=1)], 'must not end'),
        ([change('add', '/metadata/k~', value=1)], '"~" not followed'),
        ([change('add', '/metadata/k~2', value=1)], '"~" not followed'),
        ([change('add', '/metadata', value=1)], 'Invalid JSON pointer'),
        ([change('add', '/', value=1)], 'Invalid JSON pointer'),
        ([change('add', '/metadata/a/b', value=1)], 'Invalid JSON pointer'),
        ([change('add', '/other/k', value=1)], 'root of path must be'),
        ([change('remove', '/other/k')], 'root of path must be'),
    ],
)
def test_faults_are_named(document: Any, text: str) -> None:
    with pytest.raises(InvalidBody, match=text.replace('`', '.')):
        metadata_json_patch.parse(document)
