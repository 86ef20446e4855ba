# SPDX-License-Identifier: Apache-2.0
"""Pools to test with: SQLite files beside the service's own."""

from __future__ import annotations

import sqlite3
from typing import Any

from zaqar.tests.functional.http.client import PATCH, Api, MovedClock, Response


def path(api: Api, name: str) -> str:
    """Return the file of a pool."""
    return f'{api.service.conf.state_path}/{name}.sqlite'


def uri(api: Api, name: str) -> str:
    """Return a URI by which a pool may be made."""
    return f'sqlite:///{path(api, name)}'


def make(api: Api, name: str, **fields: Any) -> Response:
    """Make a pool on a file of its name."""
    document = {'uri': uri(api, name), 'weight': 1, **fields}
    answer = api('PUT', f'/v2/pools/{name}', document)
    assert answer.status == 201, answer
    return answer


def flavor(api: Api, name: str, *pools: str) -> None:
    """Make a flavor of pools that exist."""
    answer = api('PUT', f'/v2/flavors/{name}', {'pool_list': list(pools)})
    assert answer.status == 201, answer


def set_flavor(api: Api, queue: str, name: str) -> Response:
    """Change the flavor of a queue."""
    change = {'op': 'add', 'path': '/metadata/_flavor', 'value': name}
    return api(
        'PATCH',
        f'/v2/queues/{queue}',
        [change],
        headers={'Content-Type': PATCH},
    )


def holds(api: Api, name: str) -> int:
    """Return how many rows of messages the file of a pool has."""
    connection = sqlite3.connect(path(api, name))
    try:
        row = connection.execute('SELECT count(*) FROM message').fetchone()
        return int(row[0])
    finally:
        connection.close()


def move_clock(api: Api, name: str) -> MovedClock:
    """Give a pool the clock that tests move."""
    store: Any = api.service.catalogue.pools.store(name)  # type: ignore
    store.clock = api.clock
    return api.clock
