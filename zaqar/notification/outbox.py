# SPDX-License-Identifier: Apache-2.0
"""The outbox of one store: expanded, claimed, and written when done."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from zaqar.controllers.context import Context
from zaqar.controllers.notices import Unreadable
from zaqar.errors import QueueGone, StoreUnavailable
from zaqar.models import Message
from zaqar.notification import fanout, metrics, outbox_limits
from zaqar.notification.job import Job
from zaqar.notification.leases import LEASE, Lease, Leases
from zaqar.notification.pending import PendingDelivery
from zaqar.notification.scheduler import Scheduler
from zaqar.storage.base import OUTBOX, PENDING, MessageStore

LOG = logging.getLogger(__name__)

#: Seconds between two looks for new notices, and for dues put back by others
#: or by us for later.
LOOK = 0.1
LOOK_LATER = 0.5

#: Seconds after a store did not answer.
PAUSE = 1.0

#: Seconds between two counts of what waits.
COUNT = 30.0

#: Dues of one claim, and of this process at a time.
BATCH = 100
HELD = 4000


class OutboxReader:
    """A thread that works on one store.

    :param name: of the pool
    :param open_store: returns its store
    """

    def __init__(
        self,
        name: str,
        open_store: Callable[[], MessageStore],
        ctx: Context,
        scheduler: Scheduler[Job],
        drop: Callable[[PendingDelivery, int], None],
        most_per_project: int,
    ) -> None:
        self.name = name
        self.leases = Leases()
        self._open = open_store
        self._ctx = ctx
        self._scheduler = scheduler
        self._drop = drop
        self._most = most_per_project
        self._ended = threading.Event()
        self._stopping = False
        self._look_at = 0.0
        self._expand_at = 0.0
        self._count_at = 0.0
        self._waiting = 0
        self._oldest = 0
        self._thread = threading.Thread(
            target=self._run, name=f'outbox {name}', daemon=True
        )

    def facts(self) -> Mapping[str, int]:
        """Return what waited in the store when that was last counted."""
        return {
            'waiting': self._waiting,
            'oldest (seconds)': self._oldest // 1000,
        }

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def hold(self) -> None:
        """Claim no more; go on writing what is done."""
        self._stopping = True

    def stop(self) -> None:
        """Write what is done, give the rest back, and end."""
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
            LOG.warning('Deliveries go on when their claims have lapsed')

    def _run(self) -> None:
        while not self._ended.is_set():
            pause = LOOK
            try:
                if self._step(self._open()):
                    continue
            except StoreUnavailable:
                LOG.warning('Store "%s" does not answer', self.name)
                pause = PAUSE
            except Exception:
                # The edge of a thread: it must live on.
                LOG.exception('Working on the outbox failed')
                pause = PAUSE
            if self.leases.changed.wait(pause) and pause == PAUSE:
                self._ended.wait(PAUSE)

    def _step(self, store: MessageStore) -> bool:
        """Do what there is to do; return whether there may be more."""
        self.leases.changed.clear()
        self.leases.flush(store)
        self.leases.renew(store)
        if self._stopping:
            return False
        expanded = self._expand(store)
        if time.monotonic() >= self._count_at:
            self._count(store)
            self._count_at = time.monotonic() + COUNT
        return bool(self._feed(store, bool(expanded)) or expanded)

    def _expand(self, store: MessageStore) -> int:
        if time.monotonic() < self._expand_at:
            return 0
        found = fanout.fan_out(self._ctx, store, self._scheduler.expected_wait)
        if found < fanout.BATCH:
            self._expand_at = time.monotonic() + LOOK
        return found

    def _feed(self, store: MessageStore, is_sure: bool) -> bool:
        """Claim dues and line them up; return whether it was worth it."""
        if self._scheduler.held > HELD - BATCH:
            return False
        if not is_sure and time.monotonic() < self._look_at:
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
        if claim is None:
            self._look_at = time.monotonic() + LOOK_LATER
            return False
        lease = Lease(claim_id, now, {one.id for one in claim.messages})
        self.leases.add(lease)
        for job in self._jobs(store, lease, claim.messages):
            self._scheduler.offer(job)
        # If it was not full, what comes next has yet to be put there.
        if len(claim.messages) < BATCH:
            self._look_at = time.monotonic() + LOOK_LATER
            return False
        self._look_at = 0.0
        return True

    def _jobs(
        self, store: MessageStore, lease: Lease, found: Sequence[Message]
    ) -> list[Job]:
        made = []
        unreadable = []
        for message in found:
            try:
                pending = PendingDelivery.read(self._ctx.cipher, message)
            except Unreadable:
                unreadable.append(message)
            else:
                made.append(
                    Job(
                        pending,
                        message.id,
                        lease,
                        self.leases,
                        store,
                        attempt=pending.attempt,
                    )
                )
        self._put_back(store, lease, unreadable)
        return made

    def _put_back(
        self, store: MessageStore, lease: Lease, unreadable: Sequence[Message]
    ) -> None:
        if not unreadable:
            return
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
                age = now - stats.oldest.created_at
                oldest = max(oldest, age)
        metrics.counters().waiting.labels(self.name).set(waiting)
        metrics.counters().oldest.labels(self.name).set(oldest / 1000)
        self._waiting, self._oldest = waiting, oldest
        if waiting > self._most:
            outbox_limits.trim(
                self._ctx.cipher,
                store,
                self._most,
                self._drop,
                lambda: self.leases.renew(store),
            )
