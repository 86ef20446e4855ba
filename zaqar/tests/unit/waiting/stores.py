# SPDX-License-Identifier: Apache-2.0
"""A message store that says what a test wants, and who looked at it."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from typing import Any

from zaqar.errors import StoreUnavailable
from zaqar.objects import Act, NewMessage, Settlement
from zaqar.storage.store_watch_interface import Availability, OnChange, Watch

PATIENCE = 60.0


class Clock:
    """Milliseconds of the monotonic clock."""

    def now(self) -> int:
        return int(time.monotonic() * 1000)


class Reports(Watch):
    """A watch; the test reports."""

    def __init__(self, changed: OnChange, hears_own: bool) -> None:
        self.hears_own = hears_own
        self.changed = changed
        self.added: list[str] = []
        self.removed: list[str] = []
        self.is_closed = False

    def add(self, qid: str) -> None:
        self.added.append(qid)

    def remove(self, qid: str) -> None:
        self.removed.append(qid)

    def close(self) -> None:
        self.is_closed = True


class Store:
    """Counts messages.

    :param reports: whether changes are reported, and those of ours too
    :ivar looks: the queues of each look
    """

    def __init__(self, reports: str = '') -> None:
        self.clock = Clock()
        self.free: dict[str, int] = {}
        self.end: dict[str, int] = {}
        self.due: dict[str, int] = {}
        self.looks: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()
        self.is_grouped = False
        self.is_away = False
        self.cannot_watch = False
        self.watches: list[Reports] = []
        self._reports = reports

    def put(self, qid: str, count: int = 1) -> None:
        self.free[qid] = self.free.get(qid, 0) + count
        self.end[qid] = self.end.get(qid, 0) + count

    def post(
        self, qid: str, messages: Sequence[NewMessage], **_: Any
    ) -> Sequence[str]:
        self.put(qid, sum(not message.delay for message in messages))
        return ['an id'] * len(messages)

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        self.free[qid] = self.free.get(qid, 0) + 1

    def delete(self, qid: str, message_id: str, **_: Any) -> None:
        if self.is_grouped:
            # The next one of its group.
            self.release(qid, '', now=0)

    def delete_many(self, qid: str, ids: Sequence[str], **_: Any) -> None:
        for message_id in ids:
            self.delete(qid, message_id)

    def settle(
        self,
        qid: str,
        claim_id: str,
        settlements: Sequence[Settlement],
        *,
        now: int,
    ) -> Sequence[bool]:
        for item in settlements:
            if item.act is Act.RELEASE:
                self.release(qid, claim_id, now=now)
        return [True] * len(settlements)

    def availability(
        self, qids: Sequence[str], *, now: int
    ) -> Sequence[Availability]:
        self.looks.put(qids)
        if self.is_away:
            raise StoreUnavailable
        return [
            Availability(
                self.free.get(qid, 0),
                self.end.get(qid, 0),
                self.due.get(qid),
                self.is_grouped,
            )
            for qid in qids
        ]

    def watch(self, changed: OnChange) -> Watch | None:
        if self.cannot_watch:
            raise StoreUnavailable('no connection')
        if not self._reports:
            return None
        self.watches.append(Reports(changed, self._reports == 'own'))
        return self.watches[-1]

    def looked(self) -> Sequence[str]:
        """Return the queues of the next look."""
        return self.looks.get(timeout=PATIENCE)
