# SPDX-License-Identifier: Apache-2.0
"""The thread of one store: it reads the outbox, and writes what is decided."""

import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from zaqar.controllers.caller_and_services import Context
from zaqar.errors import QueueGone, StoreUnavailable
from zaqar.notification import (
    fanout,
    notifier_metrics,
    pending_delivery_counts_per_project,
    pending_delivery_limit_per_project,
)
from zaqar.notification.cached_subscription_lookup import SubscriptionLookup
from zaqar.notification.claims_on_deliveries_and_notices import (
    BATCH,
    PendingClaims,
)
from zaqar.notification.delivery_decision_writer import DecisionWriter
from zaqar.notification.delivery_event_loop import DeliveryLoop
from zaqar.notification.delivery_statistics_and_attempts_writer import (
    DeliveryRecorder,
)
from zaqar.notification.due_delivery_counts import DueDeliveries
from zaqar.notification.fanout import Fanout
from zaqar.notification.fanout_fairness_between_projects import (
    MAX_DUE,
    ProjectShares,
)
from zaqar.notification.host_fair_scheduler import MAX_HELD
from zaqar.notification.notice_subscribers_and_filters import NoticeDeliveries
from zaqar.notification.pending_byte_usage_writer import PendingByteCounter
from zaqar.notification.referenced_notices import ReferencedNotices
from zaqar.storage.abstract_stores import OUTBOX, PENDING, MessageStore
from zaqar.storage.store_watch_interface import Watch

LOG = logging.getLogger(__name__)

#: Seconds between two polls for notices, where the store reports them or not,
#: and for pending deliveries that were deferred or released.
POLL_NOTICES = 0.1
POLL_LISTENING = 1.0
POLL_PENDING = 0.5

#: Seconds between two looks for the notices of other projects while there is
#: no room for those that come first.
SEARCH = 0.02

#: Seconds between two attempts while the store fails, and between two counts
#: of what waits.
PAUSE = 1.0
COUNT_INTERVAL = 30.0

#: Seconds at the end for what takes several batches to be written.
LAST_WRITES = 3.0

#: Deliveries at a time whose decisions are written at once, and the seconds
#: for which those of more are gathered: writing one costs nearly as much as
#: writing several. What is not written is repeated if this process is killed.
FEW = 20
GATHER = 0.005

#: Seconds between two attempts to have notices reported.
LISTEN_INTERVAL = 30.0

#: Projects with the most pending deliveries that a report names.
SHOWN_PROJECTS = 20


class OutboxWorker:
    """A thread that reads the outbox of one store.

    :param name: name of the pool
    :param byte_counter: counts the bytes of its deliveries
    :param max_per_project: maximum number of deliveries
    """

    def __init__(
        self,
        name: str,
        open_store: Callable[[], MessageStore],
        ctx: Context,
        deliveries: DeliveryLoop,
        subscriptions: SubscriptionLookup,
        statistics: DeliveryRecorder,
        byte_counter: PendingByteCounter,
        max_per_project: int,
    ) -> None:
        self.name = name
        self._open = open_store
        self._ctx = ctx
        self._deliveries = deliveries
        self._scheduler = deliveries.scheduler
        self._subscriptions = subscriptions
        self._statistics = statistics
        self._byte_counter = byte_counter
        self._max_per_project = max_per_project
        count_bytes = functools.partial(byte_counter.add, name)
        self._notices = ReferencedNotices(ctx.cipher)
        self._due = DueDeliveries()
        self._shares = ProjectShares(due=self._due)
        self._writer = DecisionWriter(
            ctx, subscriptions, statistics, count_bytes, self._due
        )
        deliveries.add(name, self._writer)
        self._claims = PendingClaims(name, ctx.cipher, self._notices)
        self._fanout = Fanout(
            ctx,
            self._notices,
            self._shares,
            self._expected_wait,
            self._is_quick,
            count_bytes,
        )
        self._ended = threading.Event()
        self._stopping = False
        self._claim_at = 0.0
        self._expand_at = 0.0
        self._listen_at = 0.0
        self._poll = POLL_NOTICES
        #: Whether what others have stored was seen: it comes first.
        self._is_drained = False
        self._has_room = True
        self._watch: Watch | None = None
        self._count_at = 0.0
        self._waiting = 0
        self._oldest = 0
        self._thread = threading.Thread(
            target=self._run, name=f'outbox {name}', daemon=True
        )

    def facts(self) -> Mapping[str, Any]:
        """Return what waited in the store at the last count, and for whom."""
        store = self._open()
        counts = pending_delivery_counts_per_project.count(
            self._ctx.cipher, store
        )
        largest = sorted(counts.items(), key=lambda item: -item[1][0])
        now = store.clock.now()
        return {
            'waiting': self._waiting,
            'oldest (seconds)': self._oldest // 1000,
            'projects': {
                project: f'{count} pending, for {(now - oldest) // 1000} s'
                for project, (count, oldest) in largest[:SHOWN_PROJECTS]
            },
        }

    def start(self) -> None:
        self._thread.start()

    def hold(self) -> None:
        """Claim no more; continue writing what is decided."""
        self._stopping = True

    def end(self) -> None:
        """End the thread."""
        self.hold()
        self._ended.set()
        self._writer.changed.set()
        if self._thread.is_alive():
            self._thread.join()

    def stop(self) -> None:
        """End the thread, write what is decided, and release the rest."""
        self.end()
        if self._watch is not None:
            self._watch.close()
        try:
            store = self._open()
            end = time.monotonic() + LAST_WRITES
            is_more = True
            while is_more and time.monotonic() < end:
                is_more = self._writer.flush(store, self._notices)
            self._claims.end_all(store)
            self._shares.give_back(store, everything=True)
        except StoreUnavailable:
            LOG.warning(
                'Claims on deliveries cannot be released; the deliveries '
                'continue when the claims expire'
            )

    def _run(self) -> None:
        while not self._ended.is_set():
            pause = min(self._poll, POLL_PENDING)
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
            if self._writer.changed.wait(pause):
                if pause < PAUSE:
                    is_busy = self._scheduler.held > FEW
                    pause = GATHER if is_busy else 0.0
                self._ended.wait(pause)

    def _step(self, store: MessageStore) -> bool:
        """Do one round of work; return whether there may be more at once."""
        self._writer.changed.clear()
        self._keep_up(store)
        self._claims.end_finished(store)
        self._listen(store)
        if self._stopping:
            return False
        if self._due.projects or not self._is_drained:
            # It is older than what is still to be made of notices.
            self._claim(store)
        self._shares.note_unstored(self._claims.unstored())
        expansion = self._expand(store)
        if expansion is not None:
            # It may have taken a while: what is not written is repeated if
            # this process is killed.
            self._keep_up(store)
        if time.monotonic() >= self._count_at:
            self._count(store)
            self._count_at = time.monotonic() + COUNT_INTERVAL
        is_more = self._claim(store)
        if expansion is not None:
            # Last, so that deliveries do not wait for it.
            expansion.finish()
            is_more = True
        if self._shares.give_back(store):
            self._expand_at = 0.0
            is_more = True
        return is_more

    def _keep_up(self, store: MessageStore) -> None:
        """Do what cannot wait for long."""
        self._writer.flush(store, self._notices)
        self._claims.renew(store)

    def _expand(self, store: MessageStore) -> NoticeDeliveries | None:
        """Fan out notices, and schedule the deliveries that are not stored."""
        if time.monotonic() < self._expand_at:
            return None
        # Before the claim: what is reported after it is looked for again.
        self._expand_at = time.monotonic() + self._poll
        weight = max(self._claims.weight, self._scheduler.weight)
        self._has_room = weight <= MAX_HELD - MAX_DUE
        expansion = self._fanout.expand(store, lambda: self._keep_up(store))
        if expansion is None:
            return None
        if expansion.count == fanout.BATCH:
            pause = 0.0 if expansion.fresh else SEARCH
            self._expand_at = time.monotonic() + pause
        for key, count in expansion.excluded.items():
            self._statistics.filtered(key, count)
        for subscription in expansion.notified:
            # It is needed again soon.
            self._subscriptions.remember(subscription)
        if expansion.unstored:
            self._deliveries.offer(self._claims.take_notices(store, expansion))
        return expansion

    def _expected_wait(self, host: str, project: str) -> float | None:
        due = self._due.of_host(host)
        return self._scheduler.expected_wait(host, project, due)

    def _is_quick(self, host: str) -> bool:
        """Tell whether deliveries to a host need not be stored.

        Not behind others that are stored, or about to be: these come first.
        """
        return (
            self._is_drained
            and not self._writer.is_returning
            and not self._due.of_host(host)
            and self._has_room
            and self._scheduler.is_quick(host)
        )

    def _listen(self, store: MessageStore) -> None:
        """Have new notices reported, if the store can and does not yet."""
        if self._watch is not None or time.monotonic() < self._listen_at:
            return
        self._listen_at = time.monotonic() + LISTEN_INTERVAL
        watch = store.watch(self._hear)
        if watch is None:
            self._listen_at = math.inf
        elif not watch.hears_own:
            # It polls, too.
            watch.close()
            self._listen_at = math.inf
        else:
            watch.add(OUTBOX)
            self._watch, self._poll = watch, POLL_LISTENING

    def _hear(self, qid: str | None, count: int) -> None:
        """Look for notices at once; called by other threads."""
        self._expand_at = 0.0
        self._writer.changed.set()

    def _claim(self, store: MessageStore) -> bool:
        """Claim deliveries and schedule them; return whether more may wait."""
        if max(self._claims.weight, self._scheduler.weight) > MAX_HELD - BATCH:
            return False
        if not self._due.projects and time.monotonic() < self._claim_at:
            return False
        jobs, is_full = self._claims.take(store)
        if jobs:
            self._deliveries.offer(jobs)
        self._is_drained |= not is_full
        self._due.claim(jobs, is_all=not is_full)
        self._claim_at = 0.0 if is_full else time.monotonic() + POLL_PENDING
        return is_full

    def _count(self, store: MessageStore) -> None:
        waiting, oldest, pending = 0, 0, 0
        now = store.clock.now()
        for qid in (OUTBOX, PENDING):
            try:
                stats = store.stats(qid, now=now)
            except QueueGone:
                continue
            if qid == PENDING:
                pending = stats.total
            # Notices that wait for their deliveries are delayed.
            waiting += stats.total - (stats.delayed if qid == OUTBOX else 0)
            if stats.oldest is not None:
                oldest = max(oldest, now - stats.oldest.created_at)
        notifier_metrics.record('waiting', waiting, self.name)
        notifier_metrics.record('oldest', oldest / 1000, self.name)
        self._waiting, self._oldest = waiting, oldest
        if not pending:
            self._byte_counter.note_empty(self.name)
        if waiting > self._max_per_project:
            pending_delivery_limit_per_project.trim(
                self._ctx.cipher,
                store,
                self._max_per_project,
                self._writer.drop,
                lambda: self._claims.renew(store),
                self._notices,
            )
