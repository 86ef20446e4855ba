# SPDX-License-Identifier: Apache-2.0
"""Stores in one database share its connections."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from zaqar.storage.sqlalchemy.driver_declaration import DRIVER

#: Nobody listens there.
URI = 'mysql+pymysql://127.0.0.1:1/zaqar'


def test_both_planes_share_the_connections_of_a_database(
    engines: list[sa.Engine],
) -> None:
    messages = DRIVER.open_messages(URI, {})
    management = DRIVER.open_management(URI, {})
    (engine,) = engines
    before = engine.pool
    messages.close()
    # The other store goes on with them.
    assert engine.pool is before
    management.close()
    assert engine.pool is not before
    later = DRIVER.open_management(URI, {})
    assert len(engines) == 2
    later.close()


def test_other_databases_and_options_have_their_own(
    engines: list[sa.Engine],
) -> None:
    stores = [
        DRIVER.open_messages(URI, {}),
        DRIVER.open_messages(f'{URI}2', {}),
        DRIVER.open_messages(URI, {'sql_max_connections': 3}),
    ]
    assert len(engines) == 3
    for store in stores:
        store.close()


@pytest.mark.parametrize('most', [1, 3, 20, 50])
def test_an_option_bounds_the_connections(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    given: dict[str, Any] = {}
    create = sa.create_engine

    def created(*args: Any, **options: Any) -> sa.Engine:
        given.update(options)
        return create(*args, **options)

    monkeypatch.setattr(sa, 'create_engine', created)
    DRIVER.open_messages(URI, {'sql_max_connections': most}).close()
    assert given['pool_size'] == min(most, 10)
    assert given['pool_size'] + given['max_overflow'] == most
