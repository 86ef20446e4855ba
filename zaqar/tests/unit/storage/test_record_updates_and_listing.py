# SPDX-License-Identifier: Apache-2.0
"""Changes of records that others change at the same time."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.objects import Record
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.record_updates_and_listing import ATTEMPTS, repeat, update
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER

KEY = ('kind', 'parent', 'name')


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Iterator[ManagementStore]:
    management = DRIVER.open_management(f'sqlite:///{tmp_path}/zaqar', {})
    yield management
    management.close()


def _data(store: ManagementStore) -> Any:
    record = store.get(*KEY)
    return record and record.data


def _bump(record: Record | None) -> dict[str, int]:
    return {'count': record.data['count'] + 1 if record else 1}


def test_a_missing_record_is_created_and_an_existing_one_changed(
    store: ManagementStore,
) -> None:
    assert update(store, KEY, _bump) == {'count': 1}
    assert update(store, KEY, _bump) == {'count': 2}
    assert _data(store) == {'count': 2}


def test_a_record_is_left_alone_on_demand(store: ManagementStore) -> None:
    assert update(store, KEY, lambda record: None) is None
    assert _data(store) is None
    update(store, KEY, _bump)
    assert update(store, KEY, lambda record: None) is None
    assert _data(store) == {'count': 1}


@pytest.mark.parametrize('exists', [True, False])
def test_a_change_is_made_to_what_others_have_left(
    store: ManagementStore, exists: bool
) -> None:
    if exists:
        store.create(*KEY, {'count': 10})
    rivals = 2

    def edit(record: Record | None) -> dict[str, int]:
        nonlocal rivals
        if rivals:
            rivals -= 1
            update(store, KEY, _bump)
        return _bump(record)

    expected = 13 if exists else 3
    assert update(store, KEY, edit) == {'count': expected}
    assert _data(store) == {'count': expected}


def test_a_change_that_never_gets_through_is_given_up(
    store: ManagementStore,
) -> None:
    def edit(record: Record | None) -> dict[str, int]:
        update(store, KEY, _bump)
        return _bump(record)

    with pytest.raises(StoreUnavailable):
        update(store, KEY, edit)
    assert _data(store) == {'count': ATTEMPTS}


def test_an_attempt_is_repeated_until_it_returns_something() -> None:
    results = iter([None, None, 0])
    assert repeat(lambda: next(results)) == 0
