# SPDX-License-Identifier: Apache-2.0
"""Look-ups of the subscriptions of pending deliveries, and their policies.

Subscriptions are cached for a moment.
"""

import time
from collections.abc import Mapping
from typing import Any

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers import subscription_records
from zaqar.controllers.caller_and_services import Context
from zaqar.notification import retry_pauses
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.objects import Scope, Subscription

#: Seconds for which subscriptions are cached, and the maximum number of them.
CACHE_SECONDS = 1.0
MAX_CACHED = 10_000


class SubscriptionLookup:
    """Finds out who is to be notified."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        #: Each until when it is good, by a clock that never goes back.
        self._cache: BoundedCache[
            tuple[Scope, str], tuple[Subscription, float]
        ] = BoundedCache(MAX_CACHED)

    def cached(self, pending: PendingDelivery) -> Subscription | None:
        """Return the subscription if it is at hand.

        A cached one is good enough only to notify: since then the subscriber
        may have confirmed, and the subscription may have changed before the
        message was posted. A request for confirmation goes to the subscriber
        of now.
        """
        if pending.confirmation is not None:
            return None
        cached, until = self._cache.get(pending.key, (None, 0.0))
        if (
            cached is None
            or time.monotonic() > until
            or cached.version < pending.version
            or not self._ctx.pipeline.is_notified(cached)
        ):
            return None
        return cached

    def find(self, pending: PendingDelivery) -> Subscription | None:
        """Return the subscription, None if nobody is to be notified."""
        cached = self.cached(pending)
        if cached is not None:
            return cached
        management = self._ctx.catalogue.management
        current = subscription_records.find(
            management, *pending.key, management.clock.now()
        )
        if current is None:
            return None
        self.remember(current)
        is_notified = self._ctx.pipeline.is_notified(current)
        if pending.confirmation is not None or is_notified:
            return current
        return None

    def remember(self, subscription: Subscription) -> None:
        """Cache a subscription that was read a moment ago."""
        key = subscription.scope, subscription.id
        self._cache[key] = subscription, time.monotonic() + CACHE_SECONDS

    def policy(self, subscription: Subscription) -> Mapping[str, Any]:
        """Return the retry policy that applies to a subscription."""
        queue = self._ctx.catalogue.find(subscription.scope)
        metadata = queue.metadata if queue else {}
        return retry_pauses.chosen(metadata, subscription.options)
