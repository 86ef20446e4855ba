# SPDX-License-Identifier: Apache-2.0
"""Hosts of services in the catalog: for webhooks, and for tokens of trusts.

Webhooks may reach some though they are not public (:func:`exempt`); the token
of a trust is sent to no others (:func:`served`).
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from zaqar.webhook_client.receiver_address_guard import port_of

#: The type of Keystone itself.
_IDENTITY = 'identity'

HostPort = tuple[str, int]


def served(entries: Iterable[Mapping[str, Any]]) -> frozenset[HostPort]:
    """Return hosts and ports of all services but Keystone."""
    return frozenset(
        place for kind, place in _places(entries) if kind != _IDENTITY
    )


def exempt(entries: Iterable[Mapping[str, Any]]) -> frozenset[HostPort]:
    """Return hosts and ports that serve anything but Keystone.

    A port that Keystone shares with others is left out, since a path does not
    say for sure where a request ends up.
    """
    places = list(_places(entries))
    identity = {place for kind, place in places if kind == _IDENTITY}
    return frozenset(place for _, place in places) - identity


def _places(
    entries: Iterable[Mapping[str, Any]],
) -> Iterable[tuple[str, HostPort]]:
    """Yield types of services, each with the host and port of an endpoint."""
    for entry in entries or ():
        for endpoint in entry.get('endpoints') or ():
            parts = urlsplit(str(endpoint.get('url', '')))
            if parts.hostname:
                place = parts.hostname.lower(), port_of(parts)
                yield str(entry.get('type')), place
