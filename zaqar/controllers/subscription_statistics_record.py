# SPDX-License-Identifier: Apache-2.0
"""The record of the statistics of a subscription's deliveries.

A record of kind ``deliveries`` exists beside a subscription, under its id,
from the first delivery or request for confirmation on. Notifiers update it
about every second; one that is killed loses the counts of its last second,
but no delivery.
"""

from collections.abc import Callable
from typing import Any

from zaqar.controllers.delivery_attempt_history import Key
from zaqar.controllers.subscription_records import DELIVERIES, parent_of
from zaqar.objects import Data, Record
from zaqar.rfc3339_formatting import in_seconds
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.record_updates_and_listing import update

#: What is counted: what 2.0 shows, and what later versions add.
COUNTS = ('delivered', 'retried', 'given_up')
FILTERED = 'filtered'
COUNTED = (*COUNTS, FILTERED)


def _place(key: Key) -> tuple[str, str, str]:
    scope, subscription_id = key
    return DELIVERIES, parent_of(scope), subscription_id


def read(store: ManagementStore, key: Key) -> Data:
    """Return the statistics, empty before the first delivery."""
    record = store.get(*_place(key))
    return {} if record is None else record.data


def document(data: Data) -> dict[str, Any]:
    """Return the statistics as its owner sees them."""
    failure, last = data.get('last_failure'), data.get('last_delivery_at')
    shown: dict[str, Any] = {key: data.get(key, 0) for key in COUNTS}
    shown['last_delivery_at'] = last and in_seconds(last)
    shown['last_failure'] = failure and {
        'at': in_seconds(failure['at']),
        'reason': failure['reason'],
        'given_up': failure['given_up'],
    }
    return shown


def change(
    store: ManagementStore, key: Key, edit: Callable[[Data], Data | None]
) -> bool:
    """Change the record, created if it is missing.

    :param edit: returns the new data, None to leave it
    :returns: whether it was changed
    """

    def edit_record(record: Record | None) -> Data | None:
        return edit(record.data if record else {})

    return update(store, _place(key), edit_record) is not None


def fail(store: ManagementStore, key: Key, reason: str, now: int) -> None:
    """Record that no confirmation could be requested."""
    failure = {'last_failure': {'at': now, 'reason': reason, 'given_up': True}}
    change(store, key, lambda data: {**data, **failure})
