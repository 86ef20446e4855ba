# SPDX-License-Identifier: Apache-2.0
"""Limits of requests and objects, as operators configure them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from oslo_config import cfg

from zaqar import settings_dataclasses
from zaqar.errors import InvalidRequest

GROUP = 'transport'

#: Shortest life of a message, a claim and a grace period, in seconds.
MIN_TTL = 60

#: Items of a page by default.
DEFAULT_PAGE = 10

#: Longest name of a project, and of a queue or topic, in characters.
MAX_PROJECT = 256
MAX_NAME = 64

_NAME = re.compile(rf'[A-Za-z0-9_.-]{{1,{MAX_NAME}}}')


def _page(name: str, items: str) -> cfg.IntOpt:
    return cfg.IntOpt(
        name,
        default=20,
        min=1,
        help=f'Maximum number of {items} per page.',
    )


OPTS = [
    cfg.IntOpt(
        'default_message_ttl',
        default=3600,
        min=MIN_TTL,
        help='Lifetime in seconds of a message without a TTL, if the metadata '
        'of its queue set none. Shown as _default_message_ttl.',
    ),
    cfg.IntOpt(
        'default_message_delay',
        default=0,
        min=0,
        help='Seconds before a message without a delay can be claimed or '
        'popped, if the metadata of its queue set none. Shown as '
        '_default_message_delay.',
    ),
    cfg.IntOpt(
        'default_claim_ttl',
        default=300,
        min=MIN_TTL,
        help='Lifetime in seconds of a claim, if the client sets none.',
    ),
    cfg.IntOpt(
        'default_claim_grace',
        default=60,
        min=MIN_TTL,
        help='Grace period in seconds of a claim, if the client sets none: '
        'messages that would expire during the claim live so long after it.',
    ),
    _page('max_queues_per_page', 'queues or topics'),
    _page('max_pools_per_page', 'pools'),
    _page('max_flavors_per_page', 'flavors'),
    cfg.IntOpt(
        'max_messages_per_page',
        default=20,
        min=1,
        help='Maximum number of messages per page, and of ids per bulk '
        'request.',
    ),
    cfg.IntOpt(
        'max_messages_per_claim_or_pop',
        default=20,
        min=1,
        help='Maximum number of messages per claim or pop.',
    ),
    cfg.IntOpt(
        'max_queue_metadata',
        default=64 * 1024,
        min=1,
        help='Maximum size of the metadata of a queue in bytes, both as sent '
        'and as stored.',
    ),
    cfg.IntOpt(
        'max_messages_post_size',
        default=256 * 1024,
        min=1,
        help='Maximum size in bytes of a request that posts messages. Shown '
        'as _max_messages_post_size; a queue may lower it.',
    ),
    cfg.IntOpt(
        'max_message_ttl',
        default=1209600,
        min=MIN_TTL,
        help='Maximum lifetime of a message, in seconds.',
    ),
    cfg.IntOpt(
        'max_message_delay',
        default=900,
        min=0,
        help='Maximum delay of a message, in seconds.',
    ),
    cfg.IntOpt(
        'max_claim_ttl',
        default=43200,
        min=MIN_TTL,
        help='Maximum lifetime of a claim, in seconds.',
    ),
    cfg.IntOpt(
        'max_claim_grace',
        default=43200,
        min=MIN_TTL,
        help='Maximum grace period of a claim, in seconds.',
    ),
    cfg.IntOpt(
        'default_subscription_ttl',
        default=3600,
        min=MIN_TTL,
        help='Lifetime in seconds of a subscription, if the client sets none.',
    ),
    _page('max_subscriptions_per_page', 'subscriptions'),
    cfg.ListOpt(
        'subscriber_types',
        default=['http', 'https', 'mailto', 'trust+http', 'trust+https'],
        help='URI schemes of subscribers that clients may use.',
    ),
    cfg.IntOpt(
        'max_messages_per_queue',
        default=0,
        min=0,
        help='Maximum number of live messages of a queue, in every state; a '
        'post that would exceed it is refused as a whole with 403 "Queue is '
        'full". 0 means no limit. The metadata key _max_messages lowers it '
        'for one queue. Posts to and deletions from a queue with a limit wait '
        'for each other.',
    ),
    cfg.StrOpt(
        'client_id_uuid_safe',
        default='strict',
        choices=[
            ('strict', 'a UUID in any spelling'),
            ('off', 'any text between the two lengths below'),
        ],
        help='Values that the header Client-ID may have.',
    ),
    cfg.IntOpt(
        'min_length_client_id',
        default=10,
        min=1,
        help='Minimum length of a Client-ID, with client_id_uuid_safe = off.',
    ),
    cfg.IntOpt(
        'max_length_client_id',
        default=36,
        min=1,
        max=36,
        help='Maximum length of a Client-ID, with client_id_uuid_safe = off.',
    ),
    cfg.BoolOpt(
        'message_delete_with_claim_id',
        default=False,
        help='Whether a bulk deletion must name, in claim_ids, the claims '
        'that hold its messages. If off, it also deletes claimed messages.',
    ),
]

DEFAULT_OPTS = [
    cfg.BoolOpt(
        'enable_checksum',
        default=False,
        help='Whether an MD5 checksum of the plain body is stored with each '
        'message and shown to clients. Each posted body is then decoded. It '
        'is stored unencrypted for encrypted queues too: anyone who can read '
        'the database can test guesses of a body against it.',
    ),
]


GROUPS: settings_dataclasses.Groups = {GROUP: OPTS, None: DEFAULT_OPTS}


def _lower(schemes: Sequence[str]) -> tuple[str, ...]:
    return tuple(scheme.lower() for scheme in schemes)


@dataclass(frozen=True)
@settings_dataclasses.of(GROUPS)
class Limits:
    """The settings above, by the names of their options.

    :ivar can_encrypt: whether there is a key; see :mod:`.encryption`
    """

    default_message_ttl: int = settings_dataclasses.option()
    default_message_delay: int = settings_dataclasses.option()
    default_claim_ttl: int = settings_dataclasses.option()
    default_claim_grace: int = settings_dataclasses.option()
    max_queues_per_page: int = settings_dataclasses.option()
    max_pools_per_page: int = settings_dataclasses.option()
    max_flavors_per_page: int = settings_dataclasses.option()
    max_messages_per_page: int = settings_dataclasses.option()
    max_messages_per_claim_or_pop: int = settings_dataclasses.option()
    max_queue_metadata: int = settings_dataclasses.option()
    max_messages_post_size: int = settings_dataclasses.option()
    max_message_ttl: int = settings_dataclasses.option()
    max_message_delay: int = settings_dataclasses.option()
    max_claim_ttl: int = settings_dataclasses.option()
    max_claim_grace: int = settings_dataclasses.option()
    default_subscription_ttl: int = settings_dataclasses.option()
    max_subscriptions_per_page: int = settings_dataclasses.option()
    subscriber_types: Sequence[str] = settings_dataclasses.option(_lower)
    max_messages_per_queue: int = settings_dataclasses.option()
    client_id_uuid_safe: str = settings_dataclasses.option()
    min_length_client_id: int = settings_dataclasses.option()
    max_length_client_id: int = settings_dataclasses.option()
    message_delete_with_claim_id: bool = settings_dataclasses.option()
    enable_checksum: bool = settings_dataclasses.option()
    can_encrypt: bool = False

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Limits:
        return cls(**settings_dataclasses.values(cls, conf, GROUPS))


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of a queue or topic."""
    return bool(_NAME.fullmatch(text)) and text not in ('.', '..')


def page_size(
    limit: int | None, most: int, wording: str = 'may not be greater than'
) -> int:
    """Return the number of items that a page may have.

    :raises InvalidRequest: ``limit`` is out of bounds
    """
    if limit is None:
        return min(DEFAULT_PAGE, most)
    if not 1 <= limit <= most:
        raise InvalidRequest(f'Limit must be at least 1 and {wording} {most}.')
    return limit
