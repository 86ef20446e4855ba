# SPDX-License-Identifier: Apache-2.0
"""Which addresses a receiver may have.

Names are looked up by us, every address is judged, and the connection is made
to an address that was judged: a name that changes its mind in between leads
nowhere.

:source: notifications.md 5
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

from zaqar.notification.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Resolves a name and a port to socket addresses; as in the module socket.
Resolver = Callable[[str, int], Sequence[tuple[str, int]]]

#: Prefixes behind which an IPv4 address is reached: NAT64.
_NAT64 = ipaddress.ip_network('64:ff9b::/96')


class AddressRefused(Exception):
    """A receiver is where none may be."""


def resolve(host: str, port: int) -> list[tuple[str, int]]:
    """Return the addresses of a name, each with the port.

    :raises OSError: it has none
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(one[4][0]), int(one[4][1])) for one in found]


class Guard:
    """Judges addresses.

    :param networks: those that are allowed though they are not public
    :param ports: first and last of the ranges that are allowed
    """

    def __init__(
        self,
        networks: Sequence[Network] = (),
        ports: Sequence[tuple[int, int]] = ((1, 65535),),
        resolver: Resolver = resolve,
    ) -> None:
        self._networks = networks
        self._ports = ports
        self._resolver = resolver

    def addresses(
        self,
        host: str,
        port: int,
        *,
        exempt: Callable[[], bool] = lambda: False,
    ) -> list[tuple[str, int]]:
        """Return where to connect to, in the order to try.

        :param exempt: tells whether it is one of the cloud's own; asked only
            where that matters
        :raises AddressRefused: to nowhere
        :raises OSError: the name has no address
        """
        self.check_port(port)
        found = self._resolver(host, port)
        fine = [one for one in found if self.admits(one[0])]
        if len(fine) < len(found) and exempt():
            fine = list(found)
        if not fine:
            raise AddressRefused('the address is not a public one')
        return fine

    def check_port(self, port: int) -> None:
        """Complain about a port that no receiver may have.

        :raises AddressRefused: it is one
        """
        if not any(first <= port <= last for first, last in self._ports):
            raise AddressRefused(f'port {port} is not allowed')

    def admits(self, text: str) -> bool:
        """Tell whether an address may be connected to."""
        # A link-local one may name its interface.
        address = ipaddress.ip_address(text.partition('%')[0])
        forms = _forms(address)
        if any(form in net for net in self._networks for form in forms):
            return True
        return all(_is_public(form) for form in forms)


def _is_public(address: Address) -> bool:
    return address.is_global and not (
        address.is_multicast or address.is_reserved
    )


def _forms(address: Address) -> list[Address]:
    """Return an address and those that it may be another spelling of."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address.teredo is not None:
        inner += address.teredo
    found = [form for form in inner if form is not None]
    # A mapped address is nothing else; the others are addresses, too.
    if address.ipv4_mapped is not None or address in _NAT64:
        return found
    return [address, *found]
