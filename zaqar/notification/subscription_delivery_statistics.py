# SPDX-License-Identifier: Apache-2.0
"""Statistics of deliveries per subscription, written at intervals."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from zaqar.controllers import subscription_delivery_status
from zaqar.controllers.subscription_delivery_status import COUNTED, Key
from zaqar.errors import StoreUnavailable
from zaqar.storage.base import ManagementStore

LOG = logging.getLogger(__name__)

#: Milliseconds of nothing but 410 after which a subscriber is gone.
GONE_AFTER = 86_400_000

#: Key of a change after a result other than 410, which no record has.
_OTHER = 'other'


class DeliveryStatistics:
    """Statistics in memory, added to the record of each subscription."""

    def __init__(self, store: ManagementStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._changes: dict[Key, Mapping[str, Any]] = {}

    def delivered(self, key: Key, now: int) -> None:
        """Count a message that was delivered."""
        self._add(key, {'delivered': 1, 'last_delivery_at': now, _OTHER: True})

    def retried(self, key: Key, reason: str, now: int) -> None:
        """Count an attempt that failed and will be repeated."""
        failure = {'at': now, 'reason': reason, 'given_up': False}
        self._add(key, {'retried': 1, 'last_failure': failure, _OTHER: True})

    def given_up(
        self, key: Key, reason: str, now: int, *, gone: bool = False
    ) -> None:
        """Count a message that was given up.

        :param gone: the subscriber said that it is gone
        """
        failure = {'at': now, 'reason': reason, 'given_up': True}
        result = {'gone_since': now} if gone else {_OTHER: True}
        self._add(key, {'given_up': 1, 'last_failure': failure, **result})

    def filtered(self, key: Key, count: int) -> None:
        """Count messages that the filter has excluded."""
        self._add(key, {'filtered': count})

    def is_gone(self, key: Key, now: int) -> bool:
        """Return whether there has been nothing but 410 for a day."""
        with self._lock:
            if _OTHER in self._changes.get(key, {}):
                return False
        data = subscription_delivery_status.read(self._store, key)
        since = data.get('gone_since')
        return since is not None and now - since >= GONE_AFTER

    def flush(self) -> None:
        """Write changes; those that fail are written next time."""
        with self._lock:
            changes, self._changes = self._changes, {}
        while changes:
            key, change = changes.popitem()
            try:
                self._write(key, change)
            except StoreUnavailable:
                LOG.warning(
                    'Delivery statistics cannot be written; retrying later'
                )
                changes[key] = change
                with self._lock:
                    for late in changes:
                        self._changes[late] = _merged(
                            changes[late], self._changes.get(late, {})
                        )
                return

    def _write(self, key: Key, change: Mapping[str, Any]) -> None:
        def edit(data: Mapping[str, Any]) -> Mapping[str, Any]:
            merged = _merged(data, change)
            merged.pop(_OTHER, None)
            return merged

        subscription_delivery_status.change(self._store, key, edit)

    def _add(self, key: Key, change: Mapping[str, Any]) -> None:
        with self._lock:
            self._changes[key] = _merged(self._changes.get(key, {}), change)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record, or an earlier change, with a change added to it."""
    merged = {**old, **new}
    for name in COUNTED:
        if name in merged:
            merged[name] = old.get(name, 0) + new.get(name, 0)
    # The first 410 after the last other result.
    since = None if _OTHER in new else old.get('gone_since')
    since = since or new.get('gone_since')
    merged.pop('gone_since', None)
    return merged if since is None else {**merged, 'gone_since': since}
