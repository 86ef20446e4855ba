# SPDX-License-Identifier: Apache-2.0
"""The bytes of messages that projects have stored, for their quota.

Stores keep a running count for each queue. A process adds the counts of a
project's queues up once a minute, and adds what it posts itself meanwhile:
what other processes post, and what is deleted, counts a minute later at most.
"""

import functools

from zaqar.controllers.approximate_quota_checks import Resource
from zaqar.objects import Kind
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.pools.registered_and_virtual_pools import VIRTUAL
from zaqar.storage.record_updates_and_listing import list_all

RESOURCE = 'message_bytes'

#: Seconds for which a sum is used.
FRESH = 60.0

#: Queues of a store that are looked at in one call.
_CHUNK = 1000


def resource(catalogue: Catalogue) -> Resource:
    """Return how a process knows what projects have stored."""
    return Resource(RESOURCE, functools.partial(held, catalogue), FRESH)


def held(catalogue: Catalogue, project: str) -> int | None:
    """Return the bytes of messages of a project, about.

    :returns: None if no store counts them
    """
    by_pool: dict[str, list[str]] = {}
    for kind in (Kind.QUEUE, Kind.TOPIC):
        for record in list_all(catalogue.management, kind, project):
            pool = record.data.get('pool') or ''
            by_pool.setdefault(pool, []).append(record.data['qid'])
    openers = catalogue.outboxes()
    total: int | None = 0 if not by_pool else None
    for pool, qids in by_pool.items():
        if pool not in openers:
            # From before there were pools.
            pool = VIRTUAL
        if pool not in openers:
            continue
        store = openers[pool]()
        for start in range(0, len(qids), _CHUNK):
            some = store.held_bytes(
                qids[start : start + _CHUNK], now=store.clock.now()
            )
            if some is not None:
                total = (total or 0) + some
    return total
