# SPDX-License-Identifier: Apache-2.0
"""Calls about many queues at once: one for each store that has some."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from zaqar.errors import StoreUnavailable
from zaqar.models import Queue, Record, Scope, Stats
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.base import MessageStore

LOG = logging.getLogger(__name__)

#: A queue, its statistics, and the moment of these.
Counted = tuple[Queue, Stats, int]


def stats(
    catalogue: Catalogue, listed: Sequence[tuple[Scope, Record]]
) -> list[Counted | None]:
    """Return the statistics of queues, by their records.

    Messages that are still in a former pool are not counted.

    :returns: None for each queue whose store does not answer
    """
    results: list[Counted | None] = [None] * len(listed)
    by_store: dict[int, tuple[MessageStore, list[tuple[int, Queue]]]] = {}
    for place, (scope, record) in enumerate(listed):
        queue = catalogue.from_record(scope, record)
        try:
            store = catalogue.store(queue)
        except StoreUnavailable:
            continue
        by_store.setdefault(id(store), (store, []))[1].append((place, queue))
    for store, some in by_store.values():
        try:
            now = store.clock.now()
            counts = store.stats_of([queue.qid for _, queue in some], now=now)
        except StoreUnavailable:
            LOG.warning('A store does not tell how full its queues are')
            continue
        for (place, queue), count in zip(some, counts, strict=True):
            results[place] = (queue, count, now)
    return results
