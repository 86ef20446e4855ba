# SPDX-License-Identifier: Apache-2.0
"""Statistics of one queue, and in short those of a page of queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zaqar.controllers.call_context import Context
from zaqar.controllers.rate_estimates import Rates
from zaqar.controllers.result_types import Counted
from zaqar.models import Kind, Queue, Record, Scope, Stats
from zaqar.pools import many_queues


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

    :returns: for each record its statistics, which name no ends; None where
        the store of its messages does not answer
    """
    project = ctx.identity.project
    counts = many_queues.stats(
        ctx.catalogue,
        [(Scope(project, record.name, kind), record) for record in records],
    )
    return [one and _counted(ctx, *one) for one in counts]


def _counted(ctx: Context, queue: Queue, stats: Stats, now: int) -> Counted:
    return Counted(
        stats,
        now,
        ctx.rates.update(queue.qid, stats, now),
        created_at=queue.created_at,
        changed_at=queue.changed_at,
    )
