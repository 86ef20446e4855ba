# SPDX-License-Identifier: Apache-2.0
"""Limits of connections, in total and per address."""

import collections

from zaqar.transport.websocket.client_address_behind_proxies import is_proxy
from zaqar.transport.websocket.settings import Settings

#: Connections beyond a limit whose handshake is answered, with an error.
REFUSED = 100


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
