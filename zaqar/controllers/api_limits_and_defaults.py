# SPDX-License-Identifier: Apache-2.0
"""Limits, defaults and switches of the API, as operators configure them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from zaqar import options_as_dataclass_fields
from zaqar.errors import InvalidRequest
from zaqar.options_as_dataclass_fields import option

GROUP = 'transport'

#: Shortest life of a message, a claim and a grace period, in seconds.
MIN_TTL = 60

#: Items of a page by default.
DEFAULT_PAGE = 10


def _page(items: str) -> Any:
    return option(20, f'Maximum number of {items} per page.', min=1)


@dataclass(frozen=True)
@options_as_dataclass_fields.of(GROUP, enable_checksum=None)
class Limits:
    """Limits, defaults and switches, by the names of their options.

    :ivar can_encrypt: whether there is a key; see :mod:`.message_encryption`
    """

    default_message_ttl: int = option(
        3600,
        'Lifetime in seconds of a message without a TTL, if the metadata of '
        'its queue set none. Shown as _default_message_ttl.',
        min=MIN_TTL,
    )
    default_message_delay: int = option(
        0,
        'Seconds before a message without a delay can be claimed or popped, '
        'if the metadata of its queue set none. Shown as '
        '_default_message_delay.',
        min=0,
    )
    default_claim_ttl: int = option(
        300,
        'Lifetime in seconds of a claim, if the client sets none.',
        min=MIN_TTL,
    )
    default_claim_grace: int = option(
        60,
        'Grace period in seconds of a claim, if the client sets none: '
        'messages that would expire during the claim live so long after it.',
        min=MIN_TTL,
    )
    max_queues_per_page: int = _page('queues or topics')
    max_pools_per_page: int = _page('pools')
    max_flavors_per_page: int = _page('flavors')
    max_messages_per_page: int = option(
        20,
        'Maximum number of messages per page, and of ids per bulk request.',
        min=1,
    )
    max_messages_per_claim_or_pop: int = option(
        20, 'Maximum number of messages per claim or pop.', min=1
    )
    max_queue_metadata: int = option(
        64 * 1024,
        'Maximum size of the metadata of a queue in bytes, both as sent and '
        'as stored.',
        min=1,
    )
    max_messages_post_size: int = option(
        256 * 1024,
        'Maximum size in bytes of a request that posts messages. Shown as '
        '_max_messages_post_size; a queue may lower it.',
        min=1,
    )
    max_message_ttl: int = option(
        1209600, 'Maximum lifetime of a message, in seconds.', min=MIN_TTL
    )
    max_message_delay: int = option(
        900,
        'Maximum delay of a message in seconds: of _default_message_delay '
        'and, in version 2.0 of the API, of messages.',
        min=0,
    )
    max_message_schedule: int = option(
        1209600,
        'Maximum number of seconds by which clients may delay a message from '
        'version 2.1 of the API on.',
        min=0,
    )
    max_wait: int = option(
        60,
        'Maximum number of seconds for which a request may wait for messages. '
        '0 means that none waits.',
        min=0,
    )
    max_claim_ttl: int = option(
        43200, 'Maximum lifetime of a claim, in seconds.', min=MIN_TTL
    )
    max_claim_grace: int = option(
        43200, 'Maximum grace period of a claim, in seconds.', min=MIN_TTL
    )
    default_subscription_ttl: int = option(
        3600,
        'Lifetime in seconds of a subscription, if the client sets none.',
        min=MIN_TTL,
    )
    max_subscriptions_per_page: int = _page('subscriptions')
    subscriber_types: Sequence[str] = option(
        ['http', 'https', 'mailto', 'trust+http', 'trust+https'],
        'URI schemes of subscribers that clients may use.',
        read=lambda schemes: tuple(scheme.lower() for scheme in schemes),
    )
    max_messages_per_queue: int = option(
        0,
        'Maximum number of live messages of a queue, in every state; a post '
        'that would exceed it is refused as a whole with 403 "Queue is full". '
        '0 means no limit. The metadata key _max_messages lowers it for one '
        'queue. Posts to and deletions from a queue with a limit wait for '
        'each other.',
        min=0,
    )
    client_id_uuid_safe: str = option(
        'strict',
        'Values that the header Client-ID may have.',
        choices=[
            ('strict', 'a UUID in any spelling'),
            ('off', 'any text between the two lengths below'),
        ],
    )
    min_length_client_id: int = option(
        10,
        'Minimum length of a Client-ID, with client_id_uuid_safe = off.',
        min=1,
    )
    max_length_client_id: int = option(
        36,
        'Maximum length of a Client-ID, with client_id_uuid_safe = off.',
        min=1,
        max=36,
    )
    message_delete_with_claim_id: bool = option(
        False,
        'Whether a bulk deletion must name, in claim_ids, the claims that '
        'hold its messages. If off, it also deletes claimed messages.',
    )
    enable_checksum: bool = option(
        False,
        'Whether an MD5 checksum of the plain body is stored with each '
        'message and shown to clients. Each posted body is then decoded. It '
        'is stored unencrypted for encrypted queues too: anyone who can read '
        'the database can test guesses of a body against it.',
    )
    can_encrypt: bool = False

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Limits:
        return cls(**options_as_dataclass_fields.values(cls, conf))


OPTS = options_as_dataclass_fields.options(Limits)


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
