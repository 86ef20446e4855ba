# SPDX-License-Identifier: Apache-2.0
"""What an operator may set of notifications."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg

from zaqar.controllers import mails, webhook_secrets
from zaqar.errors import ConfigurationError
from zaqar.storage.base import ManagementStore

GROUP = 'notification'

_SENDER = 'Zaqar Notifications <no-reply@openstack.org>'

OPTS = [
    cfg.BoolOpt(
        'embedded',
        default=True,
        help='Whether zaqar-server, and every process of another WSGI server, '
        'also delivers notifications. Off, zaqar-notifier has to run; it may '
        'run in any case, and in any number.',
    ),
    cfg.IntOpt(
        'max_notifier_workers',
        default=10,
        min=1,
        help='Threads of each notifier, hence deliveries that it works on at '
        'a time. Those that wait for slow receivers do not count: they have '
        'as many threads again, times ten.',
    ),
    cfg.IntOpt(
        'max_in_flight_per_host',
        default=8,
        min=1,
        help='Requests of a notifier that one host, by name and port, gets '
        'at a time.',
    ),
    cfg.IntOpt(
        'max_outbox_per_project',
        default=100_000,
        min=1,
        help='Deliveries of a project that may wait in a store. Beyond, those '
        'that have failed the longest are given up; posts are never refused '
        'for it.',
    ),
    cfg.FloatOpt(
        'connect_timeout',
        default=5,
        min=0.1,
        help='Seconds for reaching a receiver.',
    ),
    cfg.FloatOpt(
        'request_timeout',
        default=15,
        min=0.1,
        help='Seconds for a whole attempt, from connecting to the end of the '
        'answer. A receiver that is slower is told again.',
    ),
    cfg.ListOpt(
        'allowed_networks',
        default=[],
        help='Networks, as 10.0.0.0/8, that webhooks may reach although their '
        'addresses are not public. Others of that kind are refused whenever '
        'a connection is made, whatever name led there. Through a proxy of '
        'the environment (http_proxy, https_proxy, no_proxy) the proxy '
        'decides.',
    ),
    cfg.ListOpt(
        'allowed_ports',
        default=['80', '443', '1024-65535'],
        help='Ports, and ranges of them, that webhooks may be sent to.',
    ),
    cfg.ListOpt(
        'trust_targets',
        default=[],
        help='Hosts that may be sent tokens by trust+http and trust+https '
        'subscriptions at any port, public or not, beside the endpoints of '
        'the service catalogue. Needed where a private address serves '
        'Keystone and other services at one port.',
    ),
    cfg.BoolOpt(
        'trust_allow_http',
        default=False,
        help='Whether tokens may be sent without TLS to other hosts than '
        'this one. Whoever sees the traffic can then act for the users.',
    ),
    cfg.BoolOpt(
        'encrypted_over_http',
        default=False,
        help='Whether messages of queues that are encrypted at rest may be '
        'sent in the clear: by webhooks without TLS, and by mail. Off, such '
        'deliveries are given up.',
    ),
    cfg.IntOpt(
        'max_rendered_size',
        default=2**20,
        min=1024,
        help='Bytes of a request that is made from the template post_data of '
        'a subscription, which may name the message any number of times. A '
        'larger one is not made: the delivery is given up, with a reason.',
    ),
    cfg.StrOpt(
        'signing_secret',
        secret=True,
        help='Secret for the headers Webhook-Signature that receivers can '
        'verify (standardwebhooks.com): base64, with or without "whsec" '
        'and an underscore before it; any other text is the key itself. A '
        'subscription may bring its own in options._signing_secret. All who '
        'are told this one can forge what others believe.',
    ),
    cfg.StrOpt(
        'socket_secret',
        secret=True,
        help='Secret by which notifiers and WebSocket servers know each '
        'other. Unset: derived from [signed_url] secret_key.',
    ),
    cfg.BoolOpt(
        'require_confirmation',
        default=False,
        help='Whether subscribers are asked first, and told of messages only '
        'after they have said yes. Needs [signed_url] secret_key.',
    ),
    cfg.StrOpt(
        'external_confirmation_url',
        help='Page that confirmation mails link to. Unset: the built-in page '
        '/confirm of the service, at its public endpoint.',
    ),
    cfg.StrOpt(
        'smtp_mode',
        default='third_part',
        choices=[
            ('third_part', 'by smtp_command'),
            ('self_local', 'by SMTP to smtp_host, with TLS'),
        ],
        help='How mails are sent.',
    ),
    cfg.HostAddressOpt('smtp_host', help='Mail server, for self_local.'),
    cfg.PortOpt(
        'smtp_port',
        help='Its port, for self_local: 465 for TLS from the start (the '
        'default), any other for STARTTLS.',
    ),
    cfg.StrOpt('smtp_user_name', help='Login there; unset for none.'),
    cfg.StrOpt('smtp_user_password', secret=True, help='Password of it.'),
    cfg.StrOpt(
        'smtp_command',
        default='/usr/sbin/sendmail -t -oi',
        help='Program with arguments, split at blanks, that takes a mail on '
        'its standard input.',
    ),
    cfg.StrOpt(
        'mail_from',
        default=_SENDER,
        help='Sender of mails with messages: an address, with or without a '
        'name before it.',
    ),
    cfg.BoolOpt(
        'allow_mail_from',
        default=False,
        help='Whether the option "from" of a subscription replaces mail_from. '
        'Anybody who may subscribe can then send mails in the name of anybody '
        'for whom the mail server sends.',
    ),
    cfg.BoolOpt(
        'confirm_mail',
        default=True,
        help='Whether mail addresses are asked first, as with '
        'require_confirmation, even where that is off. Needs [signed_url] '
        'secret_key: without it no mail address can be asked, and none '
        'gets mails.',
    ),
    cfg.DictOpt(
        'subscription_confirmation_email_template',
        default={
            'topic': 'Zaqar Notification - Subscription Confirmation',
            'body': 'You have chosen to be told of the messages of queue {0} '
            'of project {1}. To confirm, open this page: {2} If you have not '
            'asked for this, do nothing.',
            'sender': _SENDER,
        },
        help='Mail that asks a subscriber: topic (its subject), body with '
        '{0} for the queue, {1} for the project and {2} for the link, and '
        'sender.',
    ),
    cfg.DictOpt(
        'unsubscribe_confirmation_email_template',
        default={
            'topic': 'Zaqar Notification - Unsubscribe Confirmation',
            'body': 'You are no longer told of the messages of queue {0} of '
            'project {1}. If that is a mistake, subscribe again here: {2}',
            'sender': _SENDER,
        },
        help='Mail that says that a subscription is off; see above.',
    ),
]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Settings:
    """The options above, and what senders need beside them.

    :ivar conf: the whole configuration, for libraries that read their own
    :ivar management: where our servers have their records
    """

    max_notifier_workers: int = 10
    max_in_flight_per_host: int = 8
    max_outbox_per_project: int = 100_000
    connect_timeout: float = 5.0
    request_timeout: float = 15.0
    allowed_networks: Sequence[Network] = ()
    allowed_ports: Sequence[tuple[int, int]] = ((80, 80), (443, 443))
    trust_targets: frozenset[str] = frozenset()
    trust_allow_http: bool = False
    encrypted_over_http: bool = False
    max_rendered_size: int = 2**20
    signing_secret: str | None = field(default=None, repr=False)
    require_confirmation: bool = False
    external_confirmation_url: str | None = None
    smtp_mode: str = 'third_part'
    smtp_host: str | None = None
    smtp_port: int | None = None
    smtp_user_name: str | None = None
    smtp_user_password: str | None = field(default=None, repr=False)
    smtp_command: str = '/usr/sbin/sendmail -t -oi'
    mail_from: str = _SENDER
    allow_mail_from: bool = False
    confirm_mail: bool = True
    subscription_confirmation_email_template: Mapping[str, str] = field(
        default_factory=dict
    )
    unsubscribe_confirmation_email_template: Mapping[str, str] = field(
        default_factory=dict
    )
    conf: cfg.ConfigOpts | None = None
    management: ManagementStore | None = None

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Settings:
        """Read them from a loaded configuration.

        :raises ConfigurationError: a network, a port, a sender or a
            secret is none
        """
        conf.register_opts(OPTS, GROUP)
        group = conf[GROUP]
        values: dict[str, Any] = {
            opt.dest: group[opt.dest]
            for opt in OPTS
            if opt.dest not in ('embedded', 'socket_secret')
        }
        values['allowed_networks'] = networks(group.allowed_networks)
        values['allowed_ports'] = ports(group.allowed_ports)
        values['trust_targets'] = frozenset(
            host.lower() for host in group.trust_targets
        )
        _check_sender(group.mail_from)
        if webhook_secrets.is_malformed(group.signing_secret or ''):
            raise ConfigurationError(
                f'[{GROUP}] signing_secret: there is no base64 after whsec_'
            )
        return cls(**values, conf=conf)


def _check_sender(text: str) -> None:
    try:
        mails.sender_address(text or '')
    except ValueError as error:
        raise ConfigurationError(f'[{GROUP}] mail_from: {error}') from None


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read networks.

    :raises ConfigurationError: one is none
    """
    try:
        return tuple(
            ipaddress.ip_network(text, strict=False) for text in texts if text
        )
    except ValueError as error:
        raise ConfigurationError(
            f'[{GROUP}] allowed_networks: {error}'
        ) from None


def ports(texts: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Read ports and ranges of them.

    :raises ConfigurationError: one is none
    """
    found = []
    for text in texts:
        first, _, last = text.partition('-')
        try:
            found.append((int(first), int(last or first)))
        except ValueError:
            raise ConfigurationError(
                f'[{GROUP}] allowed_ports: "{text}" is neither a port nor a '
                'range'
            ) from None
    return tuple(found)
