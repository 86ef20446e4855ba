# SPDX-License-Identifier: Apache-2.0
"""Limits of connections: how many there are, and what they do in a second."""

import collections

from zaqar.transport.websocket.client_address_behind_proxies import is_proxy
from zaqar.transport.websocket.settings import Settings

#: Connections beyond a limit whose handshake is answered, with an error.
REFUSED = 100

#: Seconds over which events are counted.
WINDOW = 1.0


class Admission:
    """Counts connections, and the unauthenticated ones of each address."""

    def __init__(self, settings: Settings, proves: bool) -> None:
        self._settings = settings
        self._per_peer = proves and settings.max_unauthenticated_per_peer
        self._total = settings.max_connections
        self._unproved: collections.Counter[str] = collections.Counter()

    def add(self, peer: str) -> None:
        """Count an unauthenticated connection."""
        self._unproved[peer] += 1

    def remove(self, peer: str) -> None:
        """Stop counting it: it has authenticated, or is closed."""
        self._unproved[peer] -= 1
        if not self._unproved[peer]:
            del self._unproved[peer]

    def is_full(self, count: int) -> bool:
        return bool(self._total) and count > self._total

    def is_crowded(self, address: str) -> bool:
        """Tell whether an address has too many connections without proof."""
        most = self._per_peer
        return bool(most) and self._unproved[address] > most

    def is_overrun(self, peer: str, count: int) -> bool:
        """Tell whether so many are too many to answer the next handshake."""
        if self._total and count > self._total + REFUSED:
            return True
        if is_proxy(peer, self._settings.trusted_proxies):
            # Its clients are counted when it has said who they are.
            return False
        most = self._per_peer
        return bool(most) and self._unproved[peer] > most + REFUSED


class RateCounter:
    """Counts events within a second."""

    def __init__(self) -> None:
        self._began = 0.0
        self._count = 0

    def exceeds(self, most: int, now: float) -> bool:
        """Count an event; tell whether they exceed a limit (0 for none)."""
        if now - self._began >= WINDOW:
            self._began, self._count = now, 0
        self._count += 1
        return bool(most) and self._count > most
