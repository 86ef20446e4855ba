# SPDX-License-Identifier: Apache-2.0
"""``mailto``: a mail per message, by a program or by SMTP.

:source: reference/delivery, "Mail", "Confirmation"
"""

import dataclasses
import json
import smtplib
import ssl
import subprocess
from collections.abc import Callable

from zaqar.controllers import mail_building, mail_recipient_and_content
from zaqar.notification import confirmation_request_content
from zaqar.notification.sender_interface import Delivery, Outcome, Verdict
from zaqar.notification.settings import NotificationSettings

#: The port with TLS from the first byte on.
SMTPS = 465

#: Sends a mail from an address to another.
Transport = Callable[[bytes, str, str], Outcome]


class MailSender:
    schemes: tuple[str, ...] = ('mailto',)

    def __init__(
        self, settings: NotificationSettings, transport: Transport
    ) -> None:
        self._settings = settings
        self._transport = transport

    def send(self, delivery: Delivery, *, now: int) -> Outcome:
        try:
            address, content = self._content(delivery)
            if content is None:
                return Outcome(
                    Verdict.REFUSED,
                    'there is no page for confirmations: neither [notification'
                    '] external_confirmation_url is set nor has the service '
                    'a public endpoint',
                )
            mail = mail_building.build(address, content)
            sender = mail_building.sender_address(content.sender)
        except ValueError as error:
            return Outcome(Verdict.REFUSED, f'no mail can be sent: {error}')
        return self._transport(mail, sender, address)

    def close(self) -> None:
        """Do nothing: no connection stays open."""

    def _content(
        self, delivery: Delivery
    ) -> tuple[str, mail_building.MailContent | None]:
        """Return address and content; None without a page to link to."""
        if delivery.confirmation:
            address, _ = mail_recipient_and_content.recipient(
                delivery.subscriber
            )
            return address, self._confirmation(delivery)
        address, content = mail_recipient_and_content.content(
            delivery.subscriber, delivery.options, delivery.body.decode()
        )
        if not (content.sender and self._settings.allow_mail_from):
            content = dataclasses.replace(
                content, sender=self._settings.mail_from
            )
        return address, content

    def _confirmation(
        self, delivery: Delivery
    ) -> mail_building.MailContent | None:
        document = json.loads(delivery.body)
        link = confirmation_request_content.link(
            self._settings.external_confirmation_url, document
        )
        if link is None:
            return None
        template = (
            self._settings.subscription_confirmation_email_template
            if document['Message_Type']
            == confirmation_request_content.SUBSCRIBE
            else self._settings.unsubscribe_confirmation_email_template
        )
        body = template['body']
        for place, value in enumerate(
            (delivery.queue, delivery.project, link)
        ):
            # Not format(): a template may have other braces.
            body = body.replace(f'{{{place}}}', value)
        return mail_building.MailContent(
            template['topic'], body, template['sender']
        )


def create(settings: NotificationSettings) -> MailSender:
    if settings.smtp_mode == 'self_local':
        return MailSender(settings, _by_smtp(settings))
    return MailSender(settings, _by_command(settings))


def _by_command(settings: NotificationSettings) -> Transport:
    words = settings.smtp_command.split()

    def send(mail: bytes, _sender: str, _address: str) -> Outcome:
        try:
            process = subprocess.run(
                words,
                input=mail.replace(b'\r\n', b'\n'),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=settings.request_timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(Verdict.RETRY, 'the mail program does not end')
        except OSError as error:
            return Outcome(Verdict.RETRY, f'no mail program: {error.strerror}')
        if process.returncode:
            return Outcome(
                Verdict.RETRY, f'the mail program failed: {process.returncode}'
            )
        return Outcome(Verdict.DELIVERED)

    return send


def _by_smtp(settings: NotificationSettings) -> Transport:
    context = ssl.create_default_context()

    def send(mail: bytes, sender: str, address: str) -> Outcome:
        try:
            with _connected(settings, context) as server:
                if settings.smtp_user_name:
                    server.login(
                        settings.smtp_user_name,
                        settings.smtp_user_password or '',
                    )
                server.sendmail(sender, [address], mail)
        except smtplib.SMTPRecipientsRefused as error:
            return _refused(next(iter(error.recipients.values()))[0])
        except smtplib.SMTPResponseException as error:
            return _refused(error.smtp_code)
        except (OSError, smtplib.SMTPException) as error:
            return Outcome(
                Verdict.RETRY, f'the mail server: {type(error).__name__}'
            )
        return Outcome(Verdict.DELIVERED)

    return send


def _refused(code: int) -> Outcome:
    # Failures of the login are corrected by operators in time.
    final = 500 <= code < 600 and code not in (530, 534, 535, 538)
    return Outcome(
        Verdict.REFUSED if final else Verdict.RETRY,
        f'the mail server answered {code}',
    )


def _connected(
    settings: NotificationSettings, context: ssl.SSLContext
) -> smtplib.SMTP:
    host = settings.smtp_host or 'localhost'
    port = settings.smtp_port or SMTPS
    if port == SMTPS:
        return smtplib.SMTP_SSL(
            host, port, timeout=settings.connect_timeout, context=context
        )
    server = smtplib.SMTP(host, port, timeout=settings.connect_timeout)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server
