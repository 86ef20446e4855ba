# SPDX-License-Identifier: Apache-2.0
"""Addresses that receivers of webhooks may have.

The notifier resolves names itself, checks every address, and connects to one
that it has checked: changing a name in between has no effect.

:source: reference/delivery, "Webhook requests"
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from urllib.parse import SplitResult

from zaqar.options_as_dataclass_fields import Network

#: Schemes of webhooks, with their default ports.
PORTS = {'http': 80, 'https': 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Resolves a name and a port to socket addresses; as in the module socket.
Resolver = Callable[[str, int], Sequence[tuple[str, int]]]

#: What is not global, by the registries of special-purpose addresses at IANA
#: (iana.org/assignments/iana-ipv4-special-registry and its sibling for IPv6)
#: as of 2025, and multicast. Not the standard library's: which of them it
#: knows depends on the release of Python. Anycast services that the registry
#: calls global (192.0.0.9, 2001:1::1 and the like) are no receivers either.
_SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        '0.0.0.0/8',
        '10.0.0.0/8',
        '100.64.0.0/10',
        '127.0.0.0/8',
        '169.254.0.0/16',
        '172.16.0.0/12',
        '192.0.0.0/24',
        '192.0.2.0/24',
        '192.88.99.0/24',
        '192.168.0.0/16',
        '198.18.0.0/15',
        '198.51.100.0/24',
        '203.0.113.0/24',
        '224.0.0.0/4',
        '240.0.0.0/4',
    )
)

#: All that is global unicast, and what in it is not. Teredo is in 2001::/23.
_GLOBAL_V6 = ipaddress.IPv6Network('2000::/3')
_SPECIAL_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in ('2001::/23', '2001:db8::/32', '3fff::/20')
)

#: Prefix behind which an IPv4 address is reached: NAT64.
_NAT64 = ipaddress.IPv6Network('64:ff9b::/96')


class AddressRefused(Exception):
    """A receiver has an address or a port that is not allowed."""


def port_of(parts: SplitResult) -> int:
    """Return the port of a URL, 0 if it is not one."""
    try:
        return parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return 0


def resolve(host: str, port: int) -> list[tuple[str, int]]:
    """Return the addresses of a name, each with the port.

    :raises OSError: it has none
    """
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(place[0]), int(place[1])) for *_, place in answers]


class Guard:
    """Checks addresses and ports of receivers.

    :param networks: allowed networks that are not public
    :param ports: first and last port of the allowed ranges
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
        """Return addresses to connect to, in the order to try.

        :param exempt: returns whether it is a service of the cloud; called
            only where that matters
        :raises AddressRefused: none is allowed
        :raises OSError: the name has no address
        """
        self.check_port(port)
        addresses = self._resolver(host, port)
        allowed = [place for place in addresses if self.admits(place[0])]
        if len(allowed) < len(addresses) and exempt():
            allowed = list(addresses)
        if not allowed:
            raise AddressRefused('the address is not a public one')
        return allowed

    def check_port(self, port: int) -> None:
        """Raise AddressRefused for a port that no receiver may have."""
        if not any(first <= port <= last for first, last in self._ports):
            raise AddressRefused(f'port {port} is not allowed')

    def admits(self, text: str) -> bool:
        """Return whether an address may be connected to."""
        return all(
            _is_global(form) or any(form in net for net in self._networks)
            for form in _forms(text)
        )


def is_public(text: str) -> bool:
    """Return whether an address, in all its forms, is global."""
    return all(_is_global(form) for form in _forms(text))


def _is_global(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in net for net in _SPECIAL_V4)
    return address in _GLOBAL_V6 and not any(
        address in net for net in _SPECIAL_V6
    )


def _forms(text: str) -> list[Address]:
    """Return an address and those that are reached by it."""
    # A link-local one may name its interface.
    address = ipaddress.ip_address(text.partition('%')[0])
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    # These two only stand for others; the rest are addresses, too.
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    inner = (address.sixtofour, *(address.teredo or ()))
    return [address, *(form for form in inner if form is not None)]
