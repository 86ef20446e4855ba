# SPDX-License-Identifier: Apache-2.0
"""Secrets of URIs and options are masked, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaqar.storage import secret_masking

PASSWORD = 'hidden'


@pytest.mark.parametrize(
    ('uri', 'shown'),
    [
        ('redis://u:hidden@h:1/2', 'redis://u:***@h:1/2'),
        ('redis://:hidden@h', 'redis://:***@h'),
        ('mysql+pymysql://u:hidden@h/d', 'mysql+pymysql://u:***@h/d'),
        ('mysql://u@h/d?passwd=hidden', 'mysql://u@h/d?passwd=***'),
        ('mysql://u@h/d?a=1&PASSWD=hidden&b', 'mysql://u@h/d?a=1&PASSWD=***'),
        ('mysql://u@h/d?pass%77d=hidden', 'mysql://u@h/d?pass%77d=***'),
        (
            'mongodb://h/?tlsCertificateKeyFilePassword=hidden&w=1',
            'mongodb://h/?tlsCertificateKeyFilePassword=***&w=1',
        ),
        (
            'mongodb://h/?authMechanismProperties=T:hidden;a=hidden',
            'mongodb://h/?authMechanismProperties=***',
        ),
        ('mongodb://h/?w=1;password=hidden', 'mongodb://h/?w=1;password=***'),
        ('redis://h/?sentinel_password=hidden', None),
        ('postgresql://u@h/d?sslpassword=hidden', None),
        # Reserved characters, not escaped.
        ('redis://u:hid@hidden@h:1/2', 'redis://u:***@h:1/2'),
        ('redis://u:hidden/hidden@h', 'redis://u:***@h'),
        ('redis://u:hidden?hidden@h', 'redis://u:***@h'),
        ('redis://u:hidden#hidden@h', 'redis://u:***@h'),
        ('redis://u:hidden:hidden@h', 'redis://u:***@h'),
        ('redis://h:1/?sentinel_password=hidden@hidden', None),
        ('redis://u:hidden?password=hidden@h', None),
        (
            'redis://h/?password=hidden&hidden&n=1',
            'redis://h/?password=***&n=1',
        ),
        # Malformed.
        ('mysql:u:hidden@h', '***@h'),
        ('u:hidden@h', '***@h'),
        ('redis:/u:hidden@h', '***@h'),
        # Nothing to hide.
        ('sqlite:////a/b.sqlite', 'sqlite:////a/b.sqlite'),
        ('redis://user@h:6379/1', 'redis://user@h:6379/1'),
        ('', ''),
    ],
)
def test_a_uri_is_shown_without_its_secrets(
    uri: str, shown: str | None
) -> None:
    masked = secret_masking.mask(uri)
    assert PASSWORD not in masked
    if shown is not None:
        assert masked == shown


_RESERVED = "@:/?#[]!$&'()*+,;%aZ9 "


@given(password=st.text(f'{_RESERVED}=', max_size=12))
def test_a_password_of_any_characters_is_masked(password: str) -> None:
    uri = f'redis://u:{PASSWORD}{password}{PASSWORD}@h:1/2?n=1'
    assert PASSWORD not in secret_masking.mask(uri)


@given(password=st.text(_RESERVED, max_size=12))
def test_an_option_of_any_characters_is_masked(password: str) -> None:
    uri = f'mysql://u@h/d?n=1&passwd={PASSWORD}{password}{PASSWORD}'
    assert PASSWORD not in secret_masking.mask(uri)


def test_options_are_shown_without_secrets_however_deep() -> None:
    given_ = {
        'Password': PASSWORD,
        'ssl_keyfile': PASSWORD,
        'a': {'b': [{'secret': PASSWORD, 'n': 1}]},
        'c': 'redis://u:hidden@h',
    }
    assert secret_masking.mask_options(given_) == {
        'Password': '***',
        'ssl_keyfile': '***',
        'a': {'b': [{'secret': '***', 'n': 1}]},
        'c': 'redis://u:***@h',
    }


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('cannot use redis://u:p%40ss@h', 'cannot use redis://u:***@h'),
        ('bad host "p%40ss@h"', 'bad host "***@h"'),
        ('bad password p@ss', 'bad password ***'),
        ('no answer from h', 'no answer from h'),
    ],
)
def test_a_message_is_shown_without_the_secrets_of_its_uri(
    text: str, shown: str
) -> None:
    assert secret_masking.scrub(text, 'redis://u:p%40ss@h') == shown
