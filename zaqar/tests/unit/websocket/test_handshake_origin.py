# SPDX-License-Identifier: Apache-2.0
"""From which pages browsers may connect."""

from __future__ import annotations

import pytest

from zaqar.transport.websocket.handshake_origin import is_welcome

ORIGINS = [
    (None, 'zaqar:9000', (), True),
    ('http://zaqar', 'zaqar:9000', (), True),
    ('https://ZAQAR:8443', 'zaqar', (), True),
    ('http://[::1]:3000', '[::1]:9000', (), True),
    ('http://other', 'zaqar:9000', (), False),
    ('http://zaqar.other', 'zaqar:9000', (), False),
    ('http://zaqar@other', 'zaqar:9000', (), False),
    ('null', 'zaqar:9000', (), False),
    ('null', 'null:9000', (), False),
    ('http://[', '[', (), False),
    ('zaqar', 'zaqar', (), False),
    ('http://other', 'zaqar:9000', ('http://other',), True),
    ('http://other:81', 'zaqar:9000', ('http://other',), False),
    ('http://zaqar', 'zaqar:9000', ('http://other',), True),
    ('null', 'zaqar:9000', ('null',), True),
    ('http://other', 'zaqar:9000', ('*',), True),
]


@pytest.mark.parametrize(('origin', 'host', 'allowed', 'welcome'), ORIGINS)
def test_without_authentication_pages_are_of_our_host_or_allowed(
    origin: str | None, host: str, allowed: tuple[str, ...], welcome: bool
) -> None:
    assert is_welcome(origin, host, allowed, proves=False) is welcome


@pytest.mark.parametrize(
    ('origin', 'allowed', 'welcome'),
    [
        ('http://other', (), True),
        ('null', (), True),
        (None, ('http://good',), True),
        ('http://good', ('http://good',), True),
        ('http://zaqar', ('http://good',), False),
        ('http://other', ('http://good', '*'), True),
    ],
)
def test_with_authentication_only_what_is_configured_counts(
    origin: str | None, allowed: tuple[str, ...], welcome: bool
) -> None:
    assert is_welcome(origin, 'zaqar:9000', allowed, proves=True) is welcome
