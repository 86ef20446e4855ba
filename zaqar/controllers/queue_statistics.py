# SPDX-License-Identifier: Apache-2.0
"""Statistics of one queue, and in short those of a page of queues."""

import logging
from collections.abc import Sequence
from typing import Any

from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.message_flow_estimates import Rates
from zaqar.controllers.result_types import Counted
from zaqar.errors import StoreUnavailable
from zaqar.objects import Kind, Queue, Record, Scope, Stats
from zaqar.storage.abstract_stores import MessageStore

LOG = logging.getLogger(__name__)


def show(ctx: Context, *, scope: Scope) -> Counted:
    """Count the messages of a queue; a missing one has none."""

    def count(store: Any, queue: Queue) -> Counted:
        now = store.clock.now()
        return _counted(ctx, queue, store.stats(queue.qid, now=now), now)

    missing = Counted(Stats(), 0, Rates(), exists=False)
    return ctx.catalogue.run(scope, count, missing)


def of_page(
    ctx: Context, kind: Kind, records: Sequence[Record]
) -> list[Counted | None]:
    """Count the messages of listed queues, by one call of each store.

    Messages that are still in a former pool are not counted.

    :returns: for each record its statistics, which name no ends; None where
        the store of its messages does not answer
    """
    results: list[Counted | None] = [None] * len(records)
    by_store: dict[int, tuple[MessageStore, list[tuple[int, Queue]]]] = {}
    for place, record in enumerate(records):
        scope = Scope(ctx.identity.project, record.name, kind)
        queue = ctx.catalogue.from_record(scope, record)
        try:
            store = ctx.catalogue.store(queue)
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
        for (place, queue), stats in zip(some, counts, strict=True):
            results[place] = _counted(ctx, queue, stats, now)
    return results


def _counted(ctx: Context, queue: Queue, stats: Stats, now: int) -> Counted:
    return Counted(
        stats,
        now,
        ctx.rates.update(queue.qid, stats, now),
        created_at=queue.created_at,
        changed_at=queue.changed_at,
    )
