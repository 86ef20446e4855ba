# SPDX-License-Identifier: Apache-2.0
"""What becomes of the deliveries to a subscriber, for its owner.

:source: reference/delivery, "Statistics"
"""

from __future__ import annotations

from typing import Any

from zaqar.api_versions import V2_1
from zaqar.controllers import subscription_delivery_status
from zaqar.controllers import subscription_records as records
from zaqar.controllers.call_context import Context
from zaqar.controllers.pending_counts import Counts, Waiting
from zaqar.controllers.subscription_delivery_status import FILTERED
from zaqar.models import Scope, Subscription
from zaqar.rfc3339 import timestamp


def show(
    ctx: Context, *, scope: Scope, subscription_id: str
) -> dict[str, Any]:
    """Return the statistics of a subscription.

    :raises NotFound: it does not exist
    """
    store = ctx.catalogue.management
    subscription, _ = records.current(
        ctx, scope, subscription_id, store.clock.now()
    )
    status = subscription_delivery_status.read(store, (scope, subscription_id))
    shown = subscription_delivery_status.document(status)
    if ctx.version >= V2_1:
        shown[FILTERED] = status.get(FILTERED, 0)
        shown |= _waiting(ctx, subscription)
    return shown


def _waiting(ctx: Context, subscription: Subscription) -> dict[str, Any]:
    """Return what is still to be delivered, null where that is unknown."""
    looks = [
        ctx.pending.read(name, opener(), ctx.cipher)
        for name, opener in ctx.catalogue.outboxes().items()
    ]
    waiting = sum(
        (_of(ctx, subscription, counts) for counts in looks), Waiting()
    )
    if not waiting.count and not all(one.is_complete for one in looks):
        return {'pending': None, 'oldest_pending_at': None}
    oldest = waiting.oldest
    return {
        'pending': waiting.count,
        'oldest_pending_at': None if oldest is None else timestamp(oldest),
    }


def _of(ctx: Context, subscription: Subscription, counts: Counts) -> Waiting:
    scope = subscription.scope
    waiting = counts.deliveries.get((scope, subscription.id), Waiting())
    if ctx.pipeline.is_notified(subscription):
        waiting += counts.notices.get(scope, Waiting())
    return waiting
