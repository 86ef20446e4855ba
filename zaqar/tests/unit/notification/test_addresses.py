# SPDX-License-Identifier: Apache-2.0
"""Which addresses receivers may have."""

from __future__ import annotations

import ipaddress

import pytest

from zaqar.errors import ConfigurationError
from zaqar.notification import settings
from zaqar.notification.addresses import AddressRefused, Guard

PRIVATE = [
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '239.1.1.1',
    '240.0.0.1',
    '255.255.255.255',
    '192.0.2.1',
    '::',
    '::1',
    'fe80::1',
    'fe80::1%eth0',
    'fc00::1',
    'fd12::1',
    'ff02::1',
    # Other spellings of private ones.
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    '2002:a00:1::1',
]


@pytest.mark.parametrize('address', PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not Guard().admits(address)


@pytest.mark.parametrize(
    'address',
    ['1.1.1.1', '93.184.216.34', '2606:4700::1111', '::ffff:1.1.1.1'],
)
def test_a_public_address_is_fine(address: str) -> None:
    assert Guard().admits(address)


def test_an_operator_may_allow_networks() -> None:
    guard = Guard([ipaddress.ip_network('10.0.0.0/8')])
    assert guard.admits('10.1.2.3')
    assert guard.admits('::ffff:10.1.2.3')
    assert not guard.admits('192.168.1.1')


def test_of_several_addresses_the_public_ones_are_used() -> None:
    guard = Guard(
        resolver=lambda _host, port: [('10.0.0.1', port), ('1.1.1.1', port)]
    )
    assert guard.addresses('mixed.example', 80) == [('1.1.1.1', 80)]


def test_a_name_with_private_addresses_only_leads_nowhere() -> None:
    guard = Guard(resolver=lambda _host, port: [('10.0.0.1', port)])
    with pytest.raises(AddressRefused):
        guard.addresses('inner.example', 80)
    assert guard.addresses('inner.example', 80, exempt=lambda: True)


def test_only_allowed_ports_are_used() -> None:
    guard = Guard(ports=settings.ports(['80', '1024-65535']))
    for port in (80, 1024, 65535):
        guard.check_port(port)
    for port in (22, 443, 1023):
        with pytest.raises(AddressRefused):
            guard.check_port(port)


@pytest.mark.parametrize('text', ['x', '1-x', '1-2-3'])
def test_what_is_no_port_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match='allowed_ports'):
        settings.ports([text])


def test_what_is_no_network_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match='allowed_networks'):
        settings.networks(['10.0.0.0/99'])
