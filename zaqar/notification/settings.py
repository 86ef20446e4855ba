# SPDX-License-Identifier: Apache-2.0
"""Options and settings of notifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oslo_config import cfg

from zaqar import options_as_dataclass_fields
from zaqar.controllers import (
    delivery_attempt_history,
    mail_building,
    url_signatures,
    webhook_secret_format,
)
from zaqar.options_as_dataclass_fields import Network, networks, option
from zaqar.storage.abstract_stores import ManagementStore

GROUP = 'notification'

_SENDER = 'Zaqar Notifications <no-reply@openstack.org>'


def ports(texts: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Read ports and ranges; raise ValueError if one is malformed."""
    ranges = []
    for text in texts:
        first, _, last = text.partition('-')
        try:
            ranges.append((int(first), int(last or first)))
        except ValueError:
            raise ValueError(
                f'"{text}" is neither a port nor a range'
            ) from None
    return tuple(ranges)


def _sender(text: str) -> str:
    mail_building.sender_address(text or '')
    return text


def _secret(text: str | None) -> str | None:
    if webhook_secret_format.is_malformed(text or ''):
        raise ValueError('there is no base64 after whsec_')
    return text


@dataclass(frozen=True)
@options_as_dataclass_fields.of(GROUP)
class NotificationSettings:
    """The options, and what senders need beside them.

    :ivar conf: the whole configuration, for libraries that read their own
    :ivar management: where our servers have their records
    """

    embedded: bool = option(
        True,
        'Whether zaqar-server, and every process of another WSGI server, also '
        'delivers notifications. If false, run zaqar-notifier; any number of '
        'them may run in either case.',
    )
    max_notifier_workers: int = option(
        10,
        'Number of concurrent attempts of each notifier. Attempts that wait '
        'for slow receivers do not count, nor do those at receivers that '
        'have responded within 50 ms: there may be up to ten times as many '
        'of both together.',
        min=1,
    )
    max_in_flight_per_host: int = option(
        64,
        'Maximum number of requests that a notifier sends to one host, by '
        'name and port, at a time. A host gets more than eight only as long '
        'as it responds within 50 ms.',
        min=1,
    )
    max_outbox_per_project: int = option(
        100_000,
        'Maximum number of pending deliveries of a project in a store. Beyond '
        'it, those that have failed longest are given up; posts are never '
        'refused for it.',
        min=1,
    )
    max_attempts_recorded: int = option(
        delivery_attempt_history.MOST,
        'Maximum number of failed attempts that are recorded for a '
        'subscription and shown to its owner. Messages that were given up are '
        'kept as long, to be sent again.',
        min=0,
        max=1000,
    )
    attempts_lifetime: int = option(
        delivery_attempt_history.LIFETIME,
        'Seconds for which attempts are recorded.',
        min=60,
        max=30 * 86_400,
    )
    connect_timeout: float = option(
        5, 'Time limit in seconds for connecting to a receiver.', min=0.1
    )
    request_timeout: float = option(
        15,
        'Time limit in seconds for a whole attempt, from connecting to the '
        'end of the response. An attempt that takes longer is retried.',
        min=0.1,
    )
    allowed_networks: Sequence[Network] = option(
        [],
        'Networks, such as 10.0.0.0/8, that webhooks may reach although their '
        'addresses are not public. All other such addresses are refused '
        'whenever a connection is made, by whatever name. If the environment '
        'names a proxy (http_proxy, https_proxy, no_proxy), the proxy '
        'decides.',
        read=networks,
    )
    allowed_ports: Sequence[tuple[int, int]] = option(
        ['80', '443', '1024-65535'],
        'Ports and port ranges that webhooks may use.',
        read=ports,
    )
    trust_targets: frozenset[str] = option(
        [],
        'Hosts that trust+http and trust+https subscriptions may send tokens '
        'to, at any port, public or not, besides the endpoints of the service '
        'catalogue. Needed if a private address serves Keystone and other '
        'services at one port.',
        read=lambda names: frozenset(name.lower() for name in names),
    )
    trust_allow_http: bool = option(
        False,
        'Whether tokens may be sent without TLS to other hosts than the local '
        'one. Anyone who sees the traffic can then act for the users.',
    )
    encrypted_over_http: bool = option(
        False,
        'Whether messages of queues that are encrypted at rest may be sent '
        'unencrypted: by webhooks without TLS, and by mail. If off, such '
        'deliveries are given up.',
    )
    max_rendered_size: int = option(
        2**20,
        'Maximum size in bytes of a request that is rendered from the '
        'template post_data of a subscription, which may contain the message '
        'any number of times. A delivery that would be larger is given up, '
        'with the reason.',
        min=1024,
    )
    signing_secret: str | None = option(
        None,
        'Secret for the header Webhook-Signature, with which receivers verify '
        'messages (standardwebhooks.com): base64, with or without "whsec" and '
        'an underscore before it; any other text is the key itself. Messages '
        'are signed with it as well as with the key of the subscription. '
        'Anyone who knows it can forge webhooks to other receivers that '
        'verify with it: unset it once all of them use the keys of their '
        'subscriptions.',
        read=_secret,
        secret=True,
    )
    socket_secret: str | None = option(
        None,
        'Secret with which notifiers and WebSocket servers authenticate each '
        'other. Unset: derived from [signed_url] secret_key.',
        secret=True,
    )
    require_confirmation: bool = option(
        False,
        'Whether subscribers must confirm before they are notified of '
        'messages. Needs [signed_url] secret_key.',
    )
    external_confirmation_url: str | None = option(
        None,
        'Page that confirmation mails link to. Unset: the built-in page '
        '/confirm of the service, at its public endpoint.',
    )
    smtp_mode: str = option(
        'third_part',
        'How mails are sent.',
        choices=[
            ('third_part', 'by smtp_command'),
            ('self_local', 'by SMTP to smtp_host, with TLS'),
        ],
    )
    smtp_host: str | None = option(
        None, 'Mail server, for self_local.', kind=cfg.HostAddressOpt
    )
    smtp_port: int | None = option(
        None,
        'Port of the mail server, for self_local: 465 for TLS from the start '
        '(the default), any other for STARTTLS.',
        kind=cfg.PortOpt,
    )
    smtp_user_name: str | None = option(
        None, 'User name at the mail server; unset for none.'
    )
    smtp_user_password: str | None = option(
        None, 'Password at the mail server.', secret=True
    )
    smtp_command: str = option(
        '/usr/sbin/sendmail -t -oi',
        'Program with arguments, separated by spaces, that reads a mail from '
        'its standard input.',
    )
    mail_from: str = option(
        _SENDER,
        'Sender of mails with messages: an address, with or without a name '
        'before it.',
        read=_sender,
    )
    allow_mail_from: bool = option(
        False,
        'Whether the option "from" of a subscription replaces mail_from. '
        'Every user who may subscribe can then send mails in any name for '
        'which the mail server sends.',
    )
    confirm_mail: bool = option(
        True,
        'Whether mail addresses must confirm even if require_confirmation is '
        'off. Needs [signed_url] secret_key: without it no mail address can '
        'confirm, and none receives mails.',
    )
    subscription_confirmation_email_template: Mapping[str, str] = option(
        {
            'topic': 'Zaqar Notification - Subscription Confirmation',
            'body': 'Somebody has subscribed this address to the messages of '
            'queue {0} of project {1}. To confirm, open this page: {2} If '
            'you do not want these messages, ignore this mail.',
            'sender': _SENDER,
        },
        'Mail that asks a subscriber to confirm: topic (its subject), body '
        'with {0} for the queue, {1} for the project and {2} for the link, '
        'and sender.',
    )
    unsubscribe_confirmation_email_template: Mapping[str, str] = option(
        {
            'topic': 'Zaqar Notification - Unsubscribe Confirmation',
            'body': 'You will no longer receive the messages of queue {0} of '
            'project {1}. If that is a mistake, subscribe again here: {2}',
            'sender': _SENDER,
        },
        'Mail that tells a subscriber that its subscription has ended; same '
        'keys as subscription_confirmation_email_template.',
    )
    conf: cfg.ConfigOpts | None = None
    management: ManagementStore | None = None

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> NotificationSettings:
        return cls(**options_as_dataclass_fields.values(cls, conf), conf=conf)


OPTS = options_as_dataclass_fields.options(NotificationSettings)[GROUP]


def socket_secrets(conf: cfg.ConfigOpts) -> Sequence[str]:
    """Return secrets for hand-overs to sockets; notifiers use the first."""
    conf.register_opts(OPTS, GROUP)
    conf.register_opts(url_signatures.OPTS, url_signatures.GROUP)
    if secret := conf[GROUP].socket_secret:
        return [secret]
    keys = conf[url_signatures.GROUP]
    if keys.secret_key:
        return [keys.secret_key, *keys.verification_keys]
    return []
