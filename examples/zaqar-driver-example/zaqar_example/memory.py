# SPDX-License-Identifier: Apache-2.0
"""Messages and claims on dictionaries.

See ``zaqar.storage.base.MessageStore`` for what each call owes.

Whoever calls holds the lock of the place, so each method runs alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from zaqar.errors import (
    InvalidDeletion,
    MessageClaimed,
    QueueFull,
    QueueGone,
    StaleMetadata,
)
from zaqar.models import (
    Claim,
    Message,
    MessageSpan,
    NewMessage,
    Page,
    Stats,
)
from zaqar.storage.base import (
    MAX_EXHAUSTED,
    OUTBOX,
    SCAN_LIMIT,
    TOKEN_LIFETIME,
    TOMBSTONE_LIFETIME,
)

#: Seconds after which a sweeper is thought dead.
SWEEP = 10.0

_HEX = re.compile(r'[0-9a-f]*')


@dataclass(slots=True)
class Entry:
    """A message in its queue.

    :ivar wake_at: when its delay is over
    :ivar held_until: when its claim lapses
    :ivar spent: whether its claim took it as an exhausted one
    """

    seq: int
    id: str
    new: NewMessage
    created_at: int
    ttl: int
    expires_at: int
    wake_at: int
    claim_id: str | None = None
    held_until: int = 0
    count: int = 0
    spent: bool = False

    def holder(self, now: int) -> str | None:
        """Return the live claim that holds it."""
        return self.claim_id if self.held_until > now else None

    def is_free(self, now: int) -> bool:
        return self.holder(now) is None and self.wake_at <= now

    def hold(self, claim_id: str, now: int, ttl: int, grace: int) -> None:
        """Let a claim made now hold it."""
        end = now + ttl * 1000
        self.claim_id, self.held_until = claim_id, end
        if self.expires_at < end:
            self.ttl = ttl + grace
            self.expires_at = end + grace * 1000

    def shown(self, now: int) -> Message:
        return Message(
            id=self.id,
            body=self.new.body,
            ttl=self.ttl,
            created_at=self.created_at,
            client=self.new.client,
            claim_id=self.holder(now),
            claim_count=self.count,
            checksum=self.new.checksum,
            expires_at=self.expires_at,
            marker=f'{self.seq:016x}',
        )


@dataclass(slots=True)
class Queue:
    """A queue.

    :ivar entries: by sequence number, which is the order they were put in
    :ivar numbers: sequence numbers by id
    :ivar claims: ttl and end by id; which messages they hold, entries know
    :ivar tokens: ids and end by token
    :ivar mark: epoch of the mark of subscribers, or the negative of the
        last one while the queue is silent
    :ivar least: the oldest version of metadata that may be used
    """

    next_seq: int
    entries: dict[int, Entry] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    claims: dict[str, tuple[int, int]] = field(default_factory=dict)
    tokens: dict[str, tuple[list[str], int]] = field(default_factory=dict)
    dropped_at: int | None = None
    mark: int = 1
    least: int = 0

    def live(self, now: int, after: int = -1) -> Iterator[Entry]:
        """Yield live messages in order."""
        for seq, entry in self.entries.items():
            if seq > after and entry.expires_at > now:
                yield entry

    def find(self, message_id: str, now: int) -> Entry | None:
        seq = self.numbers.get(message_id)
        entry = None if seq is None else self.entries[seq]
        return entry if entry and entry.expires_at > now else None

    def held(self, claim_id: str, now: int) -> list[Entry]:
        """Return what a live claim holds, nothing for another one."""
        return [
            entry for entry in self.live(now) if entry.holder(now) == claim_id
        ]

    def is_claim(self, claim_id: str | None, now: int) -> bool:
        found = self.claims.get(claim_id or '')
        return found is not None and found[1] > now

    def remove(self, entry: Entry) -> None:
        del self.entries[entry.seq], self.numbers[entry.id]

    def known(self, token: str, now: int) -> list[str] | None:
        """Return the ids of an earlier post, if it is remembered."""
        ids, end = self.tokens.get(token, ([], 0))
        # That of a dead letter is kept for as long as the letter lives.
        letters = (entry for name in ids if (entry := self.find(name, now)))
        if end > now or any(entry.new.id for entry in letters):
            return ids
        return None

    def check(self, version: int | None) -> None:
        """Complain about metadata that is too old."""
        if version is not None and version < self.least:
            raise StaleMetadata

    def is_forgotten(self, now: int) -> bool:
        """Tell whether it was dropped so long ago that nobody asks for it."""
        dropped_at = self.dropped_at
        return (
            dropped_at is not None and now - dropped_at >= TOMBSTONE_LIFETIME
        )

    def empty(self) -> None:
        for part in (self.entries, self.numbers, self.claims, self.tokens):
            part.clear()


class Messages:
    """The message plane of a place."""

    def __init__(self) -> None:
        self._queues: dict[str, Queue] = {}
        self._sweeper, self._swept_until = '', 0.0

    def post(
        self,
        qid: str,
        messages: list[Any],
        now: int,
        token: str,
        limit: int,
        notice: Any,
        thought_silent: bool,
        version: int | None,
    ) -> tuple[list[str] | None, int]:
        """Return the ids, and the queue's mark.

        There are no ids, and nothing is stored, if the caller has brought no
        notice into a marked queue.
        """
        queue = self._made(qid, now)
        known = queue.known(token, now)
        if known is not None:
            return known, queue.mark
        queue.check(version)
        if thought_silent and queue.mark > 0:
            return None, queue.mark
        new = msgspec.convert(messages, list[NewMessage])
        found = sum(1 for _ in queue.live(now)) if limit else 0
        if limit and found + len(new) > limit:
            raise QueueFull(f'The queue holds {found} messages.')
        ids = [self._append(queue, message, now) for message in new]
        queue.tokens[token] = (ids, now + TOKEN_LIFETIME)
        if notice and queue.mark > 0:
            told = msgspec.convert(notice, NewMessage)
            self._append(self._made(OUTBOX, now), told, now)
        return ids, queue.mark

    def require_version(self, qid: str, version: int, now: int) -> None:
        queue = self._made(qid, now)
        queue.least = max(queue.least, version)

    def mark_subscribed(self, qid: str, now: int) -> None:
        queue = self._made(qid, now)
        queue.mark = abs(queue.mark) + 1

    def subscribed_epoch(self, qid: str, now: int) -> int:
        return max(self._queue(qid, now).mark, 0)

    def unmark_subscribed(self, qid: str, epoch: int, now: int) -> bool:
        queue = self._made(qid, now)
        if epoch <= 0 or queue.mark != epoch:
            return False
        queue.mark = -epoch
        return True

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
        queue = self._queue(qid, now)
        after = _place(queue, marker)
        if after is None:
            return Page([])
        page: list[Message] = []
        for looked, entry in enumerate(queue.live(now, after), start=1):
            shown = entry.new.client != exclude_client
            if entry.holder(now):
                shown = shown and include_claimed
            elif entry.wake_at > now:
                shown = shown and include_delayed
            if shown:
                page.append(entry.shown(now))
            if len(page) == limit or looked == SCAN_LIMIT:
                return Page(page, f'{entry.seq:016x}')
        return Page(page)

    def get(self, qid: str, ids: Sequence[str], now: int) -> Sequence[Message]:
        queue = self._queue(qid, now)
        return [entry.shown(now) for entry in _found(queue, ids, now)]

    def delete(
        self, qid: str, message_id: str, now: int, claim_id: str | None
    ) -> None:
        queue = self._queue(qid, now)
        entry = queue.find(message_id, now)
        if entry is None:
            return
        holder = entry.holder(now)
        if holder != claim_id:
            if claim_id is not None and not queue.is_claim(claim_id, now):
                raise InvalidDeletion('There is no such claim.')
            if holder is None:
                raise InvalidDeletion('The message is not claimed.')
            raise MessageClaimed('The message is claimed.')
        queue.remove(entry)

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        now: int,
        claim_ids: Sequence[str] | None,
    ) -> None:
        queue = self._queue(qid, now)
        entries = _found(queue, ids, now)
        if claim_ids is not None:
            if not all(queue.is_claim(name, now) for name in claim_ids):
                raise InvalidDeletion('There is no such claim.')
            if any(entry.holder(now) not in claim_ids for entry in entries):
                raise MessageClaimed('A message is not in these claims.')
        for entry in entries:
            queue.remove(entry)

    def pop(self, qid: str, now: int, limit: int) -> Sequence[Message]:
        queue = self._queue(qid, now)
        free = (entry for entry in queue.live(now) if entry.is_free(now))
        taken = [entry for entry, _ in zip(free, range(limit), strict=False)]
        for entry in taken:
            queue.remove(entry)
        return [entry.shown(now) for entry in taken]

    def claim(
        self,
        qid: str,
        now: int,
        claim_id: str,
        ttl: int,
        grace: int,
        limit: int,
        max_claims: int,
        version: int | None,
    ) -> Claim | None:
        queue = self._queue(qid, now)
        if claim_id in queue.claims:
            # Made before, and its answer was lost.
            return _claim(queue, claim_id, now, apart=True)
        queue.check(version)
        taken = 0
        for entry in list(queue.live(now)):
            if taken == limit:
                break
            if not entry.is_free(now):
                continue
            spent = 0 < max_claims <= entry.count
            if spent and len(queue.held(claim_id, now)) - taken >= (
                MAX_EXHAUSTED
            ):
                continue
            entry.hold(claim_id, now, ttl, grace)
            entry.spent = spent
            entry.count += int(max_claims > 0 and not spent)
            taken += int(not spent)
        if queue.held(claim_id, now):
            queue.claims[claim_id] = (ttl, now + ttl * 1000)
        return _claim(queue, claim_id, now, apart=True)

    def claimed(self, qid: str, claim_id: str, now: int) -> Claim | None:
        return _claim(self._queue(qid, now), claim_id, now, apart=False)

    def renew(
        self, qid: str, claim_id: str, now: int, ttl: int, grace: int
    ) -> bool:
        queue = self._queue(qid, now)
        if not queue.is_claim(claim_id, now):
            return False
        for entry in queue.held(claim_id, now):
            entry.hold(claim_id, now, ttl, grace)
        queue.claims[claim_id] = (ttl, now + ttl * 1000)
        return True

    def release(self, qid: str, claim_id: str, now: int) -> None:
        queue = self._queue(qid, now)
        for entry in queue.held(claim_id, now):
            entry.claim_id, entry.held_until = None, 0
        queue.claims.pop(claim_id, None)

    def stats(self, qid: str, now: int) -> Stats:
        live = [*self._queue(qid, now).live(now)]
        if not live:
            return Stats()
        claimed = sum(1 for entry in live if entry.holder(now))
        oldest, newest = (
            MessageSpan(entry.id, entry.created_at)
            for entry in (live[0], live[-1])
        )
        return Stats(len(live) - claimed, claimed, oldest, newest)

    def purge(self, qid: str, now: int) -> None:
        self._queue(qid, now).empty()

    def drop(self, qid: str, now: int) -> None:
        queue = self._queues.setdefault(qid, Queue(now * 1000))
        queue.empty()
        queue.dropped_at = queue.dropped_at or now

    def begin_sweep(self, who: str) -> bool:
        """Let one sweep at a time; one that died is no hindrance for long."""
        if time.monotonic() < self._swept_until and who != self._sweeper:
            return False
        self._sweeper, self._swept_until = who, time.monotonic() + SWEEP
        return True

    def end_sweep(self, who: str) -> None:
        if who == self._sweeper:
            self._swept_until = 0.0

    def sweep(self, now: int, batch: int) -> int:
        """Remove what nobody can see: nobody misses it if it stays."""
        removed = 0
        for qid, queue in [*self._queues.items()]:
            for entry in [*queue.entries.values()]:
                if entry.expires_at <= now and removed < batch:
                    queue.remove(entry)
                    removed += 1
            for claim_id, (_, end) in [*queue.claims.items()]:
                if end <= now and removed < batch:
                    del queue.claims[claim_id]
                    removed += 1
            for token in [*queue.tokens]:
                if queue.known(token, now) is None and removed < batch:
                    del queue.tokens[token]
                    removed += 1
            if queue.is_forgotten(now) and removed < batch:
                del self._queues[qid]
                removed += 1
        return removed

    def _queue(self, qid: str, now: int) -> Queue:
        """Return a queue to look at; one never seen is empty.

        :raises QueueGone: it was dropped
        """
        queue = self._queues.get(qid)
        if queue is None:
            return Queue(now * 1000)
        if queue.dropped_at is not None:
            raise QueueGone
        return queue

    def _made(self, qid: str, now: int) -> Queue:
        """Return a queue to put something into.

        Numbers begin at the current microsecond: should the server be started
        again, old markers still lie before new messages.
        """
        return self._queues.setdefault(qid, self._queue(qid, now))

    def _append(self, queue: Queue, new: NewMessage, now: int) -> str:
        seq = queue.next_seq
        queue.next_seq += 1
        entry = Entry(
            seq=seq,
            id=new.id or f'{seq:016x}{new.rnd}',
            new=new,
            created_at=now,
            ttl=new.ttl,
            expires_at=now + new.ttl * 1000,
            # By another clock than now's, a moment may lie in the future.
            wake_at=now + new.delay * 1000 if new.delay else 0,
        )
        queue.entries[seq] = entry
        queue.numbers[entry.id] = seq
        return entry.id


def _place(queue: Queue, marker: str | None) -> int | None:
    """Return the number behind which a page begins, None for nowhere."""
    if marker is None:
        return -1
    if len(marker) not in (16, 32) or not _HEX.fullmatch(marker):
        return None
    # A dead letter's id says where it was in another queue.
    return queue.numbers.get(marker, int(marker[:16], 16))


def _found(queue: Queue, ids: Sequence[str], now: int) -> list[Entry]:
    """Return the live messages among these, each once, in queue order."""
    found = {
        entry.seq: entry for name in ids if (entry := queue.find(name, now))
    }
    return [found[seq] for seq in sorted(found)]


def _claim(
    queue: Queue, claim_id: str, now: int, *, apart: bool
) -> Claim | None:
    """Return a live claim that holds something, else None.

    :param apart: whether exhausted messages stand apart, as when it was made
    """
    held = queue.held(claim_id, now)
    if not held:
        return None
    ttl, end = queue.claims[claim_id]
    return Claim(
        claim_id,
        ttl,
        end,
        [item.shown(now) for item in held if not (apart and item.spent)],
        [item.shown(now) for item in held if apart and item.spent],
    )
