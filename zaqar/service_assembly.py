# SPDX-License-Identifier: Apache-2.0
"""The service, put together from its parts."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from zaqar import (
    config_file_check,
    config_loading,
    guru_report_triggers,
    identity,
    metrics,
    optional_services_from_conf,
    startup_log,
)
from zaqar.api import operation_table, optional_features
from zaqar.api.dispatch import Dispatcher
from zaqar.api.operation import Operation
from zaqar.api.policy_enforcement import Authorizer
from zaqar.controllers import (
    health,
    pending_byte_usage,
    quota_checks_by_counting,
    redrive_records,
    stored_byte_usage,
    subscription_records,
)
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.approximate_quota_checks import ApproximateUsage
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.configured_quotas import RESOURCES, QuotaSettings
from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.quota_checks_by_counting import Quotas
from zaqar.controllers.quota_limit_sources import RecordedLimits
from zaqar.controllers.url_signatures import Signer
from zaqar.errors import ConfigurationError
from zaqar.expired_data_sweeper import Pace, Sweeper
from zaqar.notification import settings as notification
from zaqar.osprofiler_tracing import Profiling
from zaqar.pools import pool_selection, registered_and_virtual_pools
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.pools.queue_moves_between_pools import MovingCatalogue
from zaqar.state_path import state_path
from zaqar.storage import store_call_interceptor, store_opener
from zaqar.storage.configured_drivers_and_options import Plane
from zaqar.storage.store_opener import Store
from zaqar.transport import caller_identity
from zaqar.transport.sqs import settings as sqs
from zaqar.transport.wsgi import confirm_page, middleware_stack
from zaqar.transport.wsgi.waiting_requests_in_threads import WaitingInThreads
from zaqar.transport.wsgi_types import App
from zaqar.waiting import announcing_store
from zaqar.waiting.waited_queues_and_listeners import WaitedQueues

# Loaded by those who need them: a worker has no use for their libraries.
if TYPE_CHECKING:
    from zaqar.guru_report_writer import Facts
    from zaqar.notification.notifier_service import Notifier
    from zaqar.transport.websocket.server import Server as WebSocketServer


class Service:
    """All that serves requests in one process.

    It opens connections and starts threads, hence is created after the process
    has forked.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf
        config_file_check.check(conf)
        limits = Limits.from_conf(conf)
        authorizer = _authorizer(conf)
        signer = Signer.from_conf(conf)
        cipher = Cipher.from_conf(conf)
        limits = dataclasses.replace(limits, can_encrypt=cipher.has_key)
        if caller_identity.strategy(conf):
            from zaqar.transport import (
                keystonemiddleware_option_checks_and_log_filter,
            )

            keystonemiddleware_option_checks_and_log_filter.prepare(conf)
        pace = Pace.from_conf(conf)
        served = optional_features.from_conf(conf)
        self._profiling = Profiling.from_conf(conf)
        self._notification = notification.NotificationSettings.from_conf(conf)
        pipeline = optional_services_from_conf.pipeline(
            conf, self._notification, signer
        )
        trusts = optional_services_from_conf.trusts(conf)
        throttle = optional_services_from_conf.throttle(conf)
        quota_settings = QuotaSettings.from_conf(conf)
        source = optional_services_from_conf.unified_limits(
            conf, quota_settings
        )
        self.metrics = metrics.Metrics.from_conf(conf, state_path(conf))
        self.waited = WaitedQueues()
        # Last, so that a fault elsewhere does not leave a new database.
        self.catalogue = _catalogue(
            conf, served, self._profiling, self.metrics, self.waited
        )
        self.waited.use(self.catalogue)
        management = self.catalogue.management
        if source is None and quota_settings.project_quotas:
            source = RecordedLimits(management)
        rejected = self.metrics.rejection_observer(RESOURCES)
        self._quotas = Quotas(quota_settings, source, rejected=rejected)
        self._usage: ApproximateUsage | None = None
        if quota_settings.are_on:
            self.catalogue.room = quota_checks_by_counting.queue_room(
                self._quotas, management
            )
            resources = [
                stored_byte_usage.resource(self.catalogue),
                pending_byte_usage.resource(self.catalogue),
            ]
            self._usage = ApproximateUsage(self._quotas, resources)
        self.internal = Context(
            identity.service_identity(''),
            self.catalogue,
            limits,
            0,
            signer,
            cipher,
            served,
            pipeline,
            trusts,
            quotas=self._quotas,
            usage=self._usage,
            throttle=throttle,
        )
        self.dispatcher = Dispatcher(
            authorizer,
            self.internal,
            self.metrics.request_observer,
            self.waited.waiters,
            self.metrics.top_projects,
        )
        self._embedded: Notifier | None = None
        self._sweeper = Sweeper(
            self.catalogue,
            pace,
            functools.partial(subscription_records.sweep, self.internal),
            functools.partial(
                redrive_records.sweep, self.catalogue.management
            ),
        )

    def application(self) -> App:
        waiting = WaitingInThreads.from_conf(self.conf)
        app = middleware_stack.build(
            self.conf, self.dispatcher, self._profiling.application, waiting
        )
        if sqs.is_enabled(self.conf):
            from zaqar.transport.sqs import application

            app = application.with_sqs(
                app, self.conf, self.dispatcher, waiting
            )
        return app

    @property
    def waits_in_greenlets(self) -> bool:
        """Whether an event loop can answer requests in greenlets."""
        stores = (self.catalogue.management, self.catalogue.messages)
        return not self._profiling.enabled and all(
            store.waits_in_greenlets for store in stores
        )

    @property
    def longest_body(self) -> int:
        """Bytes of the longest body that a request may have."""
        longest = max(confirm_page.MOST, self._longest(lambda _: True))
        if sqs.is_enabled(self.conf):
            from zaqar.transport.sqs import application

            limits = self.dispatcher.limits
            longest = max(longest, application.longest_body(limits))
        return longest

    def _longest(self, offers: Callable[[Operation], bool]) -> int:
        return max(
            row.body.max_size(self.dispatcher.limits)
            for row in operation_table.OPERATIONS
            if row.body and offers(row)
        )

    def websocket(self) -> WebSocketServer:
        from zaqar.transport.websocket.server import Server as WebSocketServer

        return WebSocketServer(
            self.conf,
            self.dispatcher,
            self.catalogue.management,
            middleware_stack.build(
                self.conf,
                self.dispatcher,
                self._profiling.application,
                WaitingInThreads.from_conf(self.conf),
                _can_wait,
            ),
            self._longest(_can_wait),
            functools.partial(self.metrics.record, 'connections'),
            self._profiling.frame if self._profiling.enabled else None,
            waits_in_greenlets=self.waits_in_greenlets,
        )

    @property
    def notifies(self) -> bool:
        return self.internal.pipeline.notifies

    def notifier(self) -> Notifier:
        """Return the notifier, which is still to be started."""
        from zaqar.keystone.service_catalog import ServiceCatalog
        from zaqar.notification.notifier_service import Notifier

        settings = dataclasses.replace(
            self._notification, management=self.catalogue.management
        )
        return Notifier(self.internal, settings, ServiceCatalog(self.conf))

    def embed_notifier(self) -> None:
        """Start a notifier in this process, if the settings say so."""
        if self.notifies and self._notification.embedded:
            self._embedded = self.notifier()
            self._embedded.start()

    def start(self) -> None:
        self._sweeper.start()
        waiters = self.waited.waiters
        self.metrics.sample('waiting_requests', waiters.__len__)

    def report_when_asked(self, **sections: Facts) -> None:
        """Let operators request reports of this process.

        :param sections: sections of a report besides the usual, by title
        """
        if self.metrics.top_projects is not None:
            sections['Projects'] = self.metrics.top_projects.facts
        guru_report_triggers.install(
            self.conf, {'Pools': self._pools, **sections}
        )

    def _pools(self) -> Mapping[str, Any]:
        """Return the state of each store of messages, by its pool's name."""
        return {
            name or 'configured store': {'answers': health.answers(open_store)}
            for name, open_store in self.catalogue.openers().items()
        }

    def close(self) -> None:
        """Stop background work and close all connections."""
        if self._embedded is not None:
            self._embedded.stop()
        self._sweeper.stop()
        self.metrics.close()
        self._quotas.close()
        if self._usage is not None:
            self._usage.close()
        self.waited.close()
        self.catalogue.close()


def _can_wait(row: Operation) -> bool:
    return row.waiting is not None


def application() -> App:
    """Return the application for a WSGI server of the operator's choice.

    Reads the files named by ``OS_ZAQAR_CONFIG_FILES`` (separated by ``;``)
    and ``OS_ZAQAR_CONFIG_DIR``, else those of the usual places. A fault in
    them is printed in one line and ends the process.
    """
    try:
        conf = config_loading.load(
            config_loading.WSGI_PROG,
            (),
            files=config_loading.from_environment(config_loading.FILES),
            folders=config_loading.from_environment(config_loading.FOLDER),
        )
        service = Service(conf)
        app = service.application()
    except ConfigurationError as error:
        print(f'{config_loading.WSGI_PROG}: {error}', file=sys.stderr)
        raise SystemExit(1) from None
    service.start()
    service.embed_notifier()
    startup_log.announce(conf, config_loading.WSGI_PROG)
    return app


def _authorizer(conf: cfg.ConfigOpts) -> Authorizer:
    with config_loading.faults_explained('[oslo_policy] policy_file: '):
        return Authorizer(conf)


def _catalogue(
    conf: cfg.ConfigOpts,
    served: Set[optional_features.Feature],
    profiling: Profiling,
    measuring: metrics.Metrics,
    waited: WaitedQueues,
) -> Catalogue:
    def wrap(store: Store, plane: Plane, driver: str, pool: str) -> Store:
        if pool and not store.waits_in_greenlets:
            # Beside others, greenlets may call it.
            store = store_call_interceptor.offloaded(store)
        traced = profiling.store(store, plane, driver)
        measured = measuring.store(traced, plane, driver, pool)
        if plane == 'message_store':
            return announcing_store.announcing(measured, waited)
        return measured

    conf.register_opts(pool_selection.OPTS, pool_selection.GROUP)
    stores = store_opener.open_stores(conf, wrap)
    if 'pooling' not in served:
        return Catalogue(stores.management, stores.messages)
    pools = registered_and_virtual_pools.Pools(
        stores.management,
        store_opener.PoolOpener(conf, wrap),
        stores.messages,
        use_virtual=conf[pool_selection.GROUP].enable_virtual_pool,
    )
    return MovingCatalogue(stores.management, stores.messages, pools)
