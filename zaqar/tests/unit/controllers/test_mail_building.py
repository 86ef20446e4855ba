# SPDX-License-Identifier: Apache-2.0
"""Mails are what was asked for, or are refused."""

from __future__ import annotations

import email
import email.header
import email.message
import email.policy
from typing import Any

import pytest

from zaqar.controllers import mail_building, mail_recipient_and_content
from zaqar.controllers.mail_building import MailContent

SENDER = 'Bot <bot@example.org>'


@pytest.mark.parametrize(
    ('uri', 'address', 'subject'),
    [
        ('mailto:a@b.c', 'a@b.c', ''),
        ('MAILTO:a@b.c?subject=x%20y', 'a@b.c', 'x y'),
        ('mailto:a@b.c?cc=d@e.f&Subject=x+y&subject=z', 'a@b.c', 'x+y'),
        ('mailto:a%2Bb@c.d?subject=%C3%BC', 'a+b@c.d', 'ü'),
    ],
)
def test_uris_of_mail(uri: str, address: str, subject: str) -> None:
    assert mail_recipient_and_content.recipient(uri) == (address, subject)


@pytest.mark.parametrize(
    'subject',
    [
        '',
        'plain',
        'two  blanks',
        ' around ',
        'Fällig am Montag, den fünften',
        'Grüße mit blanks und ümlauten ' * 8,
        'ü  ü ' * 40,
        '日本 語 ' * 40,
        'plain but long ' * 20,
        'x' * 2000,
        '=?utf-8?q?hi?= there',
        '\U0001f600 \U0001f600' * 30,
    ],
)
def test_a_subject_arrives_as_it_is(subject: str) -> None:
    data = mail_building.build('a@b.org', MailContent(subject, 'x', SENDER))
    assert data.isascii()
    assert max(map(len, data.split(b'\r\n'))) < 79
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    assert parsed['Subject'] == subject
    # And by a decoder that keeps to RFC 2047: what stands between encoded
    # words is nothing, so all blanks have to be inside.
    old = email.message_from_bytes(data)['Subject']
    parts = email.header.decode_header(old)
    assert str(email.header.make_header(parts)) == subject


@pytest.mark.parametrize(
    'sign', [*map(chr, range(32)), *'\x7f\x85\u2028\u2029']
)
def test_control_characters_make_no_mail(sign: str) -> None:
    for address, subject, sender in (
        (f'a@b.org{sign}', 's', SENDER),
        ('a@b.org', f's{sign}t', SENDER),
        ('a@b.org', 's', f'Bot{sign}<bot@example.org>'),
    ):
        with pytest.raises(ValueError, match='control character'):
            mail_building.build(address, MailContent(subject, 'x', sender))


@pytest.mark.proves('one recipient')
@pytest.mark.parametrize(
    'address',
    [
        'a@b.org,c@d.org',
        'a@b.org, c@d.org',
        'a@b.org;c@d.org',
        'a@b.org c@d.org',
        'a@b.org,',
        'g: a@b.org;',
        'g: a@b.org, c@d.org;',
        '<a@b.org> <c@d.org>',
        'Ann <a@b.org>',
        'a@b.org (Ann)',
        '"a,c"@d.org',
        '=?utf-8?q?a=40b=2Eorg=2Cc?=@d.org',
        'a@b@c.org',
        'a b@c.org',
        'a@b..org',
        '\u00e4@b.org',
        'a@\u00e4.org',
        'a@',
        '@b.org',
        'a',
        '',
    ],
)
def test_what_is_not_one_bare_address_makes_no_mail(address: str) -> None:
    with pytest.raises(ValueError, match=r'address|recipient'):
        mail_building.build(address, MailContent('s', 'x', SENDER))


@pytest.mark.parametrize(
    'sender',
    ['a@b.org, c@d.org', 'Bot', '<>', 'g: a@b.org;', 'Bot <a@b.org> c', 'a@'],
)
def test_what_is_not_one_sender_makes_no_mail(sender: str) -> None:
    with pytest.raises(ValueError, match='address'):
        mail_building.build('a@b.org', MailContent('s', 'x', sender))
    with pytest.raises(ValueError, match='address'):
        mail_building.sender_address(sender)


@pytest.mark.proves('one recipient')
@pytest.mark.parametrize(
    ('name', 'value', 'fault'),
    [
        ('Bcc', 'c@d.org', 'headers'),
        ('Subject', 'other', 'subject'),
        ('To', 'a@b.org, c@d.org', 'address'),
        ('To', 'c@d.org', 'recipient'),
        ('From', 'a@b.org, c@d.org', 'address'),
    ],
)
def test_a_finished_mail_is_held_against_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, fault: str
) -> None:
    # Stands for a library that makes more of a text than it seems to be.
    class Altered(email.message.EmailMessage):
        def as_bytes(self, *arguments: Any, **options: Any) -> bytes:
            del self[name]
            self[name] = value
            return super().as_bytes(*arguments, **options)

    monkeypatch.setattr(email.message, 'EmailMessage', Altered)
    with pytest.raises(ValueError, match=fault):
        mail_building.build('a@b.org', MailContent('s', 'x', SENDER))
