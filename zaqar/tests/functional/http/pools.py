# SPDX-License-Identifier: Apache-2.0
"""Pools to test with: databases beside the service's own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from zaqar.objects import Scope
from zaqar.storage import abstract_stores
from zaqar.storage.sqlalchemy import tables
from zaqar.tests.functional.http import engines
from zaqar.tests.functional.http.client import PATCH, Api, MovedClock, Response
from zaqar.tests.functional.notification.rig import fan_out

#: Leaves out what waits for subscribers to be told.
IS_OF_A_CLIENT = tables.message.c.queue_id.not_in(
    sa.select(tables.queue.c.id).where(
        tables.queue.c.qid.startswith(abstract_stores.OUTBOX)
    )
)


def uri(api: Api, name: str) -> str:
    """Return a URI by which a pool may be made."""
    return engines.current.uri(api.service.conf.state_path, name)


def rows(api: Api, name: str, statement: Any) -> list[Any]:
    """Return what a database answers to a statement."""
    return engines.current.rows(api.service.conf.state_path, name, statement)


def copy(api: Api, source: str, target: str) -> None:
    """Put all rows of a pool's database into another one."""
    engines.current.copy(api.service.conf.state_path, source, target)


def make(api: Api, name: str, **fields: Any) -> Response:
    """Make a pool on a database of its name."""
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
    """Return how many rows of messages the database of a pool has."""
    messages = sa.select(tables.message.c.seq).where(IS_OF_A_CLIENT)
    count = sa.select(sa.func.count()).select_from(messages.subquery())
    return int(rows(api, name, count)[0][0])


def tell(api: Api, name: str) -> None:
    """Do a notifier's work on a pool in which nobody is subscribed."""
    store = api.service.catalogue.pools.store(name)  # type: ignore
    while fan_out(api.service.internal, store):
        pass


def move_clock(api: Api, name: str) -> MovedClock:
    """Give a pool the clock that tests move."""
    store: Any = api.service.catalogue.pools.store(name)  # type: ignore
    store.clock = api.clock
    return api.clock


def catalogue(api: Api) -> Any:
    """Return the catalogue of a service with pools."""
    return api.service.catalogue


def pool_of(api: Api, queue: str) -> str:
    """Return the pool that is recorded with a queue."""
    record = catalogue(api).management.get('queue', api.project, queue)
    return str(record.data['pool'])


def forget(api: Api) -> None:
    """Let time pass for what a process knows of queues."""
    queues = catalogue(api)
    for record in queues.management.list(
        'queue', api.project, after=None, limit=1000
    ):
        queues.forget(Scope(api.project, record.name))
