# SPDX-License-Identifier: Apache-2.0
"""The address of a client behind proxies, by headers that they add."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

from zaqar.options_as_dataclass_fields import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_proxy(peer: str, trusted: Sequence[Network]) -> bool:
    """Tell whether the other end of a connection is a proxy of ours."""
    address = _address(peer)
    return address is not None and _is_in(address, trusted)


def client_address(
    peer: str, headers: Mapping[str, str], trusted: Sequence[Network]
) -> str:
    """Return the address of the client, behind whatever we trust.

    Each proxy adds on the right whom it was connected from. Read from there,
    the first address that is no proxy of ours is the client's; what stands
    left of it, anybody can have written.

    :param peer: the other end of the connection
    :param headers: by their names in small letters
    :param trusted: networks of proxies that add that
    """
    nearest = _address(peer)
    if nearest is None or not _is_in(nearest, trusted):
        return peer
    chains = (
        _forwarded(headers.get('forwarded', '')),
        _elements(headers.get('x-forwarded-for', '')),
    )
    clients = {
        _client(nearest, chain, trusted)
        for chain in map(list, chains)
        if chain
    }
    # Of two that differ, one may have come from the client.
    return str(clients.pop()) if len(clients) == 1 else peer


def _client(
    nearest: Address, chain: Sequence[str], trusted: Sequence[Network]
) -> Address:
    for text in reversed(chain):
        address = _address(text)
        if address is None:
            break
        nearest = address
        if not _is_in(address, trusted):
            break
    return nearest


def _elements(header: str) -> Iterator[str]:
    return (part.strip() for part in header.split(',') if part.strip())


def _forwarded(header: str) -> Iterator[str]:
    """Return who is named by the elements of a Forwarded header."""
    for element in _elements(header):
        pairs = (pair.strip().partition('=') for pair in element.split(';'))
        named = (value for name, _, value in pairs if name.lower() == 'for')
        yield next(named, '').strip('"')


def _address(text: str) -> Address | None:
    """Read an address, which may have a port."""
    if text.startswith('['):
        text = text[1:].partition(']')[0]
    elif text.count(':') == 1:
        text = text.partition(':')[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, 'ipv4_mapped', None)
    return mapped or address


def _is_in(address: Address, nets: Sequence[Network]) -> bool:
    return any(address in net for net in nets)
