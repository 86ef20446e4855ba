# SPDX-License-Identifier: Apache-2.0
"""Stores in one database share its connections."""

from __future__ import annotations

from typing import Any

from zaqar.storage.sqlalchemy.driver import DRIVER

#: Nobody listens there.
URI = 'mysql+pymysql://127.0.0.1:1/zaqar'


def pool(store: Any) -> Any:
    return store._database._engine.pool  # noqa: SLF001


def test_both_planes_share_the_connections_of_a_database() -> None:
    messages = DRIVER.open_messages(URI, {})
    management = DRIVER.open_management(URI, {})
    assert pool(messages) is pool(management)
    before = pool(management)
    messages.close()
    # The other store goes on with them.
    assert pool(management) is before
    management.close()
    later = DRIVER.open_management(URI, {})
    assert pool(later) is not before
    later.close()


def test_other_databases_and_options_have_their_own() -> None:
    stores = [
        DRIVER.open_messages(URI, {}),
        DRIVER.open_messages(f'{URI}2', {}),
        DRIVER.open_messages(URI, {'sql_max_connections': 3}),
    ]
    assert len({id(pool(store)) for store in stores}) == 3
    for store in stores:
        store.close()


def test_an_option_bounds_the_connections() -> None:
    for most in (1, 3, 20, 50):
        store = DRIVER.open_messages(URI, {'sql_max_connections': most})
        size = pool(store).size()
        assert size == min(most, 10)
        assert size + pool(store)._max_overflow == most  # noqa: SLF001
        store.close()
