# SPDX-License-Identifier: Apache-2.0
"""The sweeper beside posts to a queue with groups."""

from __future__ import annotations

import contextlib

import pytest
import sqlalchemy as sa

from zaqar.storage.sqlalchemy import driver_declaration, migrations
from zaqar.tests.contract.probe import Hand, Probe


@pytest.mark.parametrize('engine', ['postgresql', 'mariadb'])
def test_it_does_not_wait_for_posts_that_wait_for_it(
    request: pytest.FixtureRequest, engine: str
) -> None:
    uri = request.getfixturevalue(engine).database()
    migrations.upgrade(driver_declaration.parse(uri), 'head')
    with contextlib.closing(
        driver_declaration.DRIVER.open_messages(uri, {})
    ) as store:
        queue = Probe(store, Hand())
        # With a limit the messages are counted, in the row of the queue.
        queue.post(0, group='a', ttl=60, limit=10)
        queue.post(1, group='a', limit=10)
        queue.hand.move(60)
        with migrations.connect(driver_declaration.parse(uri)) as connection:
            # As a post does, which then waits for the first of the group.
            connection.execute(
                sa.text('SELECT qid FROM message_queue FOR UPDATE')
            )
            assert store.sweep(now=queue.hand.now, batch=10) == 0
        assert store.sweep(now=queue.hand.now, batch=10) == 1
        assert [one.body for one in queue.pop()] == [b'1']
