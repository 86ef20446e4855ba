# SPDX-License-Identifier: Apache-2.0
"""Records of the management store."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.objects import Record
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.tests.contract.probe import token

#: Names that differ by little, in the order of their UTF-8 bytes.
ALIKE = sorted(
    [
        'a',
        'A',
        'a ',
        ' a',
        'aa',
        'ab',
        'a.b',
        'a-b',
        'a_b',
        'axb',
        'a%b',
        'a\\b',
        "a'b",
        'a"b',
        'a/b',
        'ä',
        'a\N{COMBINING DIAERESIS}',
        'ß',
        'ss',
        'Ä',
        '\N{PILE OF POO}',
        '\uffee',
        '.*|[',
        '*',
        '?',
        '1',
        '10',
        '2',
        '%s',
        ':name',
        'a\tb',
        'a\nb',
    ],
    key=str.encode,
)

#: Values of each JSON type.
VALUES: dict[str, Any] = {
    'null': None,
    'true': True,
    'zero': 0,
    'large': 2**63 - 1,
    'float': 0.1,
    'text': 'äöü \N{PILE OF POO} \0 \' " \\ %s :x',
    'surrogate': '\ud800',
    'array': [1, [2, []], None],
    'object': {'a': {'b': {}}},
    '': 'empty key',
    'ä': 'accent',
}


@pytest.fixture
def parent() -> str:
    """A project of its own."""
    return token()


def names(records: Any) -> list[str]:
    """Return the names of records."""
    return [record.name for record in records]


def everyone(
    management: ManagementStore, parent: str, kind: str = 'queue'
) -> list[str]:
    """Return all names under a parent."""
    return names(management.list(kind, parent, after=None, limit=1000))


def test_a_new_record_is_stored_and_read(
    management: ManagementStore, parent: str
) -> None:
    assert management.create('queue', parent, 'a', VALUES)
    record = management.get('queue', parent, 'a')
    assert record is not None
    assert record.name == 'a'
    assert dict(record.data) == VALUES


def test_a_name_that_is_taken_changes_nothing(
    management: ManagementStore, parent: str
) -> None:
    assert management.create('queue', parent, 'a', {'n': 1})
    before = management.get('queue', parent, 'a')
    assert not management.create('queue', parent, 'a', {'n': 2})
    assert not management.create('queue', parent, 'a', {'n': 1})
    assert management.get('queue', parent, 'a') == before


def test_a_missing_record_is_none(
    management: ManagementStore, parent: str
) -> None:
    assert management.get('queue', parent, 'a') is None
    assert management.delete('queue', parent, 'a') is None
    assert not management.replace('queue', parent, 'a', {}, version=1)
    assert management.get('queue', parent, 'a') is None


def test_a_replacement_stores_other_data(
    management: ManagementStore, parent: str
) -> None:
    management.create('queue', parent, 'a', {'n': 1})
    before = management.get('queue', parent, 'a')
    assert before is not None
    assert management.replace(
        'queue', parent, 'a', {'m': 2}, version=before.version
    )
    after = management.get('queue', parent, 'a')
    assert after is not None
    assert dict(after.data) == {'m': 2}
    assert after.version != before.version


def test_a_replacement_of_what_was_changed_meanwhile_fails(
    management: ManagementStore, parent: str
) -> None:
    management.create('queue', parent, 'a', {'n': 1})
    seen = management.get('queue', parent, 'a')
    assert seen is not None
    assert management.replace(
        'queue', parent, 'a', {'n': 2}, version=seen.version
    )
    assert not management.replace(
        'queue', parent, 'a', {'n': 3}, version=seen.version
    )
    record = management.get('queue', parent, 'a')
    assert record is not None
    assert dict(record.data) == {'n': 2}


def test_a_replacement_by_the_same_data_is_a_change(
    management: ManagementStore, parent: str
) -> None:
    management.create('queue', parent, 'a', {'n': 1})
    seen = management.get('queue', parent, 'a')
    assert seen is not None
    args = ('queue', parent, 'a', {'n': 1})
    assert management.replace(*args, version=seen.version)
    assert not management.replace(*args, version=seen.version)


def test_the_version_a_record_begins_with_is_the_one_it_is_read_with(
    management: ManagementStore, parent: str
) -> None:
    # The catalogue takes 1 for granted after it has made a queue.
    management.create('queue', parent, 'a', {})
    assert management.replace('queue', parent, 'a', {'n': 1}, version=1)


def test_a_deletion_returns_what_there_was(
    management: ManagementStore, parent: str
) -> None:
    management.create('queue', parent, 'a', {'n': 1})
    before = management.get('queue', parent, 'a')
    assert management.delete('queue', parent, 'a') == before
    assert management.get('queue', parent, 'a') is None
    assert management.delete('queue', parent, 'a') is None


def test_a_deletion_of_what_was_changed_meanwhile_deletes_nothing(
    management: ManagementStore, parent: str
) -> None:
    management.create('queue', parent, 'a', {'n': 1})
    before = management.get('queue', parent, 'a')
    assert before is not None
    key = ('queue', parent, 'a')
    management.replace(*key, {'n': 2}, version=before.version)
    after = management.get(*key)
    assert after is not None
    assert management.delete(*key, version=before.version) is None
    assert management.get(*key) == after
    assert everyone(management, parent) == ['a']
    assert management.delete(*key, version=after.version) == after
    assert management.get(*key) is None
    assert everyone(management, parent) == []
    assert management.delete(*key, version=after.version) is None


def test_a_deleted_name_may_be_taken_again(
    management: ManagementStore, parent: str
) -> None:
    management.create('queue', parent, 'a', {'n': 1})
    management.delete('queue', parent, 'a')
    assert management.create('queue', parent, 'a', {'n': 2})
    record = management.get('queue', parent, 'a')
    assert record is not None
    assert dict(record.data) == {'n': 2}


@pytest.mark.parametrize('name', ALIKE)
def test_a_name_is_compared_byte_by_byte(
    management: ManagementStore, parent: str, name: str
) -> None:
    for other in ALIKE:
        if other != name:
            management.create('queue', parent, other, {'name': other})
    assert management.get('queue', parent, name) is None
    assert management.delete('queue', parent, name) is None
    assert not management.replace('queue', parent, name, {}, version=1)
    assert management.create('queue', parent, name, {'name': name})
    assert management.count('queue', parent) == len(ALIKE)
    deleted = management.delete('queue', parent, name)
    assert deleted == Record(
        name, {'name': name}, deleted.version if deleted else 0
    )


def test_a_list_is_ordered_by_bytes(
    management: ManagementStore, parent: str
) -> None:
    for name in reversed(ALIKE):
        management.create('queue', parent, name, {'name': name})
    records = management.list('queue', parent, after=None, limit=1000)
    assert names(records) == ALIKE
    assert [record.data['name'] for record in records] == ALIKE


@pytest.mark.parametrize('limit', [1, 2, 7])
def test_pages_of_a_list_skip_and_repeat_nothing(
    management: ManagementStore, parent: str, limit: int
) -> None:
    for name in ALIKE:
        management.create('queue', parent, name, {})
    walked: list[str] = []
    after = None
    while page := names(
        management.list('queue', parent, after=after, limit=limit)
    ):
        assert len(page) <= limit
        walked += page
        after = page[-1]
    assert walked == ALIKE


@pytest.mark.parametrize(
    ('after', 'rest'),
    [
        (None, ['b', 'd', 'f']),
        ('', ['b', 'd', 'f']),
        ('a', ['b', 'd', 'f']),
        ('b', ['d', 'f']),
        ('b ', ['d', 'f']),
        ('c', ['d', 'f']),
        ('B', ['b', 'd', 'f']),
        ('f', []),
        ('ä', []),
    ],
)
def test_a_list_begins_behind_a_name_that_need_not_exist(
    management: ManagementStore, parent: str, after: str, rest: list[str]
) -> None:
    for name in 'bdf':
        management.create('queue', parent, name, {})
    records = management.list('queue', parent, after=after, limit=10)
    assert names(records) == rest


@pytest.mark.parametrize(
    'other',
    ['{} ', ' {}', '{}x', '{}.', '%', '_', '', '{}\n'],
)
def test_a_parent_is_compared_byte_by_byte(
    management: ManagementStore, parent: str, other: str
) -> None:
    management.create('queue', parent, 'a', {'n': 1})
    other = other.format(parent)
    if other == parent.upper():
        return
    assert management.get('queue', other, 'a') is None
    assert management.delete('queue', other, 'a') is None
    assert not management.replace('queue', other, 'a', {}, version=1)
    assert everyone(management, other) == []
    assert management.count('queue', other) == 0
    assert management.get('queue', parent, 'a') is not None


def test_parents_differ_by_case(
    management: ManagementStore, parent: str
) -> None:
    management.create('queue', parent + 'x', 'a', {'n': 1})
    assert management.get('queue', parent + 'X', 'a') is None
    assert management.create('queue', parent + 'X', 'a', {'n': 2})
    assert management.count('queue', parent + 'x') == 1


def test_kinds_do_not_meet(management: ManagementStore, parent: str) -> None:
    assert management.create('queue', parent, 'a', {'n': 1})
    assert management.get('topic', parent, 'a') is None
    assert management.create('topic', parent, 'a', {'n': 2})
    assert management.count('queue', parent) == 1
    assert management.delete('topic', parent, 'a') is not None
    assert everyone(management, parent) == ['a']
    assert everyone(management, parent, 'topic') == []


def test_counts_follow_every_change(
    management: ManagementStore, parent: str
) -> None:
    assert management.count('queue', parent) == 0
    for name in 'abc':
        management.create('queue', parent, name, {})
    management.create('queue', parent, 'a', {})
    assert management.count('queue', parent) == 3
    management.delete('queue', parent, 'b')
    assert management.count('queue', parent) == 2


@pytest.mark.parametrize('letter', ['x', 'ä', '\N{PILE OF POO}'])
def test_a_parent_has_400_characters_and_a_name_128(
    management: ManagementStore, parent: str, letter: str
) -> None:
    project = parent + letter * (400 - len(parent))
    name = letter * 127
    for last in ('1', '2'):
        assert management.create('queue', project, name + last, {'n': last})
    assert everyone(management, project) == [name + '1', name + '2']
    record = management.get('queue', project, name + '1')
    assert record is not None
    assert dict(record.data) == {'n': '1'}
    assert management.get('queue', project[:-1], name + '1') is None


def test_a_record_may_hold_64_kibibytes_and_more(
    management: ManagementStore, parent: str
) -> None:
    data = {'metadata': {'text': 'ä' * 65_536}}
    management.create('queue', parent, 'a', data)
    record = management.get('queue', parent, 'a')
    assert record is not None
    assert dict(record.data) == data


def test_the_store_answers(management: ManagementStore) -> None:
    management.ping()
