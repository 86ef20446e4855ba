# SPDX-License-Identifier: Apache-2.0
"""Delivery attempts: whom to notify, of what, and by which sender.

:source: reference/delivery, "Webhook requests", "Outbox and deliveries"
"""

import asyncio
import inspect
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.subscription_validation import SOCKET
from zaqar.daemon_threads import DaemonThreads
from zaqar.keystone.service_catalog import PublicEndpoints
from zaqar.notification import confirmation_request_content, notifier_metrics
from zaqar.notification.cached_subscription_lookup import SubscriptionLookup
from zaqar.notification.claimed_delivery_and_lease import (
    Attempted,
    ClaimedDelivery,
)
from zaqar.notification.delivery_statistics_and_attempts_writer import (
    DeliveryRecorder,
)
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.sender_interface import (
    THREADS,
    Delivery,
    Outcome,
    Sender,
    Verdict,
)
from zaqar.objects import Subscription

LOG = logging.getLogger(__name__)

T = TypeVar('T')

#: Threads that read records while attempts wait for them.
READERS = 4

#: Why messages of encrypted queues are not sent by a scheme.
_IN_THE_CLEAR = {
    'http': 'messages of an encrypted queue need https',
    'trust+http': 'messages of an encrypted queue need https',
    'mailto': 'messages of an encrypted queue are not mailed',
}


class Attempts:
    """Makes attempts, on an event loop; decides and writes nothing."""

    def __init__(
        self,
        ctx: Context,
        senders: Mapping[str, Sender],
        subscriptions: SubscriptionLookup,
        statistics: DeliveryRecorder,
        *,
        encrypted_over_http: bool = False,
        endpoints: Callable[[], PublicEndpoints] = PublicEndpoints,
    ) -> None:
        self._ctx = ctx
        self._senders = senders
        self._asynchronous = frozenset(
            scheme
            for scheme, sender in senders.items()
            if inspect.iscoroutinefunction(sender.send)
        )
        self._subscriptions = subscriptions
        self._statistics = statistics
        self._over_http = encrypted_over_http
        self._endpoints = endpoints
        self._readers = DaemonThreads(READERS, 'notifier-reader')
        #: Those of the service catalogue, which may hang, and those of senders
        #: that block, by scheme.
        self._catalogue = DaemonThreads(READERS, 'catalogue')
        self._threads: dict[str, DaemonThreads] = {}

    async def make(self, job: ClaimedDelivery) -> Attempted | None:
        """Make the next attempt of a job, None if nobody is to be notified.

        :raises StoreUnavailable: nothing was sent
        """
        pending = job.pending
        subscription = self._subscriptions.cached(pending)
        if subscription is None:
            subscription = await self.read(self._subscriptions.find, pending)
        if subscription is None:
            return None
        body = None
        if pending.confirmation is not None:
            body = await asyncio.get_running_loop().run_in_executor(
                self._catalogue, self._confirmation, pending
            )
        delivery = delivery_of(
            pending, job.place, job.attempt, subscription, body
        )
        refusal = self._refusal(delivery)
        if refusal is not None:
            outcome = Outcome(Verdict.REFUSED, refusal)
            return Attempted(subscription, delivery, outcome)
        began = time.monotonic()
        outcome = await self._send(delivery, job.store.clock.now())
        seconds = time.monotonic() - began
        notifier_metrics.record('attempt', seconds, delivery.scheme)
        return Attempted(subscription, delivery, outcome, seconds, True)

    async def gone_since(self, job: ClaimedDelivery, made: Attempted) -> int:
        """Return since when a subscriber says nothing but that it is gone."""
        if made.delivery.scheme == SOCKET:
            # A closed connection never returns under its address.
            return 0
        since = await self.read(self._statistics.gone_since, job.pending.key)
        return job.store.clock.now() if since is None else since

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that reads records, in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, function, *arguments)

    def close(self) -> None:
        """Close the senders; no attempt is in progress."""
        # One sender may serve many schemes.
        for sender in {
            id(one): one for one in self._senders.values()
        }.values():
            sender.close()
        for threads in (
            self._readers,
            self._catalogue,
            *self._threads.values(),
        ):
            threads.shutdown()

    def _confirmation(self, pending: PendingDelivery) -> bytes:
        assert pending.confirmation is not None
        public = self._endpoints()
        document = confirmation_request_content.document(
            self._ctx.signer,
            pending.confirmation,
            public.http,
            public.websocket,
        )
        return json.dumps(document, ensure_ascii=False).encode()

    def _refusal(self, delivery: Delivery) -> str | None:
        """Return why a delivery must not be sent, None if it may."""
        if delivery.scheme not in self._senders:
            return f'nothing here sends to {delivery.scheme}:'
        if delivery.sealed and not self._over_http:
            return _IN_THE_CLEAR.get(delivery.scheme)
        return None

    async def _send(self, delivery: Delivery, now: int) -> Outcome:
        send: Any = self._senders[delivery.scheme].send
        try:
            if delivery.scheme in self._asynchronous:
                outcome: Outcome = await send(delivery, now=now)
                return outcome
            threads = self._threads.get(delivery.scheme)
            if threads is None:
                threads = DaemonThreads(THREADS, delivery.scheme)
                self._threads[delivery.scheme] = threads
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                threads, lambda: send(delivery, now=now)
            )
        except Exception:
            LOG.exception(
                'Sending to a subscriber by %s failed', delivery.scheme
            )
            return Outcome(Verdict.RETRY, 'an error of the service')


def delivery_of(
    pending: PendingDelivery,
    place: int,
    attempt: int,
    subscription: Subscription,
    body: bytes | None = None,
) -> Delivery:
    """Return a message of a pending delivery as it is sent.

    :param body: of a request for confirmation
    """
    is_confirmation = pending.confirmation is not None
    if body is None:
        body = b'' if is_confirmation else pending.notification(place)
    return Delivery(
        f'{pending.id}.{pending.offset + place}',
        pending.project,
        pending.queue,
        subscription.id,
        subscription.subscriber,
        subscription.options,
        body,
        attempt,
        pending.first_at,
        is_confirmation,
        pending.sealed,
    )
