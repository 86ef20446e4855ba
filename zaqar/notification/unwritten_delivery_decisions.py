# SPDX-License-Identifier: Apache-2.0
"""Decisions on claimed deliveries, taken on the event loop, not written yet.

There they only change statistics in memory; the thread of the store writes
them, see :mod:`.delivery_decision_writer`.
"""

import math
import threading
from collections import deque

from zaqar.controllers.message_encryption import Cipher
from zaqar.notification import notifier_metrics
from zaqar.notification.claimed_delivery_and_lease import (
    Attempted,
    ClaimedDelivery,
    GivenUp,
)
from zaqar.notification.delivery_attempt import delivery_of
from zaqar.notification.delivery_decision import (
    Acknowledge,
    DeadLetter,
    Decision,
    Retry,
)
from zaqar.notification.delivery_statistics_and_attempts_writer import (
    DeliveryRecorder,
)
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.sender_interface import Delivery, Outcome, Verdict
from zaqar.objects import Subscription


class TakenDecisions:
    """Decisions about the deliveries of one store, which are to be written.

    :ivar changed: set when there is something to write
    :ivar is_returning: what was not stored is about to be, and due at once
    """

    def __init__(self, cipher: Cipher, statistics: DeliveryRecorder) -> None:
        self._cipher = cipher
        self._statistics = statistics
        self._finished: deque[ClaimedDelivery] = deque()
        self._left: deque[ClaimedDelivery] = deque()
        self.changed = threading.Event()
        self.is_returning = False

    def take(
        self,
        job: ClaimedDelivery,
        made: Attempted,
        decision: Decision,
        now: int,
    ) -> bool:
        """Take the decision about the next message of a job.

        :returns: whether the job continues at once
        """
        delivery, key = made.delivery, job.pending.key
        if isinstance(decision, Acknowledge):
            count_outcome(delivery, 'delivered')
            notifier_metrics.record(
                'latency', (now - delivery.first_at) / 1000, delivery.scheme
            )
            if not delivery.confirmation:
                record = made.as_recorded(now, 'delivered')
                self._statistics.delivered(key, now, record)
            job.confirms |= decision.confirms
        elif isinstance(decision, Retry):
            count_outcome(delivery, 'retried')
            record = made.as_recorded(now, 'retried', next_at=decision.at)
            self._statistics.failed(
                key, decision.reason, now, record, is_final=False
            )
            if decision.at <= now:
                job.attempt += 1
                return True
            later = job.pending.part(job.place, job.place + 1)
            later.deferrals, later.attempt = 0, job.attempt + 1
            self.replace(job, later, decision.at)
        else:
            job.given_up.append(GivenUp(job.place, made, decision, now))
        if job.advance():
            return True
        self.finish(job)
        return False

    def defer(
        self, job: ClaimedDelivery, at: int = 0, *, counts: bool = False
    ) -> None:
        """Have the rest of a job stored for later.

        :param at: the moment in milliseconds, if not at once
        :param counts: it may be given up if that happens for long
        """
        later = job.pending.part(job.place)
        later.deferrals += counts
        later.attempt = job.attempt
        self.replace(job, later, at)
        self.finish(job)

    def replace(
        self, job: ClaimedDelivery, later: PendingDelivery, at: int = 0
    ) -> None:
        """Have something stored in the place of a job, until a moment."""
        now = job.store.clock.now()
        # Rounded up: a receiver that asks for a pause gets at least that.
        delay = math.ceil(max(at - now, 0) / 1000)
        job.replacements.append(
            later.to_store(self._cipher, delay=delay, now=now)
        )
        job.left += later.size

    def give_up(
        self,
        job: ClaimedDelivery,
        subscription: Subscription,
        decision: DeadLetter,
    ) -> None:
        """Give up the rest of a job, without further attempts."""
        now = job.store.clock.now()
        for place in range(job.place, len(job.pending.messages) or 1):
            delivery = delivery_of(
                job.pending, place, job.attempt, subscription
            )
            outcome = Outcome(Verdict.REFUSED, decision.reason)
            last = Attempted(subscription, delivery, outcome)
            job.given_up.append(GivenUp(place, last, decision, now))
        self.finish(job)

    def finish(self, job: ClaimedDelivery) -> None:
        """Have a job deleted, once all that follows from it is written."""
        job.is_decided = True
        self._finished.append(job)
        self.changed.set()

    def leave(self, job: ClaimedDelivery) -> None:
        """Release a job to any notifier, as it is stored, or to be stored."""
        if job.is_stored:
            self._left.append(job)
            self.changed.set()
        else:
            self.defer(job)
            self.is_returning = True


def count_outcome(delivery: Delivery, outcome: str) -> None:
    """Count a delivery in the metrics, by scheme and outcome."""
    notifier_metrics.record('deliveries', 1, delivery.scheme, outcome)
