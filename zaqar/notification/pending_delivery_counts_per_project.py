# SPDX-License-Identifier: Apache-2.0
"""Counts of the pending deliveries of a store, by project, on request."""

import contextlib
import itertools
from collections.abc import Mapping

from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.outbox_records import Unreadable
from zaqar.notification.pending_delivery import (
    PendingDelivery,
    stored_messages,
)
from zaqar.storage.abstract_stores import MessageStore

#: Maximum number of deliveries that are counted.
MAX_COUNTED = 20_000


def count(
    cipher: Cipher, store: MessageStore
) -> Mapping[str, tuple[int, int]]:
    """Count pending deliveries, the first :data:`MAX_COUNTED` of them.

    :returns: for each project their number, and since when the oldest waits
    """
    counts: dict[str, tuple[int, int]] = {}
    for message in itertools.islice(stored_messages(store), MAX_COUNTED):
        with contextlib.suppress(Unreadable):
            pending = PendingDelivery.read(cipher, message)
            number, oldest = counts.get(
                pending.project, (0, message.created_at)
            )
            oldest = min(oldest, pending.first_at)
            counts[pending.project] = number + 1, oldest
    return counts
