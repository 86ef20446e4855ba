# SPDX-License-Identifier: Apache-2.0
"""Which addresses receivers may have."""

from __future__ import annotations

import ipaddress

import pytest
from oslo_config import cfg

from zaqar.errors import ConfigurationError
from zaqar.notification import settings
from zaqar.webhook_client.receiver_address_guard import AddressRefused, Guard

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
    # Of the registries of special-purpose addresses.
    '192.0.0.1',
    '192.0.0.8',
    '192.0.0.9',
    '192.0.0.170',
    '192.0.0.255',
    '192.88.99.1',
    '192.88.99.2',
    '198.18.0.1',
    '198.19.255.255',
    '198.51.100.1',
    '203.0.113.1',
    'fec0::1',
    'feff::1',
    '100::1',
    '100:0:0:1::1',
    '64:ff9b:1::1',
    '2001::1',
    '2001:1::1',
    '2001:2::1',
    '2001:3::1',
    '2001:4:112::1',
    '2001:10::1',
    '2001:20::1',
    '2001:30::1',
    '2001:1ff:ffff::1',
    '2001:db8::1',
    '3fff::1',
    '3fff:fff::1',
    '5f00::1',
    # Given out to nobody yet.
    '4000::1',
    'e000::1',
    # Other spellings of private ones.
    '::127.0.0.1',
    '::ffff:0:127.0.0.1',
    '::ffff:192.0.0.8',
    '64:ff9b::c058:6301',
    '2002:c000:8::1',
    # Teredo: of a public server and a client of 10.0.0.1, or public too.
    '2001:0:5db8:d822::f5ff:fffe',
    '2001:0:5db8:d822::fefe:fefe',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    '2002:a00:1::1',
]


@pytest.mark.proves('public receivers')
@pytest.mark.parametrize('address', PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not Guard().admits(address)


@pytest.mark.parametrize(
    'address',
    [
        *('1.1.1.1', '93.184.216.34', '192.0.1.1', '192.31.196.1'),
        *('192.88.98.255', '192.88.100.0', '198.17.0.1', '198.20.0.1'),
        *('2606:4700::1111', '2001:200::1', '2001:4860:4860::8888'),
        *('2001:db9::1', '3ffe::1', '3fff:1000::1', '2002:101:101::1'),
        *('::ffff:1.1.1.1', '64:ff9b::101:101'),
    ],
)
def test_a_public_address_is_fine(address: str) -> None:
    assert Guard().admits(address)


def test_an_operator_may_allow_networks() -> None:
    guard = Guard([ipaddress.ip_network('10.0.0.0/8')])
    assert guard.admits('10.1.2.3')
    assert guard.admits('::ffff:10.1.2.3')
    assert not guard.admits('192.168.1.1')


@pytest.mark.proves('public receivers')
def test_all_that_an_address_stands_for_must_be_allowed() -> None:
    # Both halves of Teredo, and the address itself.
    teredo = '2001:0:a00:1::80ff:fffe'
    guard = Guard([ipaddress.ip_network('10.0.0.0/8')])
    assert not guard.admits(teredo)
    wide = [ipaddress.ip_network(t) for t in ('10.0.0.0/8', '2001::/32')]
    assert not Guard(wide).admits(teredo)
    assert Guard(wide).admits('2001:0:a00:1::f5ff:fffe')
    assert guard.admits('2002:a00:1::1')
    assert guard.admits('64:ff9b::a00:1')


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


@pytest.mark.parametrize(
    ('option', 'text'),
    [
        ('allowed_ports', 'x'),
        ('allowed_ports', '1-x'),
        ('allowed_ports', '1-2-3'),
        ('allowed_networks', '10.0.0.0/99'),
    ],
)
def test_what_cannot_be_read_stops_the_start(option: str, text: str) -> None:
    conf = cfg.ConfigOpts()
    conf([])
    conf.register_opts(settings.OPTS, settings.GROUP)
    conf.set_override(option, [text], settings.GROUP)
    with pytest.raises(ConfigurationError, match=f'notification. {option}: '):
        settings.NotificationSettings.from_conf(conf)
