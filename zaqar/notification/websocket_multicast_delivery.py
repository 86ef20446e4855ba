# SPDX-License-Identifier: Apache-2.0
"""Deliveries to many connections of a WebSocket server, in one hand-over.

What a connection does not take becomes a pending delivery of its own, which is
retried, and given up, as any other one.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from cachetools import TTLCache

from zaqar.controllers import subscription_records
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.delivery_attempt_history import Attempt
from zaqar.controllers.subscription_validation import SOCKET
from zaqar.notification import notifier_metrics
from zaqar.notification.cached_subscription_lookup import CACHE_SECONDS
from zaqar.notification.claimed_delivery_and_lease import ClaimedDelivery
from zaqar.notification.delivery_statistics_and_attempts_writer import (
    DeliveryRecorder,
)
from zaqar.notification.pending_delivery import Socket, delivery_id
from zaqar.notification.sender_interface import Outcome, Sender, Verdict
from zaqar.notification.unwritten_delivery_decisions import TakenDecisions
from zaqar.objects import Scope, Subscription

#: Maximum number of queues whose subscriptions are cached.
_MAX_CACHED = 100

#: Maximum seconds between two attempts to reach a server.
_MAX_PAUSE = 10

_Live = Mapping[str, Subscription]


class WebSocketDeliveries:
    """Hands messages to the connections of a server.

    :param sender: that of sockets, None without one
    :param read: calls a function in a thread
    """

    def __init__(
        self,
        ctx: Context,
        sender: Sender | None,
        statistics: DeliveryRecorder,
        read: Callable[..., Awaitable[Any]],
    ) -> None:
        self._ctx = ctx
        self._push = getattr(sender, 'push', None)
        self._statistics = statistics
        self._read = read
        self._cache: TTLCache[Scope, _Live] = TTLCache(
            _MAX_CACHED, CACHE_SECONDS
        )

    async def deliver(
        self, job: ClaimedDelivery, writer: TakenDecisions
    ) -> bool | None:
        """Make an attempt, and finish the job.

        :returns: whether the server is fine, None if nothing was sent
        :raises StoreUnavailable: nothing was sent
        """
        if self._push is None:
            self.split(job, writer)
            return None
        pending, now = job.pending, job.store.clock.now()
        sockets = await self._subscribed(job, now)
        texts = [
            pending.notification(place)
            for place in range(len(pending.messages))
        ]
        result: Outcome | Sequence[Sequence[Outcome]] = []
        began = time.monotonic()
        if sockets:
            result = await self._push(
                pending.host.partition('://')[2],
                [socket.connection for socket in sockets],
                texts,
                first_at=pending.first_at,
                now=now,
            )
        if not isinstance(result, Outcome):
            spent = int((time.monotonic() - began) * 1000)
            self._note(job, sockets, result, spent, writer)
            writer.finish(job)
        elif result.verdict is Verdict.RETRY:
            # All of it, a little later each time.
            later = pending.copy(attempt=job.attempt + 1)
            at = job.store.clock.now() + min(job.attempt, _MAX_PAUSE) * 1000
            writer.replace(job, later, at)
            writer.finish(job)
            return False
        else:
            self.split(job, writer)
        return True

    def split(self, job: ClaimedDelivery, writer: TakenDecisions) -> None:
        """Let each connection have a pending delivery of its own."""
        for single in job.pending.singles():
            writer.replace(job, single)
        writer.finish(job)

    def _note(
        self,
        job: ClaimedDelivery,
        sockets: Sequence[Socket],
        result: Sequence[Sequence[Outcome]],
        spent: int,
        writer: TakenDecisions,
    ) -> None:
        """Count what was delivered, and let the rest be attempted again.

        :param spent: milliseconds that the attempt took
        """
        pending, now = job.pending, job.store.clock.now()
        scope, delivered = pending.scope, 0
        for place, outcomes in enumerate(result):
            for socket, outcome in zip(sockets, outcomes, strict=True):
                if outcome.verdict is Verdict.DELIVERED:
                    one = socket.subscription
                    attempt = Attempt(
                        f'{delivery_id(scope, one, pending.id)}.{place}',
                        now - spent,
                        job.attempt,
                        'delivered',
                        duration_ms=spent,
                    )
                    self._statistics.delivered((scope, one), now, attempt)
                    delivered += 1
                    continue
                (single,) = pending.copy(sockets=[socket]).singles()
                writer.replace(job, single.part(place, place + 1))
        if delivered:
            notifier_metrics.record(
                'deliveries', delivered, SOCKET, 'delivered'
            )
            notifier_metrics.record('attempt', spent / 1000, SOCKET)
            notifier_metrics.record(
                'latency', (now - pending.first_at) / 1000, SOCKET
            )

    async def _subscribed(
        self, job: ClaimedDelivery, now: int
    ) -> Sequence[Socket]:
        """Return those of the connections that are still subscribed."""
        pending = job.pending
        if now - pending.first_at < CACHE_SECONDS * 1000:
            # They were a moment ago.
            return pending.sockets
        live = self._cache.get(pending.scope)
        if live is None:
            live = await self._read(self._live, pending.scope)
            self._cache[pending.scope] = live
        return [
            socket
            for socket in pending.sockets
            if (one := live.get(socket.subscription))
            and one.subscriber == f'{pending.host}/{socket.connection}'
        ]

    def _live(self, scope: Scope) -> _Live:
        now = self._ctx.catalogue.management.clock.now()
        return {
            one.id: one
            for one in subscription_records.live(self._ctx, scope, now)
        }
