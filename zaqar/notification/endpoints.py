# SPDX-License-Identifier: Apache-2.0
"""Where services are, by Keystone's service catalogue.

:source: reference/delivery, "Webhook requests", "Trusts", "Confirmation"
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from keystoneauth1 import loading
from oslo_config import cfg

from zaqar.notification import confirm
from zaqar.notification.desk import Public

LOG = logging.getLogger(__name__)

SERVICE = 'keystone_authtoken'

#: Seconds that Keystone has for an answer.
TIMEOUT = 10

#: Seconds for which the catalogue is believed, and after which it is asked
#: for again if it could not be had.
CATALOGUE = 300.0
AGAIN = 30.0

_PORTS = {'http': 80, 'https': 443}

#: The type of Keystone itself.
_IDENTITY = 'identity'

#: A host and a port.
Place = tuple[str, int]


class Endpoints:
    """Where the public finds the service, by the service catalogue."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conf = conf
        self._timer = timer
        self._lock = threading.Lock()
        self._until = -1.0
        self._found = Public()
        self._exempt: frozenset[Place] = frozenset()

    def __call__(self) -> Public:
        """Return what is known, or was a moment ago."""
        with self._lock:
            if self._timer() >= self._until:
                self._refresh()
            return self._found

    def is_exempt(self, host: str, port: int) -> bool:
        """Tell whether a service of the cloud is there, public or not."""
        self()
        return (host.lower(), port) in self._exempt

    def _refresh(self) -> None:
        try:
            entries = list(self._catalogue())
        except Exception as error:
            # Whatever a plugin may raise: links are missing, no more.
            LOG.error('The service catalogue cannot be read: %s', error)
            self._until = self._timer() + AGAIN
            return
        self._exempt = exempt(entries)
        self._found = Public(
            _endpoint(entries, confirm.TYPES, confirm.NAMES),
            _endpoint(entries, confirm.SOCKET_TYPES, confirm.SOCKET_NAMES),
        )
        self._until = self._timer() + CATALOGUE

    def _catalogue(self) -> Iterable[Mapping[str, Any]]:
        conf = self._conf
        loading.register_auth_conf_options(conf, SERVICE)
        for option in loading.get_session_conf_options():
            # keystonemiddleware has some of them too, with other texts.
            with contextlib.suppress(cfg.DuplicateOptError):
                conf.register_opt(option, SERVICE)
        auth: Any = loading.load_auth_from_conf_options(conf, SERVICE)
        if auth is None:
            return ()
        session: Any = loading.load_session_from_conf_options(
            conf, SERVICE, timeout=TIMEOUT
        )
        found: Iterable[Mapping[str, Any]] = auth.get_access(
            session
        ).service_catalog.catalog
        return found


def _endpoint(
    entries: Iterable[Mapping[str, Any]],
    types: Sequence[str],
    names: Sequence[str],
) -> str | None:
    """Return the public URL of a service, by type, else by name."""
    for key, wanted in (('type', types), ('name', names)):
        for entry in entries:
            if entry.get(key) not in wanted:
                continue
            for endpoint in entry.get('endpoints') or ():
                if endpoint.get('interface') == 'public':
                    return str(endpoint['url'])
    return None


def served(entries: Iterable[Mapping[str, Any]]) -> frozenset[Place]:
    """Return where services are, other than that of identities."""
    return frozenset(
        place for kind, place in _places(entries) if kind != _IDENTITY
    )


def exempt(entries: Iterable[Mapping[str, Any]]) -> frozenset[Place]:
    """Return where services are, and nothing else that hands out tokens.

    A port that the service of identities shares is left out: paths say too
    little of where a request ends up.
    """
    places = list(_places(entries))
    identity = {place for kind, place in places if kind == _IDENTITY}
    return frozenset(place for _, place in places) - identity


def _places(
    entries: Iterable[Mapping[str, Any]],
) -> Iterable[tuple[str, Place]]:
    """Yield types of services, each with a host and port of it."""
    for entry in entries or ():
        for endpoint in entry.get('endpoints') or ():
            parts = urlsplit(str(endpoint.get('url', '')))
            if parts.hostname:
                place = parts.hostname.lower(), _port(parts)
                yield str(entry.get('type')), place


def _port(parts: SplitResult) -> int:
    """Return a port, 0 for one that is none: whoever wrote the catalogue."""
    try:
        return parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return 0
