# SPDX-License-Identifier: Apache-2.0
"""Endpoints of services, by the service catalogue of Keystone.

:source: reference/delivery, "Webhook requests", "Trusts", "Confirmation"
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from zaqar import config_loading
from zaqar.keystone import service_session
from zaqar.keystone.service_hosts_for_webhooks_and_trust_tokens import (
    HostPort,
    exempt,
)

LOG = logging.getLogger(__name__)

#: Seconds for which the catalogue is cached, and after which the request is
#: repeated if it failed.
CACHE_SECONDS = 300.0
RETRY_SECONDS = 30.0

#: Types and names of our two services in a catalogue.
_HTTP = 'messaging', 'zaqar'
_WEBSOCKET = 'messaging-websocket', 'zaqar-websocket'


@dataclass(frozen=True, slots=True)
class PublicEndpoints:
    """The public URLs of the service; None where unknown."""

    http: str | None = None
    websocket: str | None = None


class ServiceCatalog:
    """A cached service catalogue."""

    def __init__(
        self, conf: cfg.ConfigOpts, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._conf = conf
        self._timer = timer
        self._lock = threading.Lock()
        self._until = -1.0
        self._public = PublicEndpoints()
        self._exempt: frozenset[HostPort] = frozenset()

    def __call__(self) -> PublicEndpoints:
        """Return the public endpoints of this service."""
        # One reads it anew; others wait only where nothing is known yet.
        if self._timer() >= self._until and self._lock.acquire(
            blocking=self._until < 0
        ):
            try:
                if self._timer() >= self._until:
                    self._refresh()
            finally:
                self._lock.release()
        return self._public

    def is_exempt(self, host: str, port: int) -> bool:
        """Return whether a service may be reached there, public or not."""
        self()
        return (host.lower(), port) in self._exempt

    def _refresh(self) -> None:
        try:
            entries = self._catalogue()
        except Exception as error:
            # Plugins may raise anything. Only links are missing then.
            LOG.error('The service catalogue cannot be read: %s', error)
            self._until = self._timer() + RETRY_SECONDS
            return
        self._exempt = exempt(entries)
        self._public = PublicEndpoints(
            _endpoint(entries, *_HTTP), _endpoint(entries, *_WEBSOCKET)
        )
        self._until = self._timer() + CACHE_SECONDS

    def _catalogue(self) -> list[Mapping[str, Any]]:
        conf = self._conf
        if not config_loading.may_have(conf, service_session.GROUP):
            return []
        session = service_session.open_session(conf)
        if session.auth is None:
            return []
        access = session.auth.get_access(session)
        return list(access.service_catalog.catalog)


def _endpoint(
    entries: Iterable[Mapping[str, Any]], type_: str, name: str
) -> str | None:
    """Return the public URL of a service, by type, else by name."""
    for key, value in (('type', type_), ('name', name)):
        for entry in entries:
            if entry.get(key) != value:
                continue
            for endpoint in entry.get('endpoints') or ():
                if endpoint.get('interface') == 'public':
                    return str(endpoint['url'])
    return None
