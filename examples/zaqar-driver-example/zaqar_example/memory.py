# SPDX-License-Identifier: Apache-2.0
"""Messages and claims in dictionaries.

``zaqar.storage.base.MessageStore`` describes each call. Callers hold the lock
of the place, so one method runs at a time.
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
    TokenReused,
)
from zaqar.models import (
    Act,
    Claim,
    Message,
    MessageSpan,
    NewMessage,
    Page,
    Settlement,
    Stats,
)
from zaqar.storage.availability import MAX_FREE, Availability
from zaqar.storage.base import (
    MAX_EXHAUSTED,
    OUTBOX,
    SCAN_LIMIT,
    TOKEN_LIFETIME,
    TOMBSTONE_LIFETIME,
)

#: Seconds after which another sweeper may start: the first one has died.
SWEEP_LEASE = 10.0

_HEX = re.compile(r'[0-9a-f]*')


@dataclass(slots=True)
class Entry:
    """A message in its queue.

    :ivar wake_at: when its delay is over
    :ivar held_until: when its claim lapses
    :ivar is_exhausted: whether its claim took it for the dead-letter queue
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
    is_exhausted: bool = False
    reason: str | None = None

    def holder(self, now: int) -> str | None:
        """Return the live claim that holds it."""
        return self.claim_id if self.held_until > now else None

    def is_free(self, now: int) -> bool:
        return self.holder(now) is None and self.wake_at <= now

    def hold(self, claim_id: str, now: int, ttl: int, grace: int) -> None:
        """Give it to a claim that is made now."""
        end = now + ttl * 1000
        self.claim_id, self.held_until = claim_id, end
        if self.expires_at < end:
            self.ttl = ttl + grace
            self.expires_at = end + grace * 1000

    def release(self, item: Settlement, now: int) -> None:
        """Take it from its claim."""
        self.claim_id, self.held_until = None, 0
        self.wake_at = item.end(now) if item.seconds else 0
        self.count -= int(not item.failed)
        if item.reason is not None:
            self.reason = item.reason

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
            group=self.new.group,
            extras=self.new.extras,
            visible_at=self.wake_at if self.wake_at > now else None,
            reason=self.reason,
            claim_ends_at=self.held_until if self.holder(now) else None,
        )


@dataclass(slots=True)
class Queue:
    """A queue.

    :ivar entries: by sequence number, in the order of their posts
    :ivar numbers: sequence numbers by message id
    :ivar claims: TTL and end by claim id; entries name their claim
    :ivar tokens: message ids of a post, and when they are forgotten, by token
    :ivar keys: the same of posts with a fingerprint, which comes first
    :ivar known: ids of messages, and when they are forgotten, by what their
        duplicates are recognized by
    :ivar epoch: epoch of the subscriber flag; the negative of the last one
        while the flag is cleared
    :ivar min_version: the least version of metadata that may be used
    """

    next_seq: int
    entries: dict[int, Entry] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    claims: dict[str, tuple[int, int]] = field(default_factory=dict)
    tokens: dict[str, tuple[list[str], int]] = field(default_factory=dict)
    keys: dict[str, tuple[str, list[str], int]] = field(default_factory=dict)
    known: dict[str, tuple[str, int]] = field(default_factory=dict)
    dropped_at: int | None = None
    epoch: int = 1
    min_version: int = 0

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
        """Return the messages of a live claim; none if it has ended."""
        return [
            entry for entry in self.live(now) if entry.holder(now) == claim_id
        ]

    def is_claim(self, claim_id: str | None, now: int) -> bool:
        claim = self.claims.get(claim_id or '')
        return claim is not None and claim[1] > now

    def remove(self, entry: Entry) -> None:
        del self.entries[entry.seq], self.numbers[entry.id]

    def ids_of(
        self, token: str, fingerprint: str, now: int
    ) -> list[str] | None:
        """Return the ids of an earlier post with this token, if any."""
        if fingerprint:
            other, ids, end = self.keys.get(token, ('', [], 0))
            if end > now and other != fingerprint:
                raise TokenReused
            return ids if end > now else None
        ids, end = self.tokens.get(token, ([], 0))
        # The token of a dead letter is remembered while the letter lives.
        letters = (entry for name in ids if (entry := self.find(name, now)))
        if end > now or any(entry.new.id for entry in letters):
            return ids
        return None

    def check(self, version: int | None) -> None:
        """Raise an error if a version of metadata is too old."""
        if version is not None and version < self.min_version:
            raise StaleMetadata

    def is_forgotten(self, now: int) -> bool:
        """Return whether its tombstone may be removed."""
        dropped_at = self.dropped_at
        return (
            dropped_at is not None and now - dropped_at >= TOMBSTONE_LIFETIME
        )

    def empty(self) -> None:
        for part in (self.entries, self.numbers, self.claims, self.tokens):
            part.clear()


class Messages:
    """The message store of a place."""

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
        noticed: list[int] | None,
        version: int | None,
        dedup_window: int,
        fingerprint: str,
        token_lifetime: int,
    ) -> tuple[list[str] | None, int, list[int]]:
        """Return the ids, and the epoch of the queue's subscriber flag.

        If the flag is set and the notice is not about the messages that would
        be stored, nothing is stored: the ids are None, and the places of those
        messages follow.

        :param noticed: what the notice is about, None if none is wanted
        """
        queue = self._writable(qid, now)
        ids = queue.ids_of(token, fingerprint, now)
        if ids is not None:
            return ids, queue.epoch, []
        queue.check(version)
        new = msgspec.convert(messages, list[NewMessage])
        ids, places = _without_duplicates(queue, new, dedup_window, now)
        if noticed is not None and queue.epoch > 0 and noticed != places:
            return None, queue.epoch, places
        count = sum(1 for _ in queue.live(now)) if limit and places else 0
        if limit and places and count + len(places) > limit:
            raise QueueFull(f'The queue holds {count} messages.')
        for place in places:
            ids[place] = self._append(queue, new[place], now)
        for place, item in enumerate(new):
            if item.dedup_id and dedup_window:
                end = now + dedup_window * 1000
                known = queue.known.setdefault(item.dedup_id, ('', 0))
                if known[1] <= now:
                    queue.known[item.dedup_id] = ids[place], end
                ids[place] = queue.known[item.dedup_id][0]
        if fingerprint:
            queue.keys[token] = fingerprint, ids, now + token_lifetime
        else:
            queue.tokens[token] = (ids, now + TOKEN_LIFETIME)
        if notice and places and queue.epoch > 0:
            record = msgspec.convert(notice, NewMessage)
            self._append(self._writable(OUTBOX, now), record, now)
        return ids, queue.epoch, places

    def require_version(self, qid: str, version: int, now: int) -> None:
        queue = self._writable(qid, now)
        queue.min_version = max(queue.min_version, version)

    def mark_subscribed(self, qid: str, now: int) -> None:
        queue = self._writable(qid, now)
        queue.epoch = abs(queue.epoch) + 1

    def subscribed_epoch(self, qid: str, now: int) -> int:
        return max(self._queue(qid, now).epoch, 0)

    def unmark_subscribed(self, qid: str, epoch: int, now: int) -> bool:
        queue = self._writable(qid, now)
        if epoch <= 0 or queue.epoch != epoch:
            return False
        queue.epoch = -epoch
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
        queue = self._queue(qid, now)
        return [entry.shown(now) for entry in _live(queue, ids, now)]

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
        entries = _live(queue, ids, now)
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
        only: Sequence[str] | None,
    ) -> Claim | None:
        queue = self._queue(qid, now)
        if claim_id in queue.claims:
            # A retry: the answer to the first call was lost.
            return _claim(queue, claim_id, now, split=True)
        queue.check(version)
        taken = 0
        for entry in list(queue.live(now)):
            if taken == limit:
                break
            if not entry.is_free(now):
                continue
            if only is not None and (entry.id not in only or entry.new.group):
                continue
            is_exhausted = 0 < max_claims <= entry.count
            if is_exhausted and (
                len(queue.held(claim_id, now)) - taken >= MAX_EXHAUSTED
            ):
                continue
            entry.hold(claim_id, now, ttl, grace)
            entry.is_exhausted = is_exhausted
            entry.count += int(not is_exhausted)
            taken += int(not is_exhausted)
        if queue.held(claim_id, now):
            queue.claims[claim_id] = (ttl, now + ttl * 1000)
        return _claim(queue, claim_id, now, split=True)

    def claimed(self, qid: str, claim_id: str, now: int) -> Claim | None:
        return _claim(self._queue(qid, now), claim_id, now, split=False)

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

    def settle(
        self, qid: str, claim_id: str, settlements: Sequence[Any], now: int
    ) -> Sequence[bool] | None:
        queue = self._queue(qid, now)
        held = {entry.id: entry for entry in queue.held(claim_id, now)}
        if not held:
            return None
        items = msgspec.convert(settlements, list[Settlement])
        for item in items:
            entry = held.get(item.message_id)
            if entry is None:
                continue
            if item.act is Act.DELETE:
                queue.remove(entry)
            elif item.act is Act.RELEASE:
                entry.release(item, now)
            else:
                entry.hold(claim_id, now, item.seconds, 0)
        ends = [entry.held_until for entry in queue.held(claim_id, now)]
        ttl, _ = queue.claims[claim_id]
        queue.claims[claim_id] = (ttl, max(ends, default=0))
        return [item.message_id in held for item in items]

    def release(self, qid: str, claim_id: str, now: int) -> None:
        queue = self._queue(qid, now)
        for entry in queue.held(claim_id, now):
            entry.claim_id, entry.held_until = None, 0
        queue.claims.pop(claim_id, None)

    def stats(self, qid: str, now: int) -> Stats:
        queue = self._queue(qid, now)
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
        queues = self._queues.values()
        live = [entry for queue in queues for entry in queue.live(now)]
        claimed = sum(1 for entry in live if entry.holder(now))
        return Stats(len(live) - claimed, claimed)

    def purge(self, qid: str, now: int) -> None:
        self._queue(qid, now).empty()

    def drop(self, qid: str, now: int) -> None:
        queue = self._queues.setdefault(qid, Queue(now * 1000))
        queue.empty()
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
                if queue.ids_of(token, now) is None and removed < batch:
                    del queue.tokens[token]
                    removed += 1
            if queue.is_forgotten(now) and removed < batch:
                del self._queues[qid]
                removed += 1
        return removed

    def _available(self, qid: str, now: int) -> Availability:
        queue = self._queues.get(qid)
        if queue is None or queue.dropped_at is not None:
            return Availability()
        live = [*queue.live(now)]
        free = sum(1 for entry in live if entry.is_free(now))
        ends = (max(entry.held_until, entry.wake_at) for entry in live)
        due = min((end for end in ends if end > now), default=None)
        return Availability(min(free, MAX_FREE), queue.next_seq, due)

    def _queue(self, qid: str, now: int) -> Queue:
        """Return a queue to read; one that does not exist is empty.

        :raises QueueGone: it was dropped
        """
        queue = self._queues.get(qid)
        if queue is None:
            return Queue(now * 1000)
        if queue.dropped_at is not None:
            raise QueueGone
        return queue

    def _writable(self, qid: str, now: int) -> Queue:
        """Return a queue to change; create it if it does not exist.

        Sequence numbers begin at the current microsecond, so that after a
        restart of the server old markers are before new messages.
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
            # Without a delay it is free at once, also for a slower clock.
            wake_at=now + new.delay * 1000 if new.delay else 0,
        )
        queue.entries[seq] = entry
        queue.numbers[entry.id] = seq
        return entry.id


def _without_duplicates(
    queue: Queue, new: list[NewMessage], window: int, now: int
) -> tuple[list[str], list[int]]:
    """Return the ids of duplicates, and the places of all others."""
    ids, places = [''] * len(new), []
    seen: set[str] = set()
    for place, item in enumerate(new):
        name = item.dedup_id if window else None
        known, end = queue.known.get(name or '', ('', 0))
        if name and end > now:
            ids[place] = known
        elif not name or name not in seen:
            places.append(place)
        seen.add(name or '')
    return ids, places


def _position(queue: Queue, marker: str | None) -> int | None:
    """Return the number after which a page begins, None if invalid."""
    if marker is None:
        return -1
    if len(marker) not in (16, 32) or not _HEX.fullmatch(marker):
        return None
    # The id of a dead letter contains its number in another queue.
    return queue.numbers.get(marker, int(marker[:16], 16))


def _live(queue: Queue, ids: Sequence[str], now: int) -> list[Entry]:
    """Return the live messages among these, each once, in queue order."""
    entries = {
        entry.seq: entry for name in ids if (entry := queue.find(name, now))
    }
    return [entries[seq] for seq in sorted(entries)]


def _claim(
    queue: Queue, claim_id: str, now: int, *, split: bool
) -> Claim | None:
    """Return a live claim with its messages, None if it holds none.

    :param split: whether to list exhausted messages separately, as the call
        that makes a claim does
    """
    held = queue.held(claim_id, now)
    if not held:
        return None
    ttl, end = queue.claims[claim_id]
    return Claim(
        claim_id,
        ttl,
        end,
        [
            entry.shown(now)
            for entry in held
            if not (split and entry.is_exhausted)
        ],
        [entry.shown(now) for entry in held if split and entry.is_exhausted],
    )
