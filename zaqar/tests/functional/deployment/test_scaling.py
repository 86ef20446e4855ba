# SPDX-License-Identifier: Apache-2.0
"""To scale out, start another server."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from zaqar.tests.functional.deployment.fleet import Fleet, come_and_go
from zaqar.tests.functional.deployment.load import Load
from zaqar.tests.servers.redis import Redis

#: Posts between two events.
MORE = 100


@pytest.fixture(params=['postgresql', 'redis'])
def fleet(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> Iterator[Fleet]:
    """Three servers on one store, of which two are started."""
    if request.param == 'redis':
        redis = Redis()
        request.addfinalizer(redis.stop)
        started = Fleet(tmp_path, 'redis', redis.url)
    else:
        database = request.getfixturevalue('postgresql').database()
        started = Fleet(tmp_path, 'sqlalchemy', database)
    try:
        for server in started.servers[:2]:
            server.start()
        yield started
    finally:
        started.stop()


def test_servers_come_and_go_and_nothing_is_lost(fleet: Fleet) -> None:
    load = Load(lambda: fleet.url)
    events: list[str] = []

    come_and_go(fleet, load, MORE, events.append)

    assert len(load.posted) >= 4 * MORE
    assert len(events) == 5
