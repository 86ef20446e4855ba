# SPDX-License-Identifier: Apache-2.0
"""What notifiers and WebSocket servers know each other by."""

from __future__ import annotations

import pytest
from oslo_config import cfg

from zaqar.notification import notifier_request_signatures
from zaqar.notification.notifier_request_signatures import (
    SENDERS,
    SKEW,
    WINDOW,
    NonceSource,
    ReplayGuard,
    RequestAuthenticator,
)

SECRET = 'a secret that is long enough'
MAC = RequestAuthenticator.from_secret(SECRET)
NOW = 1_800_000_000
NONCE = f'{"0" * 16}.1'


def _verified(
    secret: str = SECRET,
    connection: str = 'c',
    moment: str = str(NOW),
    nonce: str = NONCE,
    body: bytes = b'{}',
    now: float = NOW,
) -> bool:
    signature = MAC.sign('c', str(NOW), NONCE, b'{}')
    mac = RequestAuthenticator.from_secret(secret)
    return mac.verify(connection, moment, nonce, body, signature, now=now)


def test_what_is_signed_verifies() -> None:
    assert _verified()


def test_nothing_else_does() -> None:
    assert not _verified(connection='d')
    assert not _verified(moment=str(NOW + 1))
    assert not _verified(body=b'{} ')
    assert not _verified(nonce=f'{"0" * 16}.2')
    assert not _verified('another secret altogether')
    assert not MAC.verify('c', str(NOW), NONCE, b'{}', '', now=NOW)
    assert not MAC.verify('c', str(NOW), NONCE, b'{}', 'é', now=NOW)


def test_parts_cannot_be_shifted() -> None:
    assert MAC.sign('ab', '1', '', b'') != MAC.sign('a', 'b1', '', b'')
    assert MAC.sign('a', '12', '', b'3') != MAC.sign('a', '1', '', b'23')
    assert MAC.sign('a', '1', '2', b'3') != MAC.sign('a', '1', '', b'23')


def test_what_was_signed_counts_once() -> None:
    mac = RequestAuthenticator.from_secret(SECRET)

    def verified(nonce: str, signature: str) -> bool:
        return mac.verify('c', str(NOW), nonce, b'{}', signature, now=NOW)

    nonces = NonceSource()
    for nonce in (nonces.fresh(), nonces.fresh()):
        # What somebody makes up uses nothing up.
        assert not verified(nonce, '0' * 64)
        signature = MAC.sign('c', str(NOW), nonce, b'{}')
        assert verified(nonce, signature)
        assert not verified(nonce, signature)


def test_requests_may_overtake_each_other() -> None:
    replays = ReplayGuard()
    numbers = [5, 3, 4, 0, 5 + WINDOW, 6, WINDOW, 10 * WINDOW, 9 * WINDOW + 1]
    for number in numbers:
        assert replays.take(f'{"a" * 16}.{number}'), number
    late = [5, 9 * WINDOW, 0]
    for number in [*numbers, *late]:
        assert not replays.take(f'{"a" * 16}.{number}'), number
    # The numbers of one sender are no business of another's.
    assert replays.take(f'{"b" * 16}.5')


def test_no_more_is_remembered_than_has_room() -> None:
    replays = ReplayGuard()
    nonces = [f'{sender:016x}.{10**17}' for sender in range(2 * SENDERS)]
    assert all(map(replays.take, nonces))
    # The last ones are remembered, and no others.
    assert not any(map(replays.take, nonces[SENDERS:]))
    assert replays.take(nonces[SENDERS - 1])


@pytest.mark.parametrize(
    'nonce', ['', '1', 'a.1', f'{"0" * 16}.', f'{"0" * 16}.-1', '0' * 99]
)
def test_what_is_no_nonce_counts_for_nothing(nonce: str) -> None:
    signature = MAC.sign('c', str(NOW), nonce, b'')
    assert not MAC.verify('c', str(NOW), nonce, b'', signature, now=NOW)


@pytest.mark.parametrize(
    ('off', 'fits'),
    [(-SKEW - 1, False), (-SKEW, True), (SKEW, True), (SKEW + 1, False)],
)
def test_a_signature_counts_for_a_while(off: int, fits: bool) -> None:
    assert _verified(now=NOW + off) is fits


@pytest.mark.parametrize('moment', ['', '-1', '1.5', '٣', '9' * 20, ' 1'])
def test_a_moment_is_a_number(moment: str) -> None:
    signature = MAC.sign('c', moment, NONCE, b'')
    assert not MAC.verify('c', moment, NONCE, b'', signature, now=NOW)


def test_the_key_is_not_the_secret() -> None:
    plain = RequestAuthenticator(b'a secret that is long enough')
    assert plain.sign('c', '1', '', b'') != MAC.sign('c', '1', '', b'')


def test_an_option_of_its_own_comes_first() -> None:
    conf = cfg.ConfigOpts()
    conf([], project='zaqar', default_config_files=[])
    assert notifier_request_signatures.secret_from_conf(conf) is None
    conf.set_override('secret_key', 'k' * 16, 'signed_url')
    assert notifier_request_signatures.secret_from_conf(conf) == 'k' * 16
    conf.set_override('socket_secret', 's' * 16, 'notification')
    assert notifier_request_signatures.secret_from_conf(conf) == 's' * 16
