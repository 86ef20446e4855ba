# SPDX-License-Identifier: Apache-2.0
"""How often a subscription may have a confirmation or a replay requested."""

from zaqar.controllers.delivery_attempt_history import Key
from zaqar.controllers.subscription_statistics_record import change
from zaqar.objects import Data
from zaqar.storage.abstract_stores import ManagementStore

#: Minimum milliseconds between two requests of one kind: for confirmation, and
#: for messages to be sent again.
REQUEST_INTERVAL = 60_000


def may_request(
    store: ManagementStore, key: Key, *, wanted: bool, now: int
) -> bool:
    """Return whether a confirmation may be requested now, and record it.

    Without a limit, who may subscribe could flood anybody with mail.
    """
    return _may(store, key, 'asked_at' if wanted else 'unasked_at', now)


def may_replay(store: ManagementStore, key: Key, now: int) -> bool:
    """Return whether messages may be sent again now, and record it."""
    return _may(store, key, 'replayed_at', now)


def _may(store: ManagementStore, key: Key, member: str, now: int) -> bool:

    def edit(data: Data) -> Data | None:
        last = data.get(member)
        if last is not None and now - last < REQUEST_INTERVAL:
            return None
        return {**data, member: now}

    return change(store, key, edit)
