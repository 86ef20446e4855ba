# SPDX-License-Identifier: Apache-2.0
"""The notifier: readers of all outboxes, and a pool of worker threads.

It also does the work of redrives.

Many may run, in this process and others. What one has claimed the others leave
alone, until its claims lapse.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from zaqar.controllers.call_context import Context
from zaqar.errors import StoreUnavailable
from zaqar.notification import (
    attempt_records,
    notifier_metrics,
    sender_plugins,
)
from zaqar.notification.claimed_delivery import ClaimedDelivery
from zaqar.notification.delivery_executor import DeliveryExecutor
from zaqar.notification.delivery_scheduler import Attempt, Scheduler
from zaqar.notification.outbox_reader import OutboxReader
from zaqar.notification.redrive_worker import RedriveWorker
from zaqar.notification.sender_interface import Sender
from zaqar.notification.service_catalog import PublicEndpoints
from zaqar.notification.settings import NotificationSettings
from zaqar.notification.subscription_delivery_statistics import (
    DeliveryStatistics,
)

LOG = logging.getLogger(__name__)

#: Seconds between two flushes of statistics, between two looks for new pools,
#: and after an unexpected error.
FLUSH_INTERVAL = 1.0
POOLS_INTERVAL = 5.0
PAUSE = 1.0

#: Share of the time that flushes may take, since there is one record for each
#: subscription, and the maximum seconds between two of them.
FLUSH_SHARE = 0.1
MAX_FLUSH_INTERVAL = 10.0


class Notifier:
    """Delivers notifications from the outboxes of all stores.

    :param ctx: its identity is not used
    """

    def __init__(
        self,
        ctx: Context,
        settings: NotificationSettings,
        endpoints: Callable[[], PublicEndpoints] = PublicEndpoints,
        senders: Mapping[str, Sender] | None = None,
    ) -> None:
        self._ctx = ctx
        self._settings = settings
        self._senders = (
            sender_plugins.senders(settings) if senders is None else senders
        )
        self._statistics = DeliveryStatistics(
            ctx.catalogue.management,
            lambda pool, ids: attempt_records.discard(
                ctx.catalogue.outboxes(), pool, ids
            ),
            settings.max_attempts_recorded,
            settings.attempts_lifetime,
        )
        self._executor = DeliveryExecutor(
            ctx,
            self._senders,
            self._statistics,
            encrypted_over_http=settings.encrypted_over_http,
            endpoints=endpoints,
        )
        self._scheduler: Scheduler[ClaimedDelivery] = Scheduler(
            settings.max_notifier_workers,
            settings.max_in_flight_per_host,
            self._executor.defer,
        )
        self._redrives = RedriveWorker(ctx)
        self._readers: dict[str, OutboxReader] = {}
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        self._maintainer = threading.Thread(
            target=self._maintain, name='notifier', daemon=True
        )

    def facts(self) -> Mapping[str, Any]:
        return {
            'held deliveries': self._scheduler.held,
            'redrives': self._redrives.running,
            'hosts with an open circuit': self._scheduler.open_circuits(),
            'stores': {
                name or 'configured store': reader.facts()
                for name, reader in list(self._readers.items())
            },
        }

    def start(self) -> None:
        LOG.info(
            'Delivering notifications to %s', ', '.join(sorted(self._senders))
        )
        notifier_metrics.begin(self._senders)
        for _ in range(self._settings.max_notifier_workers):
            self._add_worker()
        self._open_readers()
        self._maintainer.start()
        self._redrives.start()

    def stop(self) -> None:
        """Finish attempts in progress, release the rest, and end."""
        self._redrives.stop()
        readers = list(self._readers.values())
        for reader in readers:
            reader.hold()
        for job in self._scheduler.close():
            job.release()
        end = time.monotonic() + self._settings.request_timeout + 1
        while self._scheduler.in_flight and time.monotonic() < end:
            time.sleep(0.02)
        self._stopped.set()
        self._scheduler.stop_waiting()
        if self._maintainer.is_alive():
            self._maintainer.join()
        for reader in readers:
            reader.stop()
        self._statistics.flush()
        # One sender may serve many schemes.
        senders = {id(sender): sender for sender in self._senders.values()}
        for sender in senders.values():
            sender.close()

    def _maintain(self) -> None:
        """Do periodic work."""
        flush_at = pools_at = time.monotonic()
        while not self._stopped.is_set():
            self._scheduler.wait_until_slow(
                min(flush_at, pools_at) - time.monotonic()
            )
            try:
                self._scheduler.mark_slow()
                self._add_workers()
                now = time.monotonic()
                if now >= flush_at:
                    notifier_metrics.record('held', self._scheduler.held)
                    notifier_metrics.record(
                        'open_circuits', self._scheduler.open_circuits()
                    )
                    self._statistics.flush()
                    flush_at = now + flush_pause(time.monotonic() - now)
                if now >= pools_at:
                    pools_at = now + POOLS_INTERVAL
                    self._open_readers()
            except StoreUnavailable:
                LOG.warning('The management store is not responding; retrying')
            except Exception:
                # The thread must go on.
                LOG.exception('Unexpected error in the notifier; continuing')
                self._stopped.wait(PAUSE)

    def _open_readers(self) -> None:
        """Start a reader for each new pool; stop those of removed ones."""
        try:
            openers = self._ctx.catalogue.outboxes()
        except StoreUnavailable:
            return
        for name, opener in openers.items():
            if name not in self._readers:
                reader = OutboxReader(
                    name,
                    opener,
                    self._ctx,
                    self._scheduler,
                    self._statistics.filtered,
                    self._executor.drop,
                    self._settings.max_outbox_per_project,
                )
                self._readers[name] = reader
                reader.start()
        for name in set(self._readers) - set(openers):
            self._readers.pop(name).stop()

    def _add_workers(self) -> None:
        """Start threads for as many attempts as may begin."""
        wanted = self._settings.max_notifier_workers + self._scheduler.slow
        while len(self._threads) < wanted:
            self._add_worker()

    def _add_worker(self) -> None:
        thread = threading.Thread(
            target=self._work,
            name=f'sender {len(self._threads) + 1}',
            daemon=True,
        )
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while True:
            attempt = self._scheduler.take()
            if attempt is None:
                return
            try:
                self._attempt(attempt)
            except Exception:
                # The thread must go on.
                LOG.exception('Unexpected error in a delivery; it is retried')

    def _attempt(self, attempt: Attempt[ClaimedDelivery]) -> None:
        more, success = False, None
        try:
            # Another notifier has the jobs of a lost lease.
            if not attempt.job.lease.is_lost:
                more, success = self._executor.execute(attempt.job)
        finally:
            self._scheduler.end(attempt, success, more=more)


def flush_pause(spent: float) -> float:
    """Return the seconds from a flush, which took some, to the next one."""
    return min(max(FLUSH_INTERVAL, spent / FLUSH_SHARE), MAX_FLUSH_INTERVAL)
