# SPDX-License-Identifier: Apache-2.0
"""Lists, counts, and what waits for messages looks at."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zaqar.objects import Message, MessageSpan, Page, Stats
from zaqar.storage.abstract_stores import SCAN_LIMIT
from zaqar.storage.store_watch_interface import MAX_FREE, Availability
from zaqar_example.entries import Queue, Queues, live_ones

_HEX = re.compile(r'[0-9a-f]*')


class Reading(Queues):
    """The calls that change nothing."""

    def list(
        self,
        qid: str,
        now: int,
        limit: int,
        marker: str | None,
        exclude_client: str | None,
        include_claimed: bool,
        include_delayed: bool,
    ) -> Page:
        queue = self.queue(qid, now)
        after = _position(queue, marker)
        if after is None:
            return Page([])
        page: list[Message] = []
        for read, entry in enumerate(queue.live(now, after), start=1):
            is_listed = entry.new.client != exclude_client
            if entry.holder(now):
                is_listed = is_listed and include_claimed
            elif entry.wake_at > now:
                is_listed = is_listed and include_delayed
            if is_listed:
                page.append(entry.shown(now))
            if len(page) == limit or read == SCAN_LIMIT:
                return Page(page, f'{entry.seq:016x}')
        return Page(page)

    def get(self, qid: str, ids: Sequence[str], now: int) -> Sequence[Message]:
        queue = self.queue(qid, now)
        return [entry.shown(now) for entry in live_ones(queue, ids, now)]

    def stats(self, qid: str, now: int) -> Stats:
        queue = self.queue(qid, now)
        if qid not in self.queues:
            return Stats()
        live = [*queue.live(now)]
        if not live:
            return Stats(posted=queue.next_seq)
        claimed = sum(1 for entry in live if entry.holder(now))
        oldest, newest = (
            MessageSpan(entry.id, entry.created_at)
            for entry in (live[0], live[-1])
        )
        free = (entry.created_at for entry in live if entry.is_free(now))
        return Stats(
            len(live) - claimed,
            claimed,
            oldest,
            newest,
            delayed=sum(entry.wake_at > now for entry in live),
            oldest_free_at=min(free, default=None),
            posted=queue.next_seq,
        )

    def availability(
        self, qids: Sequence[str], now: int
    ) -> Sequence[Availability]:
        return [self._available(qid, now) for qid in qids]

    def volume(self, now: int) -> Stats:
        queues = self.queues.values()
        live = [entry for queue in queues for entry in queue.live(now)]
        claimed = sum(1 for entry in live if entry.holder(now))
        return Stats(len(live) - claimed, claimed)

    def _available(self, qid: str, now: int) -> Availability:
        queue = self.queues.get(qid)
        if queue is None or queue.dropped_at is not None:
            return Availability()
        live = [*queue.live(now)]
        free = sum(1 for entry in live if entry.is_free(now))
        ends = (max(entry.held_until, entry.wake_at) for entry in live)
        due = min((end for end in ends if end > now), default=None)
        return Availability(min(free, MAX_FREE), queue.next_seq, due)


def _position(queue: Queue, marker: str | None) -> int | None:
    """Return the number after which a page begins, None if invalid."""
    if marker is None:
        return -1
    if len(marker) not in (16, 32) or not _HEX.fullmatch(marker):
        return None
    # The id of a dead letter contains its number in another queue.
    return queue.numbers.get(marker, int(marker[:16], 16))
