# SPDX-License-Identifier: Apache-2.0
"""Quotas of subscriptions: of a project, and to one queue or topic."""

import contextlib
from collections.abc import Iterator

from zaqar.controllers import (
    subscription_expiry_and_count_records,
    subscription_records,
)
from zaqar.controllers.caller_and_services import Context
from zaqar.objects import Scope


@contextlib.contextmanager
def room(
    ctx: Context, scope: Scope, subscriber: str, now: int
) -> Iterator[None]:
    """Hold room for a subscription, unless its subscriber has one.

    :raises QuotaExceeded: there is none
    """
    project, store = scope.project, ctx.catalogue.management
    limits = ctx.quotas.limits(project)

    def exists() -> bool:
        known = subscription_records.id_of(ctx, scope, subscriber)
        return known is not None

    def count_of_queue() -> int:
        parent = subscription_records.parent_of(scope)
        count = store.count(subscription_records.SUBSCRIPTION, parent)
        if count >= limits['subscriptions_per_queue']:
            # Some may have expired.
            live = subscription_records.live(ctx, scope, now)
            count = sum(1 for _ in live)
        return count

    with (
        ctx.quotas.room(
            project,
            'subscriptions',
            lambda: subscription_expiry_and_count_records.count(
                store, project
            ),
            exists,
        ),
        ctx.quotas.room(
            project, 'subscriptions_per_queue', count_of_queue, exists
        ),
    ):
        yield
