# SPDX-License-Identifier: Apache-2.0
"""Messages and queues are removed, by callers or since they are dead."""

from __future__ import annotations

import time
from collections.abc import Sequence

from zaqar.errors import InvalidDeletion, MessageClaimed
from zaqar.objects import Message
from zaqar_example.entries import Queue, Queues, live_ones
from zaqar_example.wire import Refusal

#: Seconds after which another sweeper may start: the first one has died.
SWEEP_LEASE = 10.0


class Removing(Queues):
    """The calls that remove."""

    def __init__(self) -> None:
        super().__init__()
        self._sweeper, self._swept_until = '', 0.0

    def delete(
        self, qid: str, message_id: str, now: int, claim_id: str | None
    ) -> None:
        queue = self.queue(qid, now)
        entry = queue.find(message_id, now)
        if entry is None:
            return
        holder = entry.holder(now)
        if holder != claim_id:
            if claim_id is not None and not queue.is_claim(claim_id, now):
                raise Refusal(InvalidDeletion, 'There is no such claim.')
            if holder is None:
                raise Refusal(InvalidDeletion, 'The message is not claimed.')
            raise Refusal(MessageClaimed, 'The message is claimed.')
        queue.remove(entry)

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        now: int,
        claim_ids: Sequence[str] | None,
    ) -> None:
        queue = self.queue(qid, now)
        entries = live_ones(queue, ids, now)
        if claim_ids is not None:
            if not all(queue.is_claim(name, now) for name in claim_ids):
                raise Refusal(InvalidDeletion, 'There is no such claim.')
            if any(entry.holder(now) not in claim_ids for entry in entries):
                raise Refusal(
                    MessageClaimed, 'A message is not in these claims.'
                )
        for entry in entries:
            queue.remove(entry)

    def pop(self, qid: str, now: int, limit: int) -> Sequence[Message]:
        queue = self.queue(qid, now)
        free = (entry for entry in queue.live(now) if entry.is_free(now))
        taken = [entry for entry, _ in zip(free, range(limit), strict=False)]
        for entry in taken:
            queue.remove(entry)
        return [entry.shown(now) for entry in taken]

    def purge(self, qid: str, now: int) -> None:
        self.queue(qid, now).empty()

    def drop(self, qid: str, now: int) -> None:
        queue = self.queues.setdefault(qid, Queue(now * 1000))
        queue.empty()
        queue.keys.clear()
        queue.known.clear()
        queue.dropped_at = queue.dropped_at or now

    def begin_sweep(self, who: str) -> bool:
        """Return whether this sweeper may start: one runs at a time."""
        if time.monotonic() < self._swept_until and who != self._sweeper:
            return False
        self._sweeper, self._swept_until = who, time.monotonic() + SWEEP_LEASE
        return True

    def end_sweep(self, who: str) -> None:
        if who == self._sweeper:
            self._swept_until = 0.0

    def sweep(self, now: int, batch: int) -> int:
        """Remove expired data, which no call sees; this frees its space."""
        removed = 0
        for qid, queue in [*self.queues.items()]:
            removed += queue.sweep(now, batch - removed)
            if queue.is_forgotten(now) and removed < batch:
                del self.queues[qid]
                removed += 1
        return removed
