# SPDX-License-Identifier: Apache-2.0
"""Delivery attempts: whom to notify, how, and what follows.

:source: reference/delivery, "Webhook requests", "Retries",
    "Outbox and deliveries"
"""

import json
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cachetools import TTLCache

from zaqar.controllers import subscription_records, subscriptions
from zaqar.controllers.call_context import Context
from zaqar.controllers.outbox_notices import LIFETIME
from zaqar.controllers.subscription_validation import SOCKET
from zaqar.errors import StoreUnavailable, ZaqarError
from zaqar.models import NewMessage, Scope, Subscription
from zaqar.notification import (
    attempt_records,
    confirmation_request_content,
    dead_letters,
    notifier_metrics,
    retry_pauses,
)
from zaqar.notification.claimed_delivery import ClaimedDelivery
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.sender_interface import (
    Delivery,
    Outcome,
    Sender,
    Verdict,
)
from zaqar.notification.service_catalog import PublicEndpoints
from zaqar.notification.subscription_delivery_statistics import (
    DeliveryStatistics,
)

LOG = logging.getLogger(__name__)

#: Seconds for which subscriptions are cached, and the maximum number of them.
CACHE_SECONDS = 1.0
MAX_CACHED = 10_000

#: A pause shorter than this, in seconds, is skipped.
NO_PAUSE = 0.05

#: Seconds, beyond the pauses of its policy, after which a delivery that is
#: only deferred is given up.
GRACE = 600

#: Why messages of encrypted queues are not sent by a scheme.
_IN_THE_CLEAR = {
    'http': 'messages of an encrypted queue need https',
    'trust+http': 'messages of an encrypted queue need https',
    'mailto': 'messages of an encrypted queue are not mailed',
}

#: Why pending deliveries are dropped.
_NO_ROOM = 'too many deliveries of the project are waiting'


class DeliveryExecutor:
    """Makes attempts to deliver, and decides what follows from each."""

    def __init__(
        self,
        ctx: Context,
        senders: Mapping[str, Sender],
        statistics: DeliveryStatistics,
        *,
        encrypted_over_http: bool = False,
        endpoints: Callable[[], PublicEndpoints] = PublicEndpoints,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._ctx = ctx
        self._senders = senders
        self._statistics = statistics
        self._over_http = encrypted_over_http
        self._endpoints = endpoints
        self._chance = chance
        self._lock = threading.Lock()
        self._subscriptions: TTLCache[tuple[Scope, str], Subscription] = (
            TTLCache(MAX_CACHED, CACHE_SECONDS)
        )

    def execute(self, job: ClaimedDelivery) -> tuple[bool, bool | None]:
        """Make the next attempt of a job, and finish the job after the last.

        :returns: whether to continue with the job at once, and whether the
            host is fine: None if nothing was sent
        """
        try:
            return self._execute(job)
        except BaseException as error:
            job.release()
            if isinstance(error, StoreUnavailable):
                return False, None
            raise

    def defer(self, job: ClaimedDelivery, seconds: float) -> None:
        """Store a job for later, since its host has no room for it.

        A job that was deferred for longer than its policy allows is given up.
        """
        try:
            self._defer(job, seconds)
        except StoreUnavailable:
            job.release()

    def drop(self, pending: PendingDelivery, now: int) -> None:
        """Give up a delivery that there is no room for.

        :raises StoreUnavailable: a dead letter cannot be stored
        """
        subscription = self._subscription(pending)
        if subscription is None:
            return
        for place in range(len(pending.messages) or 1):
            delivery = self._delivery(
                pending, place, pending.attempt, subscription
            )
            reason = dead_letters.dead_letter(
                self._ctx, subscription, delivery, _NO_ROOM
            )
            self._statistics.given_up(pending.key, reason, now)

    def _execute(self, job: ClaimedDelivery) -> tuple[bool, bool | None]:
        pending = job.pending
        subscription = self._subscription(pending)
        if subscription is None:
            job.finish()
            return False, None
        delivery = self._delivery(
            pending, job.place, job.attempt, subscription
        )
        began = time.monotonic()
        refusal = self._refusal(delivery)
        outcome = (
            self._send(delivery, job.store.clock.now())
            if refusal is None
            else Outcome(Verdict.REFUSED, refusal)
        )
        job.seconds = time.monotonic() - began
        notifier_metrics.record('attempt', job.seconds, delivery.scheme)
        more = self._settle(job, subscription, delivery, outcome)
        if not more:
            job.finish()
        if refusal is not None:
            return more, None
        return more, outcome.verdict is not Verdict.RETRY

    def _defer(self, job: ClaimedDelivery, seconds: float) -> None:
        pending = job.pending
        subscription = self._subscription(pending)
        if subscription is None:
            job.finish()
            return
        policy = self._policy(subscription)
        waited = job.store.clock.now() - pending.first_at
        patience = (sum(retry_pauses.pauses(policy)) + GRACE) * 1000
        if pending.deferrals and waited > patience:
            outcome = Outcome(
                Verdict.REFUSED, 'the host has not answered for long'
            )
            for place in range(job.place, len(pending.messages) or 1):
                delivery = self._delivery(
                    pending, place, job.attempt, subscription
                )
                self._give_up(job, subscription, delivery, outcome)
        else:
            rest = pending.copy(
                messages=pending.messages[job.place :],
                offset=pending.offset + job.place,
                attempt=job.attempt,
                deferrals=pending.deferrals + 1,
            )
            # Spread, so that those deferred together do not return together.
            seconds *= 1 + self._chance()
            job.replacements.append(self._stored(rest, policy, seconds))
        job.finish()

    def _subscription(self, pending: PendingDelivery) -> Subscription | None:
        """Return the subscription, None if nobody is to be notified."""
        key, is_notified = pending.key, self._ctx.pipeline.is_notified
        with self._lock:
            cached = self._subscriptions.get(key)
        # A cached one is good enough only to notify: since then the subscriber
        # may have confirmed, and the subscription may have changed before the
        # message was posted. A request for confirmation goes to the
        # subscriber of now.
        if (
            cached is not None
            and cached.version >= pending.version
            and pending.confirmation is None
            and is_notified(cached)
        ):
            return cached
        management = self._ctx.catalogue.management
        current = subscription_records.find(
            management, *key, management.clock.now()
        )
        if current is None:
            return None
        with self._lock:
            self._subscriptions[key] = current
        if pending.confirmation is not None or is_notified(current):
            return current
        return None

    def _delivery(
        self,
        pending: PendingDelivery,
        place: int,
        attempt: int,
        subscription: Subscription,
    ) -> Delivery:
        if pending.confirmation is not None:
            public = self._endpoints()
            document = confirmation_request_content.document(
                self._ctx.signer,
                pending.confirmation,
                public.http,
                public.websocket,
            )
            body = json.dumps(document, ensure_ascii=False).encode()
        else:
            body = pending.notification(place)
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
            pending.confirmation is not None,
            pending.sealed,
        )

    def _refusal(self, delivery: Delivery) -> str | None:
        """Return why a delivery must not be sent, None if it may."""
        if delivery.scheme not in self._senders:
            return f'nothing here sends to {delivery.scheme}:'
        if delivery.sealed and not self._over_http:
            return _IN_THE_CLEAR.get(delivery.scheme)
        return None

    def _send(self, delivery: Delivery, now: int) -> Outcome:
        try:
            return self._senders[delivery.scheme].send(delivery, now=now)
        except Exception:
            LOG.exception(
                'Sending to a subscriber by %s failed', delivery.scheme
            )
            return Outcome(Verdict.RETRY, 'an error of the service')

    def _settle(
        self,
        job: ClaimedDelivery,
        subscription: Subscription,
        delivery: Delivery,
        outcome: Outcome,
    ) -> bool:
        """Act on an outcome; return whether the job continues at once."""
        now = job.store.clock.now()
        if outcome.verdict is Verdict.DELIVERED:
            _count(delivery, 'delivered')
            if not delivery.confirmation:
                self._statistics.delivered(
                    job.pending.key,
                    now,
                    attempt_records.of(job, delivery, outcome, 'delivered'),
                )
            if outcome.confirmed:
                self._confirm(job)
            return _advance(job)
        if outcome.verdict is Verdict.RETRY:
            policy = self._policy(subscription)
            pause = retry_pauses.pause(
                policy, job.attempt, outcome.retry_after, self._chance()
            )
            if pause is not None:
                _count(delivery, 'retried')
                next_at = now + math.ceil(pause * 1000)
                made = attempt_records.of(
                    job, delivery, outcome, 'retried', next_at=next_at
                )
                self._statistics.retried(
                    job.pending.key, outcome.reason, now, made
                )
                return self._retry(job, policy, pause)
        self._give_up(job, subscription, delivery, outcome)
        return _advance(job)

    def _retry(
        self, job: ClaimedDelivery, policy: Mapping[str, Any], pause: float
    ) -> bool:
        if pause < NO_PAUSE:
            job.attempt += 1
            return True
        pending = job.pending
        failed = pending.copy(
            messages=pending.messages[job.place : job.place + 1],
            offset=pending.offset + job.place,
            attempt=job.attempt + 1,
            deferrals=0,
        )
        job.replacements.append(self._stored(failed, policy, pause))
        return _advance(job)

    def _stored(
        self, pending: PendingDelivery, policy: Mapping[str, Any], pause: float
    ) -> NewMessage:
        ttl = LIFETIME + sum(retry_pauses.pauses(policy))
        # Rounded up: a receiver that asks for a pause gets at least that.
        delay = math.ceil(pause)
        return pending.to_store(self._ctx.cipher, ttl=ttl, delay=delay)

    def _give_up(
        self,
        job: ClaimedDelivery,
        subscription: Subscription,
        delivery: Delivery,
        outcome: Outcome,
    ) -> None:
        now, key = job.store.clock.now(), job.pending.key
        gone = outcome.verdict is Verdict.GONE
        # Before it is counted: what is not stored is attempted again.
        reason = dead_letters.dead_letter(
            self._ctx, subscription, delivery, outcome.reason
        )
        _count(delivery, 'given_up')
        kept = attempt_records.keep(self._ctx, job)
        made = attempt_records.of(job, delivery, outcome, 'given_up', **kept)
        self._statistics.given_up(key, reason, now, made, gone=gone)
        LOG.warning(
            'Delivery %s of queue %s, project %s, is given up after attempt '
            '%d: %s%s',
            delivery.id,
            delivery.queue,
            delivery.project,
            delivery.attempt,
            reason,
            outcome.detail and f' ({outcome.detail})',
        )
        is_socket = delivery.scheme == SOCKET
        if gone and (is_socket or self._statistics.is_gone(key, now)):
            # A closed connection never returns under its address.
            LOG.warning(
                'Subscription %s is gone; it is removed', subscription.id
            )
            # Unless its owner has given it another address meanwhile.
            subscription_records.remove(
                self._ctx,
                subscription.scope,
                subscription.id,
                subscription.version,
            )

    def _confirm(self, job: ClaimedDelivery) -> None:
        try:
            subscriptions.confirm(
                self._ctx,
                scope=job.pending.scope,
                subscription_id=job.pending.subscription,
                document={'confirmed': True},
            )
        except StoreUnavailable:
            raise
        except ZaqarError:
            LOG.info('A subscription ended before it was confirmed')

    def _policy(self, subscription: Subscription) -> Mapping[str, Any]:
        queue = self._ctx.catalogue.find(subscription.scope)
        metadata = queue.metadata if queue else {}
        return retry_pauses.chosen(metadata, subscription.options)


def _count(delivery: Delivery, outcome: str) -> None:
    notifier_metrics.record('deliveries', 1, delivery.scheme, outcome)


def _advance(job: ClaimedDelivery) -> bool:
    """Go on to the next message; return whether there is one."""
    job.place += 1
    job.attempt = 1
    return job.place < len(job.pending.messages)
