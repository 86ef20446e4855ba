# SPDX-License-Identifier: Apache-2.0
"""``OS::Zaqar::Topic``."""

from __future__ import annotations

from heat.engine import support

from . import zaqar_metadata


class Topic(zaqar_metadata.Holder):
    """A topic: messages for subscribers, without claims.

    Like a queue, it is created with its metadata, updated in place, and
    adopted if it exists. A topic and a queue of one name are unrelated.
    """

    support_status = support.SupportStatus(status=support.SUPPORTED)

    collection = 'topics'

    properties_schema = zaqar_metadata.common_properties('topic')

    attributes_schema = zaqar_metadata.common_attributes('topic')


def resource_mapping() -> dict[str, type]:
    """Return the resource types."""
    return {'OS::Zaqar::Topic': Topic}
