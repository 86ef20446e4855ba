# SPDX-License-Identifier: Apache-2.0
"""Who connects, behind proxies."""

from __future__ import annotations

import pytest

from zaqar.options_as_dataclass_fields import networks
from zaqar.transport.websocket.client_address_behind_proxies import (
    client_address,
)

PROXIES = networks(['10.0.0.0/8', '192.0.2.7', 'fd00::/8'])

BY_PROXY = [
    ('203.0.113.5', '203.0.113.5'),
    ('198.51.100.1, 203.0.113.5', '203.0.113.5'),
    ('198.51.100.1, 203.0.113.5, 10.1.1.1', '203.0.113.5'),
    ('10.9.9.9, 203.0.113.5 ,10.1.1.1, fd00::1', '203.0.113.5'),
    ('10.2.2.2', '10.2.2.2'),
    ('203.0.113.5:4711', '203.0.113.5'),
    ('2001:db8::5', '2001:db8::5'),
    ('[2001:db8::5]:4711', '2001:db8::5'),
    ('::ffff:203.0.113.5', '203.0.113.5'),
    # What cannot be read was not written by a proxy of ours.
    ('203.0.113.5, rubbish', '10.0.0.1'),
    ('203.0.113.5, rubbish, 10.1.1.1', '10.1.1.1'),
    ('', '10.0.0.1'),
    (' , ,', '10.0.0.1'),
]


@pytest.mark.parametrize(('header', 'client'), BY_PROXY)
def test_the_client_is_named_from_right_to_left(
    header: str, client: str
) -> None:
    headers = {'x-forwarded-for': header}
    assert client_address('10.0.0.1', headers, PROXIES) == client


FORWARDED = [
    ('for=203.0.113.5', '203.0.113.5'),
    ('For="203.0.113.5:4711";proto=https;by=10.0.0.1', '203.0.113.5'),
    ('for="[2001:db8::5]:4711"', '2001:db8::5'),
    ('for="[2001:db8::5]"', '2001:db8::5'),
    ('for=198.51.100.1, for=203.0.113.5, for=10.1.1.1', '203.0.113.5'),
    ('for=203.0.113.5, for=unknown, for=10.1.1.1', '10.1.1.1'),
    ('for=203.0.113.5, for=_hidden', '10.0.0.1'),
    ('for=203.0.113.5, proto=https', '10.0.0.1'),
    # A quote that the client left open hides nothing of what follows.
    ('for="198.51.100.1, for=203.0.113.5', '203.0.113.5'),
]


@pytest.mark.parametrize(('header', 'client'), FORWARDED)
def test_forwarded_is_read_as_well(header: str, client: str) -> None:
    headers = {'forwarded': header}
    assert client_address('10.0.0.1', headers, PROXIES) == client


def test_headers_that_differ_name_nobody() -> None:
    headers = {
        'x-forwarded-for': '203.0.113.5',
        'forwarded': 'for=198.51.100.1',
    }
    assert client_address('10.0.0.1', headers, PROXIES) == '10.0.0.1'
    headers['forwarded'] = 'for=203.0.113.5'
    assert client_address('10.0.0.1', headers, PROXIES) == '203.0.113.5'


@pytest.mark.parametrize('peer', ['203.0.113.9', '11.0.0.1', ''])
def test_nobody_else_is_believed(peer: str) -> None:
    headers = {'x-forwarded-for': '198.51.100.1'}
    assert client_address(peer, headers, PROXIES) == peer
    assert client_address('10.0.0.1', headers, ()) == '10.0.0.1'
