# SPDX-License-Identifier: Apache-2.0
"""``OS::Zaqar::Queue``."""

from __future__ import annotations

from typing import Any

from heat.engine import attributes, support

from . import zaqar_base, zaqar_queue_or_topic

_QUEUE_ID = 'queue_id'


class Queue(zaqar_queue_or_topic.QueueOrTopic):
    """A queue of messages.

    The queue is created with its metadata, and updated in place. An existing
    queue of that name is adopted: metadata of the template are set, other
    metadata stay, and by default the queue outlives the stack.
    """

    support_status = support.SupportStatus(version='2014.2')

    collection = 'queues'

    queue_properties = ('dead_letter_queue',)

    properties_schema = {
        **zaqar_queue_or_topic.common_properties('queue'),
        'dead_letter_queue': zaqar_base.queue_schema(
            'Queue for messages that were claimed too often.',
            update_allowed=True,
        ),
        'dead_letter_queue_ttl': zaqar_queue_or_topic.number(
            'Lifetime of messages in the dead-letter queue, in seconds.', 60
        ),
        'max_claim_count': zaqar_queue_or_topic.number(
            'How often a message may be claimed before it becomes a dead '
            'letter; 0 for any number of times.',
            0,
        ),
        'default_claim_ttl': zaqar_queue_or_topic.number(
            'Lifetime of claims without a TTL, in seconds, for clients of '
            'version 2.1 of the API.',
            0,
        ),
        'default_wait': zaqar_queue_or_topic.number(
            'Seconds for which claims wait for messages if they do not say '
            'it, for clients of version 2.1 of the API.',
            0,
        ),
        'dedup_window': zaqar_queue_or_topic.number(
            'Seconds for which a message with the dedup_id of another one is '
            'not stored; 0 for never.',
            0,
        ),
        'max_messages': zaqar_queue_or_topic.number(
            'Maximum number of messages, if lower than that of the service; '
            '0 for the maximum of the service.',
            0,
        ),
    }

    attributes_schema = {
        _QUEUE_ID: attributes.Schema(
            'Name of the queue, as get_resource returns it.',
            type=attributes.Schema.STRING,
        ),
        **zaqar_queue_or_topic.common_attributes('queue'),
    }

    def _resolve_attribute(self, name: str) -> Any:
        if name == _QUEUE_ID:
            return self.resource_id
        return super()._resolve_attribute(name)


def resource_mapping() -> dict[str, type]:
    """Return the resource types."""
    return {'OS::Zaqar::Queue': Queue}
