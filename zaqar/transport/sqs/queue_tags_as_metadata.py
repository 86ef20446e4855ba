# SPDX-License-Identifier: Apache-2.0
"""Tags of queues, as metadata of ours."""

from collections.abc import Mapping
from typing import Any

from zaqar.transport.sqs.faults import Fault
from zaqar.transport.sqs.queue_attributes_as_metadata import read_metadata

TAGS = 'sqs_tags'
MOST_TAGS = 50


def tags(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a queue."""
    return read_metadata(metadata.get(TAGS), dict[str, str]) or {}


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags that a queue may have.

    :raises Fault: they are too many, or too long
    """
    if len(tags) > MOST_TAGS:
        raise Fault(
            'InvalidParameterValue',
            f'A queue may have at most {MOST_TAGS} tags.',
        )
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise Fault(
                'InvalidParameterValue',
                'The key of a tag has 1 to 128 characters, and its value at '
                'most 256.',
            )
    return dict(tags)
