# SPDX-License-Identifier: Apache-2.0
"""Which queues may have a queue as their dead-letter queue.

Clients of Amazon SQS say it, by the metadata key ``sqs_redrive_allow`` of the
dead-letter queue. It counts for changes of metadata from 2.1 on.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from zaqar.controllers import struct_conversion_fault

ALLOW = 'sqs_redrive_allow'


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value of the key.

    :ivar sources: names of queues, for the last of the permissions
    """

    permission: Literal['allowAll', 'denyAll', 'byQueue'] = 'allowAll'
    sources: list[str] = []


def fault(value: Any) -> str | None:
    """Return what is wrong with a value of the key."""
    return struct_conversion_fault.fault(ALLOW, value, Allowed)


def allows(metadata: Mapping[str, Any], source: str) -> bool:
    """Tell whether a queue may have one with this metadata."""
    try:
        allowed = msgspec.convert(metadata.get(ALLOW) or {}, Allowed)
    except msgspec.ValidationError:
        # It was stored below 2.1, where the key is a free one.
        return True
    if allowed.permission == 'byQueue':
        return source in allowed.sources
    return allowed.permission == 'allowAll'
