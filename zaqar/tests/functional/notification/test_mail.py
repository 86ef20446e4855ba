# SPDX-License-Identifier: Apache-2.0
"""Mails, by a program and by a real SMTP server."""

from __future__ import annotations

import email
import email.message
import email.policy
import json
import pathlib
import ssl
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from oslo_config import cfg

from zaqar.controllers import subscription_records, subscriptions
from zaqar.errors import ConfigurationError
from zaqar.keystone.service_catalog import PublicEndpoints
from zaqar.notification.senders import mail
from zaqar.notification.settings import GROUP, OPTS, NotificationSettings
from zaqar.objects import Scope
from zaqar.tests.functional.notification.conftest import MakeRig
from zaqar.tests.functional.notification.rig import FEW, Rig
from zaqar.tests.servers import process
from zaqar.tests.servers.receivers import Receiver, certificate

TEMPLATE = {
    'topic': 'Please confirm',
    'body': 'Queue {0} of {1}: {2} {3}',
    'sender': 'Bot <bot@example.org>',
}

Parsed = email.message.EmailMessage


class Program:
    """A program that keeps the mails it is given."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder / 'mails'
        self._folder.mkdir()
        script = folder / 'mailer.py'
        script.write_text(
            'import os, sys, uuid\n'
            'path = f"{sys.argv[1]}/{uuid.uuid4()}"\n'
            # Seen whole or not at all.
            'with open(f"{path}.new", "wb") as file:\n'
            '    file.write(sys.stdin.buffer.read())\n'
            'os.rename(f"{path}.new", path)\n'
            'raise SystemExit(int(sys.argv[2]))\n'
        )
        self.command = f'{sys.executable} {script} {self._folder} 0'
        self.failing = f'{sys.executable} {script} {self._folder} 75'

    def mails(self) -> list[Parsed]:
        """Return what it was given."""
        return [
            _parsed(path.read_bytes())
            for path in self._folder.iterdir()
            if not path.suffix
        ]


@pytest.fixture
def program(tmp_path: pathlib.Path) -> Program:
    """A mail program."""
    return Program(tmp_path)


def test_a_lone_surrogate_is_mailed_as_it_came(
    make_rig: MakeRig, program: Program
) -> None:
    rig = make_rig(smtp_command=program.command)
    one = rig.subscribe('mailto:ops@example.org')
    rig.post_raw(rb'"a \ud800 b"')
    rig.until(lambda: rig.deliveries(one)['delivered'])
    (mailed,) = program.mails()
    assert json.loads(mailed.get_content())['body'] == 'a \ud800 b'


@pytest.mark.proves('encryption on delivery')
@pytest.mark.parametrize('is_allowed', [False, True])
def test_messages_of_an_encrypted_queue_are_mailed_only_if_allowed(
    make_rig: MakeRig, program: Program, is_allowed: bool
) -> None:
    rig = make_rig(
        smtp_command=program.command,
        key='a key for messages at rest',
        encrypted_over_http=is_allowed,
    )
    rig.queue(_enable_encrypt_messages=True)
    one = rig.subscribe('mailto:ops@example.org')
    rig.post('a secret')
    rig.until(
        lambda: rig.deliveries(one)['delivered' if is_allowed else 'given_up']
    )
    assert len(program.mails()) == is_allowed
    failure = rig.deliveries(one)['last_failure']
    assert failure is None or 'encrypted' in failure['reason']


def test_a_message_is_mailed_as_json(
    make_rig: MakeRig, program: Program
) -> None:
    rig = make_rig(smtp_command=program.command)
    one = rig.subscribe('mailto:ops@example.org', subject='Fällig')
    rig.post({'n': 'ü'}, ttl=300)
    rig.until(lambda: rig.deliveries(one)['delivered'])
    (mail,) = program.mails()
    assert mail['To'] == 'ops@example.org'
    assert mail['Subject'] == 'Fällig'
    assert mail.get_content_type() == 'text/plain'
    assert json.loads(mail.get_content()) == {
        'body': {'n': 'ü'},
        'ttl': 300,
        'queue_name': 'q',
        'Message_Type': 'Notification',
    }


def test_the_subject_of_the_uri_goes_before_that_of_the_options(
    make_rig: MakeRig, program: Program
) -> None:
    rig = make_rig(smtp_command=program.command)
    rig.subscribe(
        'mailto:a%2Bb@example.org?subject=Two%20words+one&subject=no',
        subject='not this',
    )
    rig.post('x')
    (mail,) = rig.until(program.mails)
    assert mail['To'] == 'a+b@example.org'
    assert mail['Subject'] == 'Two words+one'


@pytest.mark.parametrize(
    ('settings', 'sender'),
    [
        ({}, 'Zaqar Notifications <no-reply@openstack.org>'),
        ({'mail_from': 'Cloud <bot@a.org>'}, 'Cloud <bot@a.org>'),
        ({'allow_mail_from': True}, 'me@a.org'),
    ],
)
def test_the_sender_is_the_operators_unless_allowed(
    make_rig: MakeRig,
    program: Program,
    settings: dict[str, Any],
    sender: str,
) -> None:
    rig = make_rig(smtp_command=program.command, **settings)
    rig.subscribe('mailto:ops@example.org', **{'from': 'me@a.org'})
    rig.post('x')
    (mail,) = rig.until(program.mails)
    assert mail['From'] == sender


@pytest.mark.parametrize(
    ('uri', 'options'),
    [
        ('mailto:a@example.org?subject=x%0d%0aBcc:%20b@example.org', {}),
        ('mailto:a@example.org%2Cb%40example.org', {}),
        ('mailto:a@example.org%0aBcc%3Ab', {}),
        ('mailto:a@example.org%3Bb%40example.org', {}),
        ('mailto:a@example.org', {'subject': 'x\x1cb'}),
        ('mailto:a@example.org', {'subject': 5}),
        ('mailto:a@example.org', {'from': 'a@b.org, c@d.org'}),
    ],
)
def test_nobody_smuggles_in_headers_or_receivers(
    make_rig: MakeRig,
    program: Program,
    uri: str,
    options: dict[str, Any],
) -> None:
    rig = make_rig(smtp_command=program.command, allow_mail_from=True)
    # As it was stored before it was refused.
    now = rig.management.clock.now()
    fresh = {
        'subscriber': uri,
        'ttl': 3600,
        'options': options,
        'confirmed': False,
        'created_at': now,
        'expires_at': now + 3_600_000,
    }
    rig.queue()
    scope = Scope('p', 'q')
    one, _ = subscription_records.enrol(rig.ctx, scope, fresh, now)
    rig.catalogue.run_ensured(
        scope, lambda store, queue: store.mark_subscribed(queue.qid, now=now)
    )
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['given_up'])
    assert program.mails() == []


def test_a_program_that_fails_is_tried_again(
    make_rig: MakeRig, program: Program
) -> None:
    rig = make_rig(smtp_command=program.failing)
    one = rig.subscribe('mailto:ops@example.org', _retry_policy=FEW)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['retried'])
    reason = rig.deliveries(one)['last_failure']['reason']
    assert reason == 'the mail program failed: 75'


def test_a_program_that_is_missing_is_told(
    make_rig: MakeRig, tmp_path: pathlib.Path
) -> None:
    rig = make_rig(smtp_command=f'{tmp_path}/sendmail -t')
    one = rig.subscribe('mailto:ops@example.org', _retry_policy=FEW)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['retried'])
    reason = rig.deliveries(one)['last_failure']['reason']
    assert reason == 'no mail program: No such file or directory'


# Confirmation.


@pytest.mark.parametrize('external', [None, 'https://ops.example/page?a=b'])
def test_a_subscriber_is_asked_by_a_mail_with_a_link(
    make_rig: MakeRig, program: Program, external: str | None
) -> None:
    rig = make_rig(
        confirms=True,
        public=PublicEndpoints('https://cloud.example/messaging'),
        smtp_command=program.command,
        external_confirmation_url=external,
        subscription_confirmation_email_template=TEMPLATE,
    )
    rig.subscribe('mailto:ops@example.org')
    (mail,) = rig.until(program.mails)
    assert mail['Subject'] == 'Please confirm'
    assert mail['From'] == 'Bot <bot@example.org>'
    text = mail.get_content().replace('\n', ' ')
    link = text.split()[4]
    assert text.startswith('Queue q of p: ')
    assert text.rstrip().endswith('{3}')
    page = external or 'https://cloud.example/messaging/confirm'
    assert link.startswith(f'{page}{"&" if external else "?"}Signature=')
    names = [part.split('=')[0] for part in link.split('Sig')[1].split('&')]
    assert names[1:] == [
        *('Methods', 'Paths', 'Project', 'Expires', 'Url', 'Queue')
    ]
    assert 'Url=https://cloud.example/messaging/v2/queues/q/' in link


def test_without_any_page_no_mail_is_sent(
    make_rig: MakeRig, program: Program
) -> None:
    rig = make_rig(confirms=True, smtp_command=program.command)
    one = rig.subscribe('mailto:ops@example.org')
    rig.until(lambda: rig.deliveries(one)['given_up'])
    assert program.mails() == []
    reason = rig.deliveries(one)['last_failure']['reason']
    assert 'external_confirmation_url' in reason


def test_a_mail_address_is_asked_first_though_others_are_not(
    make_rig: MakeRig, program: Program, receiver: Receiver
) -> None:
    rig = make_rig(
        confirms_mail=True,
        public=PublicEndpoints('https://cloud.example'),
        smtp_command=program.command,
        subscription_confirmation_email_template=TEMPLATE,
    )
    one = rig.subscribe('MAILTO:ops@example.org')
    rig.subscribe(receiver.url)
    rig.post('not for the address')
    receiver.wait(1)
    rig.until(program.mails)
    rig.rests()
    assert [mail['Subject'] for mail in program.mails()] == ['Please confirm']
    subscriptions.confirm(
        rig.ctx,
        scope=Scope('p', 'q'),
        subscription_id=one,
        document={'confirmed': True},
    )
    rig.post('for both')
    rig.until(lambda: rig.deliveries(one)['delivered'])
    assert len(program.mails()) == 2


def test_without_a_key_the_owner_sees_why_no_mail_comes(
    make_rig: MakeRig, program: Program
) -> None:
    rig = make_rig(
        confirms_mail=True, signing_key=None, smtp_command=program.command
    )
    one = rig.subscribe('mailto:ops@example.org')
    failure = rig.deliveries(one)['last_failure']
    assert '[signed_url] secret_key' in failure['reason']
    rig.post('x')
    rig.rests()
    assert program.mails() == []


# SMTP.


class Inbox:
    """What an SMTP server takes."""

    def __init__(self) -> None:
        self.mails: list[Parsed] = []
        self.receivers: list[str] = []
        self.refuses = ''

    async def handle_DATA(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        if self.refuses:
            return self.refuses
        self.mails.append(_parsed(envelope.content))
        self.receivers += envelope.rcpt_tos
        return '250 Taken'


def _authenticate(
    _server: Any, _session: Any, _envelope: Any, _how: Any, data: Any
) -> AuthResult:
    is_right = (
        isinstance(data, LoginPassword)
        and data.login == b'zaqar'
        and data.password == b'secret'
    )
    return AuthResult(success=is_right)


@pytest.fixture
def make_mailing(
    make_rig: MakeRig, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Inbox, bool], Rig]]:
    """Makes a notifier that mails by SMTP with STARTTLS or with TLS."""
    servers: list[Controller] = []
    tls = certificate(tmp_path, 'localhost')
    monkeypatch.setattr(
        ssl,
        'create_default_context',
        lambda **_options: _believing(tmp_path / 'ca.pem'),
    )

    def make(inbox: Inbox, implicit: bool) -> Rig:
        port = process.free_port()
        options: dict[str, Any] = {
            'auth_required': True,
            'authenticator': _authenticate,
        }
        if implicit:
            options['ssl_context'] = tls
            options['auth_require_tls'] = False
            monkeypatch.setattr(mail, 'SMTPS', port)
        else:
            options |= {'tls_context': tls, 'require_starttls': True}
        server = Controller(inbox, hostname='localhost', port=port, **options)
        servers.append(server)
        server.start()
        return make_rig(
            smtp_mode='self_local',
            smtp_host='localhost',
            smtp_port=port,
            smtp_user_name='zaqar',
            smtp_user_password='secret',
        )

    yield make
    for server in servers:
        server.stop(no_assert=True)


@pytest.mark.parametrize('implicit', [True, False], ids=['tls', 'starttls'])
def test_a_mail_goes_by_smtp_with_tls_and_login(
    make_mailing: Callable[[Inbox, bool], Rig], implicit: bool
) -> None:
    inbox = Inbox()
    rig = make_mailing(inbox, implicit)
    one = rig.subscribe('mailto:ops@example.org', subject='s')
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['delivered'])
    assert inbox.receivers == ['ops@example.org']
    assert json.loads(inbox.mails[0].get_content())['body'] == 'x'


@pytest.mark.parametrize(
    ('said', 'count'), [('550 Nobody here', 'given_up'), ('451 No', 'retried')]
)
def test_what_a_mail_server_says_decides(
    make_mailing: Callable[[Inbox, bool], Rig], said: str, count: str
) -> None:
    inbox = Inbox()
    inbox.refuses = said
    rig = make_mailing(inbox, False)
    one = rig.subscribe('mailto:ops@example.org', _retry_policy=FEW)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)[count])
    assert said[:3] in rig.deliveries(one)['last_failure']['reason']


@pytest.mark.parametrize('text', ['whsec_', 'whsec_!', 'whsec_YWI'])
def test_a_malformed_secret_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match='signing_secret'):
        _settings(signing_secret=text)


@pytest.mark.parametrize('text', ['', 'nobody', 'a@b.org, c@d.org'])
def test_a_sender_that_is_no_address_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match='mail_from'):
        _settings(mail_from=text)


def test_the_password_is_not_shown_with_the_settings() -> None:
    shown = repr(
        NotificationSettings(smtp_user_password='hush', signing_secret='hush')
    )
    assert 'hush' not in shown


def _settings(**options: str) -> NotificationSettings:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    conf.register_opts(OPTS, GROUP)
    for name, value in options.items():
        conf.set_override(name, value, GROUP)
    return NotificationSettings.from_conf(conf)


def _believing(path: pathlib.Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(path)
    return context


def _parsed(data: bytes) -> Parsed:
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, Parsed)
    return message
