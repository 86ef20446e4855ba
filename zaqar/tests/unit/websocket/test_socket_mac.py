# SPDX-License-Identifier: Apache-2.0
"""What notifiers and WebSocket servers know each other by."""

from __future__ import annotations

import pytest
from oslo_config import cfg

from zaqar.notification import socket_mac
from zaqar.notification.socket_mac import SKEW, SocketMac

MAC = SocketMac.from_secret('a secret that is long enough')
NOW = 1_800_000_000


def _verified(
    mac: SocketMac = MAC,
    connection: str = 'c',
    moment: str = str(NOW),
    body: bytes = b'{}',
    now: float = NOW,
) -> bool:
    signature = MAC.sign('c', str(NOW), b'{}')
    return mac.verify(connection, moment, body, signature, now=now)


def test_what_is_signed_verifies() -> None:
    assert _verified()


def test_nothing_else_does() -> None:
    assert not _verified(connection='d')
    assert not _verified(moment=str(NOW + 1))
    assert not _verified(body=b'{} ')
    assert not _verified(SocketMac.from_secret('another secret altogether'))
    assert not MAC.verify('c', str(NOW), b'{}', '', now=NOW)
    assert not MAC.verify('c', str(NOW), b'{}', 'é', now=NOW)


def test_parts_cannot_be_shifted() -> None:
    assert MAC.sign('ab', '1', b'') != MAC.sign('a', 'b1', b'')
    assert MAC.sign('a', '12', b'3') != MAC.sign('a', '1', b'23')


@pytest.mark.parametrize(
    ('off', 'fits'),
    [(-SKEW - 1, False), (-SKEW, True), (SKEW, True), (SKEW + 1, False)],
)
def test_a_signature_counts_for_a_while(off: int, fits: bool) -> None:
    assert _verified(now=NOW + off) is fits


@pytest.mark.parametrize('moment', ['', '-1', '1.5', '٣', '9' * 20, ' 1'])
def test_a_moment_is_a_number(moment: str) -> None:
    signature = MAC.sign('c', moment, b'')
    assert not MAC.verify('c', moment, b'', signature, now=NOW)


def test_the_key_is_not_the_secret() -> None:
    plain = SocketMac(b'a secret that is long enough')
    assert plain.sign('c', '1', b'') != MAC.sign('c', '1', b'')


def test_an_option_of_its_own_comes_first() -> None:
    conf = cfg.ConfigOpts()
    conf([], project='zaqar', default_config_files=[])
    assert socket_mac.from_conf(conf) is None
    conf.set_override('secret_key', 'k' * 16, 'signed_url')
    assert socket_mac.from_conf(conf) == 'k' * 16
    conf.set_override('socket_secret', 's' * 16, 'notification')
    assert socket_mac.from_conf(conf) == 's' * 16
