# SPDX-License-Identifier: Apache-2.0
"""Writes decisions about claimed deliveries, in batches.

What takes the place of a delivery is stored before it is deleted, so that a
crash in between repeats it and loses nothing.

:source: reference/delivery, "Outbox and deliveries"
"""

import logging
from collections.abc import Sequence, Set
from itertools import islice

from zaqar.controllers import subscription_records, subscriptions
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.outbox_records import REQUEUE_SECONDS
from zaqar.errors import StoreUnavailable, ZaqarError
from zaqar.notification import dead_letters
from zaqar.notification.cached_subscription_lookup import SubscriptionLookup
from zaqar.notification.claimed_delivery_and_lease import (
    ClaimedDelivery,
    GivenUp,
)
from zaqar.notification.copies_for_resend import keep_given_up
from zaqar.notification.delivery_attempt import delivery_of
from zaqar.notification.delivery_decision import Remove
from zaqar.notification.delivery_statistics_and_attempts_writer import (
    DeliveryRecorder,
)
from zaqar.notification.due_delivery_counts import DueDeliveries
from zaqar.notification.pending_byte_usage_writer import Count, count_nothing
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.referenced_notices import ReferencedNotices
from zaqar.notification.unwritten_delivery_decisions import (
    TakenDecisions,
    count_outcome,
)
from zaqar.storage.abstract_stores import OUTBOX, PENDING, MessageStore
from zaqar.storage.splitting_into_posts import batches, token_of

LOG = logging.getLogger(__name__)

#: Deliveries of one batch that need calls of their own: dead letters,
#: confirmations and removals.
MAX_SINGLE = 50

#: Projects for which that may fail at a time: each may take a few seconds.
MAX_FAILED = 2


class DecisionWriter(TakenDecisions):
    """Writes decisions about the deliveries of one store.

    What is defined here is called by the thread of the store alone.

    :param count: see :mod:`.pending_byte_usage_writer`
    :param due: those that may be claimed
    """

    def __init__(
        self,
        ctx: Context,
        subscriptions: SubscriptionLookup,
        statistics: DeliveryRecorder,
        count: Count = count_nothing,
        due: DueDeliveries | None = None,
    ) -> None:
        super().__init__(ctx.cipher, statistics)
        self._ctx = ctx
        self._subscriptions = subscriptions
        self._count_bytes = count
        self._due = due or DueDeliveries()

    def flush(self, store: MessageStore, notices: ReferencedNotices) -> bool:
        """Write all decisions; those that fail are written next time.

        :param notices: those that deliveries refer to
        :returns: whether there are more
        :raises StoreUnavailable: some may have been written
        """
        while self._left:
            job = self._left.popleft()
            job.lease.left.add(job.claimed_id)
            job.lease.finish(job)
        self.is_returning = False
        jobs = [self._finished.popleft() for _ in range(len(self._finished))]
        ready, later = self._write_singly(store, jobs)
        self._finished.extendleft(reversed(later))
        try:
            stored: list[str] = []
            for batch in batches(
                one for job in ready for one in job.replacements
            ):
                now, token = store.clock.now(), token_of(batch)
                stored += store.post(PENDING, batch, now=now, token=token)
            new = iter(stored)
            for job in ready:
                ids = [*islice(new, len(job.replacements))]
                if any(not one.delay for one in job.replacements):
                    self._due.add(job.host, job.project)
                if job.is_stored or job.pending.source:
                    notices.replace(job.name, ids)
                job.replacements.clear()
            if ids := [job.claimed_id for job in ready if job.is_stored]:
                store.delete_many(PENDING, ids, now=store.clock.now())
            ended = notices.finish(store, [job.name for job in ready])
            _leave_notices(store, ready, ended)
        except BaseException:
            self._finished.extendleft(reversed(ready))
            self.is_returning = True
            raise
        for job in ready:
            self._count_bytes(job.project, job.left - job.stored_bytes)
            job.lease.finish(job)
        return bool(self._finished)

    def drop(self, pending: PendingDelivery, now: int) -> None:
        """Give up a delivery that there is no room for.

        :raises StoreUnavailable: a dead letter cannot be stored
        """
        self._count_bytes(pending.project, -pending.size)
        subscription = self._subscriptions.find(pending)
        if subscription is None:
            return
        for place in range(len(pending.messages) or 1):
            delivery = delivery_of(
                pending, place, pending.attempt, subscription
            )
            reason = dead_letters.dead_letter(
                self._ctx,
                subscription,
                delivery,
                'too many deliveries of the project are waiting',
            )
            self._statistics.failed(pending.key, reason, now)

    def _write_singly(
        self, store: MessageStore, jobs: list[ClaimedDelivery]
    ) -> tuple[list[ClaimedDelivery], list[ClaimedDelivery]]:
        """Write what needs calls of its own.

        :returns: jobs of which only the end is to be written, and those that
            must wait for the next time
        """
        ready = [job for job in jobs if not (job.given_up or job.confirms)]
        single = [job for job in jobs if job.given_up or job.confirms]
        single, later = single[:MAX_SINGLE], single[MAX_SINGLE:]
        try:
            keep_given_up(self._ctx, store, single)
        except StoreUnavailable:
            return ready, single + later
        except Exception:
            # They end as they would without it.
            LOG.exception('What was given up cannot be kept')
        # The store of their dead letters is not that of all others.
        away: set[str] = set()
        for job in single:
            if job.project not in away and len(away) < MAX_FAILED:
                if self._write_one(job):
                    ready.append(job)
                    continue
                away.add(job.project)
            # Behind all others: it may take long until it can be written.
            self._finished.append(job)
        return ready, later

    def _write_one(self, job: ClaimedDelivery) -> bool:
        """Write what a job needs beside its end; return whether it could."""
        try:
            if job.confirms:
                self._confirm(job)
                job.confirms = False
            while job.given_up:
                self._give_up(job, job.given_up[0])
                job.given_up.popleft()
        except StoreUnavailable:
            return False
        except Exception:
            # Others must be written, and this must not be lost.
            LOG.exception(
                'What follows from a delivery cannot be written; it is '
                'attempted again in %d s',
                REQUEUE_SECONDS,
            )
            self._begin_again(job)
        return True

    def _begin_again(self, job: ClaimedDelivery) -> None:
        """Have the last attempts made again whose end cannot be written."""
        parts = [job.pending] if job.confirms else []
        for one in job.given_up:
            part = job.pending.part(one.place, one.place + 1)
            part.attempt = one.last.delivery.attempt
            parts.append(part)
        job.given_up.clear()
        job.confirms = False
        for part in parts:
            at = job.store.clock.now() + REQUEUE_SECONDS * 1000
            self.replace(job, part, at)

    def _give_up(self, job: ClaimedDelivery, given_up: GivenUp) -> None:
        decision, last = given_up.decision, given_up.last
        subscription, delivery = last.subscription, last.delivery
        # Before it is counted: what is not stored is written again.
        reason = dead_letters.dead_letter(
            self._ctx, subscription, delivery, decision.reason
        )
        count_outcome(delivery, 'given_up')
        record = last.as_recorded(
            given_up.at, 'given_up', **given_up.stored_copy
        )
        self._statistics.failed(
            job.pending.key,
            reason,
            job.store.clock.now(),
            record,
            is_gone=isinstance(decision, Remove) or decision.is_gone,
        )
        LOG.warning(
            'Delivery %s of queue %s, project %s, is given up after attempt '
            '%d: %s%s',
            delivery.id,
            delivery.queue,
            delivery.project,
            delivery.attempt,
            reason,
            decision.detail and f' ({decision.detail})',
        )
        if isinstance(decision, Remove):
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


def _leave_notices(
    store: MessageStore, jobs: Sequence[ClaimedDelivery], ended: Set[str]
) -> None:
    """Let the notices of finished jobs stay that others refer to.

    :param ended: those that are deleted
    """
    finished = set(jobs)
    for lease in {job.lease for job in jobs if not job.is_stored}:
        ids = [
            notice_id
            for notice_id, left in lease.open.items()
            if left <= finished and notice_id not in ended
        ]
        if ids:
            staying = ReferencedNotices.staying(ids)
            store.settle(
                OUTBOX, lease.claim_id, staying, now=store.clock.now()
            )
