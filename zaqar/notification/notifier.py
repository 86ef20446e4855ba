# SPDX-License-Identifier: Apache-2.0
"""The notifier: every store's outbox, and the threads that send.

Many may run, in this process and others: what one has claimed the others
leave alone, and what it held when it died is theirs when its claims lapse.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from zaqar.controllers.context import Context
from zaqar.errors import StoreUnavailable
from zaqar.notification import metrics, sender_plugins
from zaqar.notification.executor import DeliveryExecutor
from zaqar.notification.job import Job
from zaqar.notification.outbox import OutboxReader
from zaqar.notification.scheduler import Attempt, Scheduler
from zaqar.notification.sender import Sender
from zaqar.notification.service_catalog import PublicEndpoints
from zaqar.notification.settings import Settings
from zaqar.notification.statistics import DeliveryStatistics
from zaqar.storage.base import MessageStore

LOG = logging.getLogger(__name__)

#: Seconds between two writings of counts, two looks at what pools there are,
#: and after an error that nobody has foreseen.
STATISTICS = 1.0
POOLS = 5.0
PAUSE = 1.0

#: Part of the time that may go into writing counts, since there is one record
#: for each subscription, and the most seconds until they are written.
PART = 0.1
LATEST = 10.0


class Notifier:
    """Delivers what is due.

    :param ctx: catalogue, cipher, signer and pipeline; whoever asks in it is
        of no account
    :param endpoints: returns the public URLs of the service
    """

    def __init__(
        self,
        ctx: Context,
        settings: Settings,
        endpoints: Callable[[], PublicEndpoints] = PublicEndpoints,
        senders: Mapping[str, Sender] | None = None,
    ) -> None:
        self._ctx = ctx
        self._settings = settings
        self._senders = (
            sender_plugins.senders(settings) if senders is None else senders
        )
        self._statistics = DeliveryStatistics(ctx.catalogue.management)
        self._executor = DeliveryExecutor(
            ctx,
            self._senders,
            self._statistics,
            encrypted_over_http=settings.encrypted_over_http,
            endpoints=endpoints,
        )
        self._scheduler: Scheduler[Job] = Scheduler(
            settings.max_notifier_workers,
            settings.max_in_flight_per_host,
            self._executor.defer,
        )
        self._readers: dict[str, OutboxReader] = {}
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()
        self._clerk = threading.Thread(
            target=self._tend, name='notifier', daemon=True
        )

    def facts(self) -> Mapping[str, Any]:
        """Return what there is to tell of this notifier."""
        return {
            'held deliveries': self._scheduler.held,
            'hosts with an open circuit': self._scheduler.open_circuits(),
            'stores': {
                name or 'configured store': reader.facts()
                for name, reader in list(self._readers.items())
            },
        }

    def start(self) -> None:
        """Begin."""
        LOG.info(
            'Delivering notifications to %s', ', '.join(sorted(self._senders))
        )
        metrics.counters().begin(self._senders)
        for _ in range(self._settings.max_notifier_workers):
            self._hire()
        self._open_readers()
        self._clerk.start()

    def stop(self) -> None:
        """Finish what is under way, give the rest back, and end."""
        readers = list(self._readers.values())
        for reader in readers:
            reader.hold()
        for job in self._scheduler.close():
            job.release()
        end = time.monotonic() + self._settings.request_timeout + 1
        while self._scheduler.in_flight and time.monotonic() < end:
            time.sleep(0.02)
        self._ended.set()
        self._scheduler.stop_waiting()
        if self._clerk.is_alive():
            self._clerk.join()
        for reader in readers:
            reader.stop()
        self._statistics.flush()
        for sender in {
            id(one): one for one in self._senders.values()
        }.values():
            sender.close()

    def _tend(self) -> None:
        """Do what is to be done now and then."""
        tally_at = pools_at = time.monotonic()
        while not self._ended.is_set():
            self._scheduler.wait_until_slow(
                min(tally_at, pools_at) - time.monotonic()
            )
            try:
                self._scheduler.mark_slow()
                self._hire_enough()
                now = time.monotonic()
                if now >= tally_at:
                    metrics.counters().held.set(self._scheduler.held)
                    metrics.counters().open_circuits.set(
                        self._scheduler.open_circuits()
                    )
                    self._statistics.flush()
                    tally_at = now + _rest(time.monotonic() - now)
                if now >= pools_at:
                    pools_at = now + POOLS
                    self._open_readers()
            except StoreUnavailable:
                LOG.warning('The store of records does not answer')
            except Exception:
                # The edge of a thread: it must live on.
                LOG.exception('The notifier has met an error')
                self._ended.wait(PAUSE)

    def _open_readers(self) -> None:
        """Work on the stores of all pools, new ones too."""
        try:
            openers = self._ctx.catalogue.outboxes()
        except StoreUnavailable:
            return
        for name, opener in openers.items():
            if name not in self._readers:
                self._open_reader(name, opener)
        for name in set(self._readers) - set(openers):
            self._readers.pop(name).stop()

    def _open_reader(
        self, name: str, opener: Callable[[], MessageStore]
    ) -> None:
        reader = OutboxReader(
            name,
            opener,
            self._ctx,
            self._scheduler,
            self._executor.drop,
            self._settings.max_outbox_per_project,
        )
        self._readers[name] = reader
        reader.start()

    def _hire_enough(self) -> None:
        """Have threads for as many attempts as may begin."""
        wanted = self._settings.max_notifier_workers + self._scheduler.slow
        while len(self._threads) < wanted:
            self._hire()

    def _hire(self) -> None:
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
                # The edge of a thread: it must live on.
                LOG.exception('A delivery has met an error')

    def _attempt(self, attempt: Attempt[Job]) -> None:
        more, success = False, None
        try:
            # Another notifier has the jobs of a lost lease.
            if not attempt.job.lease.is_lost:
                more, success = self._executor.execute(attempt.job)
        finally:
            self._scheduler.end(attempt, success, more=more)


def _rest(spent: float) -> float:
    """Return the seconds from one writing of counts to the next.

    :param spent: seconds that it took
    """
    return min(max(STATISTICS, spent / PART), LATEST)
