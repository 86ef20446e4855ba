# SPDX-License-Identifier: Apache-2.0
"""The notifier: readers of all outboxes, and an event loop for attempts.

It also does the work of redrives.

Many may run, in this process and others. What one has claimed the others leave
alone, until its claims lapse.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.redrive_worker import RedriveWorker
from zaqar.controllers.subscription_validation import SOCKET
from zaqar.errors import StoreUnavailable
from zaqar.keystone.service_catalog import PublicEndpoints
from zaqar.notification import (
    copies_for_resend,
    notifier_metrics,
    sender_plugins,
)
from zaqar.notification.cached_subscription_lookup import SubscriptionLookup
from zaqar.notification.delivery_attempt import Attempts
from zaqar.notification.delivery_event_loop import DeliveryLoop
from zaqar.notification.delivery_statistics_and_attempts_writer import (
    DeliveryRecorder,
)
from zaqar.notification.outbox_worker import OutboxWorker
from zaqar.notification.pending_byte_usage_writer import PendingByteCounter
from zaqar.notification.sender_interface import Sender
from zaqar.notification.settings import NotificationSettings
from zaqar.notification.websocket_multicast_delivery import (
    WebSocketDeliveries,
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
        self._statistics = DeliveryRecorder(
            ctx.catalogue.management,
            lambda pool, ids: copies_for_resend.discard(
                ctx.catalogue.outboxes(), pool, ids
            ),
            settings.max_attempts_recorded,
            settings.attempts_lifetime,
        )
        self._subscriptions = SubscriptionLookup(ctx)
        attempts = Attempts(
            ctx,
            self._senders,
            self._subscriptions,
            self._statistics,
            encrypted_over_http=settings.encrypted_over_http,
            endpoints=endpoints,
        )
        self._deliveries = DeliveryLoop(
            attempts,
            self._subscriptions,
            WebSocketDeliveries(
                ctx,
                self._senders.get(SOCKET),
                self._statistics,
                attempts.read,
            ),
            settings.max_notifier_workers,
            settings.max_in_flight_per_host,
            throttle=ctx.throttle,
        )
        self._scheduler = self._deliveries.scheduler
        self._redrives = RedriveWorker(ctx)
        self._byte_counter = PendingByteCounter(ctx)
        self._readers: dict[str, OutboxWorker] = {}
        self._stopped = threading.Event()
        self._maintainer = threading.Thread(
            target=self._maintain, name='notifier', daemon=True
        )

    def facts(self) -> Mapping[str, Any]:
        return {
            'held deliveries': self._scheduler.held,
            'attempts in progress': self._scheduler.in_flight,
            'attempts at a time': self._settings.max_notifier_workers,
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
        self._deliveries.start()
        self._open_readers()
        self._maintainer.start()
        self._redrives.start()

    def stop(self) -> None:
        """Finish attempts in progress, release the rest, and end."""
        self._redrives.stop()
        readers = list(self._readers.values())
        for reader in readers:
            reader.hold()
        self._deliveries.finish(self._settings.request_timeout + 1)
        self._stopped.set()
        if self._maintainer.is_alive():
            self._maintainer.join()
        for reader in readers:
            # Until then it may offer what it was about to claim or to make.
            reader.end()
        self._deliveries.stop()
        for reader in readers:
            reader.stop()
        self._statistics.flush()
        self._byte_counter.flush(at_once=True)

    def _maintain(self) -> None:
        """Do periodic work."""
        flush_at = pools_at = time.monotonic()
        while not self._stopped.is_set():
            next_at = min(flush_at, pools_at)
            self._stopped.wait(max(0.0, next_at - time.monotonic()))
            try:
                now = time.monotonic()
                if now >= flush_at:
                    notifier_metrics.record('held', self._scheduler.held)
                    notifier_metrics.record(
                        'open_circuits', self._scheduler.open_circuits()
                    )
                    self._statistics.flush()
                    self._byte_counter.flush()
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
                reader = OutboxWorker(
                    name,
                    opener,
                    self._ctx,
                    self._deliveries,
                    self._subscriptions,
                    self._statistics,
                    self._byte_counter,
                    self._settings.max_outbox_per_project,
                )
                self._readers[name] = reader
                reader.start()
        for name in set(self._readers) - set(openers):
            self._readers.pop(name).stop()


def flush_pause(spent: float) -> float:
    """Return the seconds from a flush, which took some, to the next one."""
    return min(max(FLUSH_INTERVAL, spent / FLUSH_SHARE), MAX_FLUSH_INTERVAL)
