# SPDX-License-Identifier: Apache-2.0
"""``OS::Zaqar::Topic``."""

from __future__ import annotations

from heat.engine import support

from . import zaqar_queue_or_topic


class Topic(zaqar_queue_or_topic.QueueOrTopic):
    """A topic: messages for subscribers, without claims.

    Like a queue, it is created with its metadata, updated in place, and
    adopted if it exists. A topic and a queue of one name are unrelated.
    """

    support_status = support.SupportStatus(status=support.SUPPORTED)

    collection = 'topics'

    properties_schema = zaqar_queue_or_topic.common_properties('topic')

    attributes_schema = zaqar_queue_or_topic.common_attributes('topic')


def resource_mapping() -> dict[str, type]:
    """Return the resource types."""
    return {'OS::Zaqar::Topic': Topic}
