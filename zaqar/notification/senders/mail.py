# SPDX-License-Identifier: Apache-2.0
"""``mailto``: a mail per message, by a program or by SMTP.

:source: notifications.md 8, 9
"""

from __future__ import annotations

import email.message
import email.policy
import email.utils
import json
import smtplib
import ssl
import subprocess
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zaqar.notification import confirm
from zaqar.notification.sender import Delivery, Outcome, Verdict
from zaqar.notification.settings import Settings

#: Where TLS is spoken from the first byte on.
SMTPS = 465

_POLICY = email.policy.SMTP.clone(cte_type='7bit')

Transport = Callable[[email.message.EmailMessage, str], Outcome]


@dataclass(frozen=True, slots=True)
class Texts:
    """Subject, text and sender of a mail."""

    subject: str
    body: str
    sender: str


class MailSender:
    """Sends mails."""

    schemes: tuple[str, ...] = ('mailto',)

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport

    def send(self, delivery: Delivery, *, now: int) -> Outcome:
        """Make one attempt."""
        address, subject = address_of(delivery.subscriber)
        if '@' not in address or ',' in address:
            return Outcome(Verdict.REFUSED, 'it is no single mail address')
        if delivery.confirmation:
            texts = self._question(delivery)
            if texts is None:
                return Outcome(
                    Verdict.REFUSED,
                    'there is no page for confirmations: neither [notification'
                    '] external_confirmation_url is set nor has the service '
                    'a public endpoint',
                )
        else:
            options = delivery.options
            texts = Texts(
                subject or str(options.get('subject') or ''),
                delivery.body.decode(),
                str(options.get('from') or ''),
            )
        try:
            mail = _mail(address, texts)
        except ValueError as error:
            return Outcome(Verdict.REFUSED, f'it makes no mail: {error}')
        return self._transport(mail, address)

    def close(self) -> None:
        """There is nothing to give back."""

    def _question(self, delivery: Delivery) -> Texts | None:
        notice = json.loads(delivery.body)
        link = confirm.link(self._settings.external_confirmation_url, notice)
        if link is None:
            return None
        template: Mapping[str, str] = (
            self._settings.subscription_confirmation_email_template
            if notice['Message_Type'] == confirm.SUBSCRIBE
            else self._settings.unsubscribe_confirmation_email_template
        )
        body = template['body']
        for place, value in enumerate(
            (delivery.queue, delivery.project, link)
        ):
            # Not format(): a template may hold any other braces.
            body = body.replace(f'{{{place}}}', value)
        return Texts(template['topic'], body, template['sender'])


def create(settings: Settings) -> MailSender:
    """Return the sender that the entry point names."""
    if settings.smtp_mode == 'self_local':
        return MailSender(settings, _by_smtp(settings))
    return MailSender(settings, _by_command(settings))


def address_of(subscriber: str) -> tuple[str, str]:
    """Return address and subject of a URI, '' without one."""
    path, _, query = subscriber.partition(':')[2].partition('?')
    subject = ''
    for part in query.split('&'):
        name, _, value = part.partition('=')
        if name.lower() == 'subject' and not subject:
            # A plus sign is a plus sign in such a URI.
            subject = urllib.parse.unquote(value)
    return urllib.parse.unquote(path), subject


def _mail(address: str, texts: Texts) -> email.message.EmailMessage:
    """Build a mail.

    :raises ValueError: a header cannot be, line feeds for one
    """
    mail = email.message.EmailMessage(policy=_POLICY)
    for text in (address, texts.subject, texts.sender):
        if any(sign in text for sign in '\r\n\0'):
            raise ValueError('there is a line feed in a header')
    mail['To'] = address
    mail['From'] = texts.sender
    mail['Subject'] = texts.subject
    mail.set_content(texts.body)
    return mail


def _by_command(settings: Settings) -> Transport:
    words = settings.smtp_command.split()

    def send(mail: email.message.EmailMessage, address: str) -> Outcome:
        try:
            done = subprocess.run(
                words,
                input=mail.as_bytes(policy=email.policy.default),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=settings.request_timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(Verdict.RETRY, 'the mail program does not end')
        except OSError as error:
            return Outcome(Verdict.RETRY, f'no mail program: {error.strerror}')
        if done.returncode:
            return Outcome(
                Verdict.RETRY, f'the mail program failed: {done.returncode}'
            )
        return Outcome(Verdict.DELIVERED)

    return send


def _by_smtp(settings: Settings) -> Transport:
    context = ssl.create_default_context()

    def send(mail: email.message.EmailMessage, address: str) -> Outcome:
        try:
            with _connected(settings, context) as server:
                if settings.smtp_user_name:
                    server.login(
                        settings.smtp_user_name,
                        settings.smtp_user_password or '',
                    )
                sender = email.utils.parseaddr(str(mail['From']))[1]
                server.send_message(mail, sender, [address])
        except smtplib.SMTPRecipientsRefused as error:
            code = next(iter(error.recipients.values()))[0]
            return _answered(code)
        except smtplib.SMTPResponseException as error:
            return _answered(error.smtp_code)
        except (OSError, smtplib.SMTPException) as error:
            return Outcome(
                Verdict.RETRY, f'the mail server: {type(error).__name__}'
            )
        return Outcome(Verdict.DELIVERED)

    return send


def _answered(code: int) -> Outcome:
    # Faults of ours, as of a login, are mended by operators in time.
    final = 500 <= code < 600 and code not in (530, 534, 535, 538)
    return Outcome(
        Verdict.REFUSED if final else Verdict.RETRY,
        f'the mail server answered {code}',
    )


def _connected(settings: Settings, context: ssl.SSLContext) -> smtplib.SMTP:
    host = settings.smtp_host or 'localhost'
    port = settings.smtp_port or SMTPS
    if port == SMTPS:
        return smtplib.SMTP_SSL(
            host, port, timeout=settings.connect_timeout, context=context
        )
    found = smtplib.SMTP(host, port, timeout=settings.connect_timeout)
    try:
        found.starttls(context=context)
    except BaseException:
        found.close()
        raise
    return found
