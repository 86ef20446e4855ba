# SPDX-License-Identifier: Apache-2.0
"""Statistics of deliveries per subscription, written at intervals."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zaqar.controllers import delivery_status
from zaqar.errors import StoreUnavailable
from zaqar.models import Scope
from zaqar.storage.base import ManagementStore

LOG = logging.getLogger(__name__)

Key = tuple[Scope, str]

#: Milliseconds of nothing but 410 after which a subscriber is gone.
GONE_AFTER = 86_400_000


@dataclass(slots=True)
class Change:
    """What has happened since the last flush.

    :ivar other: there was a result other than 410
    """

    counts: dict[str, int] = field(default_factory=dict)
    last_delivery_at: int | None = None
    last_failure: Mapping[str, Any] | None = None
    gone_since: int | None = None
    other: bool = False


class DeliveryStatistics:
    """Statistics in memory, added to the record of each subscription."""

    def __init__(self, store: ManagementStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._changes: dict[Key, Change] = {}

    def delivered(self, key: Key, now: int) -> None:
        """Count a message that was delivered."""
        with self._lock:
            change = self._count(key, 'delivered')
            change.last_delivery_at = now
            change.other, change.gone_since = True, None

    def retried(self, key: Key, reason: str, now: int) -> None:
        """Count an attempt that failed and will be repeated."""
        with self._lock:
            change = self._count(key, 'retried')
            change.last_failure = _failure(reason, now, final=False)
            change.other, change.gone_since = True, None

    def given_up(
        self, key: Key, reason: str, now: int, *, gone: bool = False
    ) -> None:
        """Count a message that was given up.

        :param gone: the subscriber said that it is gone
        """
        with self._lock:
            change = self._count(key, 'given_up')
            change.last_failure = _failure(reason, now, final=True)
            if gone:
                change.gone_since = change.gone_since or now
            else:
                change.other, change.gone_since = True, None

    def is_gone(self, key: Key, now: int) -> bool:
        """Return whether there has been nothing but 410 for a day."""
        with self._lock:
            change = self._changes.get(key)
            if change is not None and change.other:
                return False
        data = delivery_status.read(self._store, *key)
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
                LOG.warning('Counts of deliveries are written later')
                changes[key] = change
                with self._lock:
                    for other, late in changes.items():
                        _merge(late, self._changes.pop(other, Change()))
                        self._changes[other] = late
                return

    def _write(self, key: Key, change: Change) -> None:
        def edit(data: Mapping[str, Any]) -> Mapping[str, Any]:
            return _merged(data, change)

        delivery_status.change(self._store, *key, edit)

    def _count(self, key: Key, name: str) -> Change:
        change = self._changes.setdefault(key, Change())
        change.counts[name] = change.counts.get(name, 0) + 1
        return change


def _failure(reason: str, now: int, *, final: bool) -> Mapping[str, Any]:
    return {'at': now, 'reason': reason, 'given_up': final}


def _merged(data: Mapping[str, Any], change: Change) -> dict[str, Any]:
    merged = dict(data)
    for name, count in change.counts.items():
        merged[name] = merged.get(name, 0) + count
    if change.last_delivery_at is not None:
        merged['last_delivery_at'] = change.last_delivery_at
    if change.last_failure is not None:
        merged['last_failure'] = dict(change.last_failure)
    since = None if change.other else merged.get('gone_since')
    since = since or change.gone_since
    if since is not None:
        merged['gone_since'] = since
    else:
        merged.pop('gone_since', None)
    return merged


def _merge(old: Change, new: Change) -> None:
    for name, count in new.counts.items():
        old.counts[name] = old.counts.get(name, 0) + count
    old.last_delivery_at = new.last_delivery_at or old.last_delivery_at
    old.last_failure = new.last_failure or old.last_failure
    if new.other:
        old.other, old.gone_since = True, new.gone_since
    else:
        old.gone_since = old.gone_since or new.gone_since
