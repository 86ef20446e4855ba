# SPDX-License-Identifier: Apache-2.0
"""The outbox of one store: fan-out, claims, and writing what is finished."""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from zaqar.controllers import outbox_notices
from zaqar.controllers.call_context import Context
from zaqar.errors import QueueGone, StoreUnavailable
from zaqar.models import Message
from zaqar.notification import (
    fanout,
    notifier_metrics,
    outbox_limit_per_project,
)
from zaqar.notification.claimed_delivery import ClaimedDelivery
from zaqar.notification.delivery_leases_and_completion import (
    LEASE,
    Lease,
    Leases,
)
from zaqar.notification.delivery_scheduler import Scheduler
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.storage.base import OUTBOX, PENDING, MessageStore

LOG = logging.getLogger(__name__)

#: Seconds between two polls for notices, and for pending deliveries that were
#: deferred or released.
POLL_NOTICES = 0.1
POLL_PENDING = 0.5

#: Seconds between two attempts while the store fails, and between two counts
#: of what waits.
PAUSE = 1.0
COUNT_INTERVAL = 30.0

#: Maximum number of deliveries per claim, and in this process at a time.
BATCH = 100
MAX_HELD = 4000


class OutboxReader:
    """A thread that reads the outbox of one store.

    :param name: name of the pool
    :param filtered: see :data:`zaqar.notification.fanout.Filtered`
    :param drop: gives up a delivery that there is no room for
    :param max_per_project: maximum number of deliveries
    """

    def __init__(
        self,
        name: str,
        open_store: Callable[[], MessageStore],
        ctx: Context,
        scheduler: Scheduler[ClaimedDelivery],
        filtered: fanout.Filtered,
        drop: Callable[[PendingDelivery, int], None],
        max_per_project: int,
    ) -> None:
        self.name = name
        self.leases = Leases()
        self._open = open_store
        self._ctx = ctx
        self._scheduler = scheduler
        self._filtered = filtered
        self._drop = drop
        self._max_per_project = max_per_project
        self._ended = threading.Event()
        self._stopping = False
        self._claim_at = 0.0
        self._fan_out_at = 0.0
        self._count_at = 0.0
        self._waiting = 0
        self._oldest = 0
        self._thread = threading.Thread(
            target=self._run, name=f'outbox {name}', daemon=True
        )

    def facts(self) -> Mapping[str, int]:
        """Return what waited in the store at the last count."""
        return {
            'waiting': self._waiting,
            'oldest (seconds)': self._oldest // 1000,
        }

    def start(self) -> None:
        self._thread.start()

    def hold(self) -> None:
        """Claim no more; continue writing what is finished."""
        self._stopping = True

    def stop(self) -> None:
        """Write what is finished, release the rest, and end the thread."""
        self.hold()
        self._ended.set()
        self.leases.changed.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            store = self._open()
            self.leases.flush(store)
            self.leases.release(store)
        except StoreUnavailable:
            LOG.warning(
                'Claims on deliveries cannot be released; the deliveries '
                'continue when the claims expire'
            )

    def _run(self) -> None:
        while not self._ended.is_set():
            pause = POLL_NOTICES
            try:
                if self._step(self._open()):
                    continue
            except StoreUnavailable:
                LOG.warning(
                    'The store of pool "%s" is not responding; retrying',
                    self.name,
                )
                pause = PAUSE
            except Exception:
                # The thread must go on.
                LOG.exception('Reading the outbox failed; retrying')
                pause = PAUSE
            if self.leases.changed.wait(pause) and pause == PAUSE:
                self._ended.wait(PAUSE)

    def _step(self, store: MessageStore) -> bool:
        """Do one round of work; return whether there may be more at once."""
        self.leases.changed.clear()
        self.leases.flush(store)
        self.leases.renew(store)
        if self._stopping:
            return False
        fanned_out = self._fan_out(store) > 0
        if time.monotonic() >= self._count_at:
            self._count(store)
            self._count_at = time.monotonic() + COUNT_INTERVAL
        return self._claim(store, fanned_out) or fanned_out

    def _fan_out(self, store: MessageStore) -> int:
        if time.monotonic() < self._fan_out_at:
            return 0
        count = fanout.fan_out(
            self._ctx, store, self._scheduler.expected_wait, self._filtered
        )
        if count < fanout.BATCH:
            self._fan_out_at = time.monotonic() + POLL_NOTICES
        return count

    def _claim(self, store: MessageStore, is_due: bool) -> bool:
        """Claim deliveries and schedule them; return whether more may wait."""
        if self._scheduler.held > MAX_HELD - BATCH:
            return False
        if not is_due and time.monotonic() < self._claim_at:
            return False
        now = store.clock.now()
        claim_id = secrets.token_hex(16)
        claim = store.claim(
            PENDING,
            now=now,
            claim_id=claim_id,
            ttl=LEASE,
            grace=LEASE,
            limit=BATCH,
        )
        if claim is not None:
            ids = {message.id for message in claim.messages}
            lease = Lease(claim_id, now, ids)
            self.leases.add(lease)
            for job in self._jobs(store, lease, claim.messages):
                self._scheduler.offer(job)
            if len(claim.messages) == BATCH:
                self._claim_at = 0.0
                return True
        self._claim_at = time.monotonic() + POLL_PENDING
        return False

    def _jobs(
        self, store: MessageStore, lease: Lease, messages: Sequence[Message]
    ) -> list[ClaimedDelivery]:
        cipher = self._ctx.cipher
        readable, unreadable = outbox_notices.read_all(
            messages, lambda message: PendingDelivery.read(cipher, message)
        )
        if unreadable:
            self._requeue(store, lease, unreadable)
        return [
            ClaimedDelivery(
                pending,
                message.id,
                lease,
                self.leases,
                store,
                attempt=pending.attempt,
                pool=self.name,
            )
            for message, pending in readable
        ]

    def _requeue(
        self, store: MessageStore, lease: Lease, unreadable: Sequence[Message]
    ) -> None:
        finish: Callable[[Lease, str], None] = self.leases.done
        try:
            fanout.requeue(store, PENDING, unreadable)
        except StoreUnavailable:
            finish = self.leases.leave
        for message in unreadable:
            finish(lease, message.id)

    def _count(self, store: MessageStore) -> None:
        waiting, oldest = 0, 0
        now = store.clock.now()
        for qid in (OUTBOX, PENDING):
            try:
                stats = store.stats(qid, now=now)
            except QueueGone:
                continue
            waiting += stats.total
            if stats.oldest is not None:
                oldest = max(oldest, now - stats.oldest.created_at)
        notifier_metrics.record('waiting', waiting, self.name)
        notifier_metrics.record('oldest', oldest / 1000, self.name)
        self._waiting, self._oldest = waiting, oldest
        if waiting > self._max_per_project:
            outbox_limit_per_project.trim(
                self._ctx.cipher,
                store,
                self._max_per_project,
                self._drop,
                lambda: self.leases.renew(store),
            )
