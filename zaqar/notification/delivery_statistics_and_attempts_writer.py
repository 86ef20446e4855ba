# SPDX-License-Identifier: Apache-2.0
"""Writes statistics and attempts of deliveries per subscription, at intervals.

Stored copies of messages whose attempts are recorded no more are discarded.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zaqar.controllers import (
    delivery_attempt_history,
    subscription_statistics_record,
)
from zaqar.controllers.delivery_attempt_history import (
    LIFETIME,
    MOST,
    Attempt,
    Key,
)
from zaqar.controllers.subscription_statistics_record import COUNTED
from zaqar.errors import StoreUnavailable
from zaqar.storage.abstract_stores import ManagementStore

LOG = logging.getLogger(__name__)

#: Key of a change after a result other than 410, which no record has.
_OTHER = 'other'

#: Keys of a change with its attempts, which no record has either.
_FAILURES, _SUCCESS = 'failures', 'success'

#: Deletes what is kept in a pool to be sent again, by the ids.
Discard = Callable[[str, Sequence[str]], None]


class DeliveryRecorder:
    """Statistics in memory, added to the record of each subscription.

    :param discard: called for attempts that are recorded no more
    :param most: attempts that are recorded for a subscription
    :param lifetime: seconds for which they are
    """

    def __init__(
        self,
        store: ManagementStore,
        discard: Discard = lambda pool, ids: None,
        most: int = MOST,
        lifetime: int = LIFETIME,
    ) -> None:
        self._store = store
        self._discard = discard
        self._most, self._lifetime = most, lifetime
        self._lock = threading.Lock()
        self._changes: dict[Key, dict[str, Any]] = {}
        self._dropped: list[Attempt] = []

    def delivered(
        self, key: Key, now: int, attempt: Attempt | None = None
    ) -> None:
        """Count a message that was delivered.

        :param attempt: to be recorded
        """
        with self._lock:
            # In place: this comes most often.
            change = self._changes.setdefault(key, {})
            change['delivered'] = change.get('delivered', 0) + 1
            change['last_delivery_at'] = now
            change[_OTHER] = True
            change.pop('gone_since', None)
            if attempt is not None:
                change[_SUCCESS] = attempt

    def failed(
        self,
        key: Key,
        reason: str,
        now: int,
        attempt: Attempt | None = None,
        *,
        is_final: bool = True,
        is_gone: bool = False,
    ) -> None:
        """Count an attempt that failed, or a message that is given up.

        :param attempt: to be recorded, None where there was none
        :param is_final: the message is given up
        :param is_gone: the subscriber said that it is gone
        """
        change: dict[str, Any] = {
            'given_up' if is_final else 'retried': 1,
            'last_failure': {
                'at': now,
                'reason': reason,
                'given_up': is_final,
            },
            _FAILURES: [] if attempt is None else [attempt],
        }
        self._add(
            key, change | ({'gone_since': now} if is_gone else {_OTHER: True})
        )

    def filtered(self, key: Key, count: int) -> None:
        """Count messages that the filter has excluded."""
        self._add(key, {'filtered': count})

    def gone_since(self, key: Key) -> int | None:
        """Return when the first 410 came after any other result, if so."""
        with self._lock:
            if _OTHER in self._changes.get(key, {}):
                return None
        data = subscription_statistics_record.read(self._store, key)
        since: int | None = data.get('gone_since')
        return since

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
                        self._changes[late] = self._merged(
                            changes[late], self._changes.get(late, {})
                        )
                return
        self._discard_dropped()

    def _write(self, key: Key, change: Mapping[str, Any]) -> None:
        dropped: list[Attempt] = []
        attempts = [*change.get(_FAILURES, ())]
        if _SUCCESS in change:
            attempts.append(change[_SUCCESS])
        rows = delivery_attempt_history.rows(key, attempts)

        def edit(data: Mapping[str, Any]) -> Mapping[str, Any]:
            merged = self._merged(data, change)
            for name in (_OTHER, _FAILURES, _SUCCESS):
                merged.pop(name, None)
            if rows:
                merged[delivery_attempt_history.MEMBER], dropped[:] = (
                    delivery_attempt_history.merged(
                        data.get(delivery_attempt_history.MEMBER, ()),
                        rows,
                        self._most,
                        self._lifetime,
                    )
                )
            return merged

        subscription_statistics_record.change(self._store, key, edit)
        self._dropped += dropped

    def _discard_dropped(self) -> None:
        """Delete what was kept of attempts that are recorded no more."""
        with self._lock:
            dropped, self._dropped = self._dropped, []
        ids: dict[str, list[str]] = defaultdict(list)
        for attempt in dropped:
            if attempt.copy_id:
                ids[attempt.pool].append(attempt.copy_id)
        for pool, names in ids.items():
            try:
                self._discard(pool, names)
            except StoreUnavailable:
                LOG.warning('Deliveries that were given up are kept for now')

    def _add(self, key: Key, change: Mapping[str, Any]) -> None:
        with self._lock:
            self._changes[key] = self._merged(
                self._changes.get(key, {}), change
            )

    def _merged(
        self, old: Mapping[str, Any], new: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a record, or an earlier change, with a change added to it."""
        merged = {**old, **new}
        for name in COUNTED:
            if name in merged:
                merged[name] = old.get(name, 0) + new.get(name, 0)
        if _FAILURES in old and _FAILURES in new:
            failures = [*old[_FAILURES], *new[_FAILURES]]
            surplus = max(len(failures) - self._most, 0)
            self._dropped += failures[:surplus]
            merged[_FAILURES] = failures[surplus:]
        # The first 410 after the last other result.
        since = None if _OTHER in new else old.get('gone_since')
        since = since or new.get('gone_since')
        merged.pop('gone_since', None)
        return merged if since is None else {**merged, 'gone_since': since}
