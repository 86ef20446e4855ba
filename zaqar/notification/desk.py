# SPDX-License-Identifier: Apache-2.0
"""One attempt: who is told, how, and what comes of it.

:source: reference/delivery, "Webhook requests", "Retries",
    "Outbox and deliveries"
"""

from __future__ import annotations

import json
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cachetools import TTLCache

from zaqar.controllers import (
    subscribers,
    subscription_records,
    subscriptions,
)
from zaqar.controllers.context import Context
from zaqar.controllers.notices import LIFETIME
from zaqar.errors import StoreUnavailable, ZaqarError
from zaqar.models import NewMessage, Scope, Subscription
from zaqar.notification import confirmation, dead_letters, metrics, retry
from zaqar.notification.leases import Lease, Leases
from zaqar.notification.pending import PendingDelivery
from zaqar.notification.sender import Delivery, Outcome, Sender, Verdict
from zaqar.notification.service_catalog import PublicEndpoints
from zaqar.notification.statistics import DeliveryStatistics
from zaqar.storage.base import MessageStore

LOG = logging.getLogger(__name__)

#: Seconds for which a subscription is believed, and how many are kept.
FRESH = 1.0
KEPT = 10_000

#: Seconds of a pause that is no pause.
AT_ONCE = 0.05

#: Seconds beyond the pauses of its policy after which a delivery to a host
#: that is only probed is given up untried.
GRACE = 600


@dataclass(slots=True, eq=False)
class Job:
    """A pending delivery that this process works on.

    :ivar place: which of its messages is next
    :ivar attempt: the number of the next attempt
    :ivar later: what is to be stored in its place
    """

    pending: PendingDelivery
    message_id: str
    lease: Lease
    leases: Leases
    store: MessageStore
    place: int = 0
    attempt: int = 1
    later: list[NewMessage] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.pending.host

    @property
    def project(self) -> str:
        return self.pending.project

    @property
    def key(self) -> tuple[Scope, str]:
        """The subscription, for counting."""
        return self.pending.key

    def finish(self) -> None:
        """Be done with, or go on as what is stored instead."""
        self.leases.done(self.lease, self.message_id, self.later)


class Desk:
    """Makes attempts.

    :param endpoints: returns the public URLs of the service
    """

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
        self._known: TTLCache[tuple[Scope, str], Subscription] = TTLCache(
            KEPT, FRESH
        )

    def work(self, job: Job) -> tuple[bool, bool | None]:
        """Make the next attempt of a job.

        :returns: whether there is more to do at once, and how the host did:
            None if it was not asked
        """
        pending = job.pending
        found = self._subscription(pending)
        if found is None:
            # Nobody is owed anything any more.
            job.finish()
            return False, None
        delivery = self._delivery(pending, job.place, job.attempt, found)
        scheme = found.subscriber.partition(':')[0].lower()
        began = time.monotonic()
        outcome = self._send(scheme, delivery, job)
        metrics.counters().seconds.labels(scheme).observe(
            time.monotonic() - began
        )
        more = self._settle(job, found, scheme, delivery, outcome)
        if not more:
            job.finish()
        if outcome.reason.startswith(_NOT_ASKED):
            return more, None
        return more, outcome.verdict is not Verdict.RETRY

    def park(self, job: Job, seconds: float) -> None:
        """Put a job back for a while, since others come first.

        One that has waited longer than its policy allows is given up.
        """
        pending = job.pending
        now = job.store.clock.now()
        found = self._subscription(pending)
        if found is None:
            job.finish()
            return
        policy = self._policy(found)
        patience = (sum(retry.pauses(policy)) + GRACE) * 1000
        if pending.deferrals and now - pending.first_at > patience:
            for place in range(job.place, len(pending.messages) or 1):
                delivery = self._delivery(pending, place, job.attempt, found)
                scheme = found.subscriber.partition(':')[0].lower()
                outcome = Outcome(
                    Verdict.REFUSED, 'the host has not answered for long'
                )
                self._give_up(job, found, scheme, delivery, outcome)
            job.finish()
            return
        # So that they do not come back together.
        seconds *= 1 + self._chance()
        rest = pending.copy(
            messages=pending.messages[job.place :],
            offset=pending.offset + job.place,
            attempt=job.attempt,
            deferrals=pending.deferrals + 1,
        )
        job.later.append(self._kept(rest, policy, seconds))
        job.finish()

    def drop(self, pending: PendingDelivery, now: int) -> None:
        """Let the owner know of a pending delivery that there is no room for.

        :raises StoreUnavailable: a dead letter cannot be kept
        """
        found = self._subscription(pending)
        if found is None:
            return
        for place in range(len(pending.messages) or 1):
            delivery = self._delivery(pending, place, pending.attempt, found)
            reason = _NO_ROOM
            if not delivery.confirmation:
                reason = dead_letters.dead_letter(
                    self._ctx, found, delivery, reason
                )
            self._statistics.given_up(pending.key, reason, now)

    def _subscription(self, pending: PendingDelivery) -> Subscription | None:
        """Return the subscription, if its subscriber is still to be told."""
        key = pending.key
        with self._lock:
            known = self._known.get(key)
        # A refusal is never taken from memory: the subscriber may have agreed
        # since, and what was posted after that is owed; nor is what the
        # subscription was before a change that the message came after. A
        # question goes to who is subscribed now.
        if (
            known is not None
            and known.version >= pending.version
            and pending.ask is None
            and self._wanted(pending, known)
        ):
            return known
        management = self._ctx.catalogue.management
        found = subscription_records.find(
            management, *key, management.clock.now()
        )
        if found is not None:
            with self._lock:
                self._known[key] = found
        return self._wanted(pending, found)

    def _wanted(
        self, pending: PendingDelivery, found: Subscription | None
    ) -> Subscription | None:
        if found is None or pending.ask is not None:
            return found
        asks = self._ctx.pipeline.asks(found.subscriber)
        return found if found.confirmed or not asks else None

    def _delivery(
        self,
        pending: PendingDelivery,
        place: int,
        attempt: int,
        found: Subscription,
    ) -> Delivery:
        if pending.ask is not None:
            public = self._endpoints()
            document = confirmation.document(
                self._ctx.signer, pending.ask, public.http, public.websocket
            )
            body = json.dumps(document, ensure_ascii=False).encode()
        else:
            body = pending.notification(place)
        return Delivery(
            f'{pending.id}.{pending.offset + place}',
            pending.project,
            pending.queue,
            found.id,
            found.subscriber,
            found.options,
            body,
            attempt,
            pending.first_at,
            pending.ask is not None,
            pending.sealed,
        )

    def _send(self, scheme: str, delivery: Delivery, job: Job) -> Outcome:
        sender = self._senders.get(scheme)
        if sender is None:
            return Outcome(
                Verdict.REFUSED, f'{_NOT_ASKED}nothing here sends to {scheme}:'
            )
        refusal = _IN_THE_CLEAR.get(scheme)
        if delivery.sealed and refusal and not self._over_http:
            return Outcome(Verdict.REFUSED, f'{_NOT_ASKED}{refusal}')
        try:
            return sender.send(delivery, now=job.store.clock.now())
        except Exception:
            LOG.exception('Sending to a subscriber by %s failed', scheme)
            return Outcome(Verdict.RETRY, 'an error of the service')

    def _settle(
        self,
        job: Job,
        found: Subscription,
        scheme: str,
        delivery: Delivery,
        outcome: Outcome,
    ) -> bool:
        """Draw the consequences; return whether the job goes on at once."""
        now = job.store.clock.now()
        if outcome.verdict is Verdict.DELIVERED:
            metrics.counters().deliveries.labels(scheme, 'delivered').inc()
            if not delivery.confirmation:
                self._statistics.delivered(job.key, now)
            if outcome.confirmed:
                self._confirm(job)
            return self._next(job)
        if outcome.verdict is Verdict.RETRY:
            policy = self._policy(found)
            pause = retry.pause(
                policy, job.attempt, outcome.retry_after, self._chance()
            )
            if pause is not None:
                metrics.counters().deliveries.labels(scheme, 'retried').inc()
                self._statistics.retried(job.key, outcome.reason, now)
                return self._repeat(job, policy, pause)
        self._give_up(job, found, scheme, delivery, outcome)
        return self._next(job)

    def _repeat(
        self, job: Job, policy: Mapping[str, Any], pause: float
    ) -> bool:
        if pause < AT_ONCE:
            job.attempt += 1
            return True
        pending = job.pending
        one = pending.copy(
            messages=pending.messages[job.place : job.place + 1],
            offset=pending.offset + job.place,
            attempt=job.attempt + 1,
            deferrals=0,
        )
        job.later.append(self._kept(one, policy, pause))
        return self._next(job)

    def _next(self, job: Job) -> bool:
        job.place += 1
        job.attempt = 1
        return job.place < len(job.pending.messages)

    def _kept(
        self, pending: PendingDelivery, policy: Mapping[str, Any], pause: float
    ) -> NewMessage:
        ttl = LIFETIME + sum(retry.pauses(policy))
        # Rounded up: who asks to be left alone is.
        delay = math.ceil(pause)
        return pending.to_store(self._ctx.cipher, ttl=ttl, delay=delay)

    def _give_up(
        self,
        job: Job,
        found: Subscription,
        scheme: str,
        delivery: Delivery,
        outcome: Outcome,
    ) -> None:
        now = job.store.clock.now()
        reason = outcome.reason.removeprefix(_NOT_ASKED)
        gone = outcome.verdict is Verdict.GONE
        if not delivery.confirmation:
            # Before it is counted: what is not stored is attempted again.
            reason = dead_letters.dead_letter(
                self._ctx, found, delivery, reason
            )
        metrics.counters().deliveries.labels(scheme, 'given_up').inc()
        self._statistics.given_up(job.key, reason, now, gone=gone)
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
        is_socket = scheme == subscribers.SOCKET
        if gone and (is_socket or self._statistics.is_gone(job.key, now)):
            # A connection never comes back under its address.
            LOG.warning('Subscription %s is gone; it is removed', found.id)
            subscriptions.delete(
                self._ctx, scope=job.pending.scope, subscription_id=found.id
            )

    def _confirm(self, job: Job) -> None:
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

    def _policy(self, found: Subscription) -> Mapping[str, Any]:
        queue = self._ctx.catalogue.find(found.scope)
        return retry.chosen(queue.metadata if queue else {}, found.options)


#: Why messages of encrypted queues do not go by a scheme; others can read
#: what does.
_IN_THE_CLEAR = {
    'http': 'messages of an encrypted queue need https',
    'trust+http': 'messages of an encrypted queue need https',
    'mailto': 'messages of an encrypted queue are not mailed',
}

#: Why a pending delivery is dropped.
_NO_ROOM = 'too many deliveries of the project are waiting'

#: Begins reasons that say nothing about the host.
_NOT_ASKED = '\0'
