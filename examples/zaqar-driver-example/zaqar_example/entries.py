# SPDX-License-Identifier: Apache-2.0
"""Messages and queues in dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from zaqar.errors import QueueGone, StaleMetadata, TokenReused
from zaqar.objects import Message, NewMessage, Settlement
from zaqar.storage.abstract_stores import TOMBSTONE_LIFETIME
from zaqar_example.wire import Refusal


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
    :ivar keys: the same of posts with a fingerprint, which comes first; a
        purge keeps them and what is known
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
                raise Refusal(TokenReused)
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
            raise Refusal(StaleMetadata)

    def is_forgotten(self, now: int) -> bool:
        """Return whether its tombstone may be removed."""
        dropped_at = self.dropped_at
        return (
            dropped_at is not None and now - dropped_at >= TOMBSTONE_LIFETIME
        )

    def empty(self) -> None:
        for part in (self.entries, self.numbers, self.claims, self.tokens):
            part.clear()

    def sweep(self, now: int, most: int) -> int:
        """Remove what is dead, so much at most; return how much it was."""
        expired = [e for e in self.entries.values() if e.expires_at <= now]
        for entry in expired[:most]:
            self.remove(entry)
        removed = len(expired[:most])
        # What these hold ends with the time of its end.
        parts: list[dict[str, Any]] = [self.claims, self.keys, self.known]
        dead = [
            (part, key)
            for part in parts
            for key, value in part.items()
            if value[-1] <= now
        ]
        dead += [
            (self.tokens, token)
            for token in self.tokens
            if self.ids_of(token, '', now) is None
        ]
        for part, key in dead[: most - removed]:
            del part[key]
            removed += 1
        return removed


class Queues:
    """The queues of a place, by their ids."""

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}

    def queue(self, qid: str, now: int) -> Queue:
        """Return a queue to read; one that does not exist is empty.

        :raises QueueGone: it was dropped
        """
        queue = self.queues.get(qid)
        if queue is None:
            return Queue(now * 1000)
        if queue.dropped_at is not None:
            raise Refusal(QueueGone)
        return queue

    def writable(self, qid: str, now: int) -> Queue:
        """Return a queue to change; create it if it does not exist.

        Sequence numbers begin at the current microsecond, so that after a
        restart of the server old markers are before new messages.
        """
        return self.queues.setdefault(qid, self.queue(qid, now))


def live_ones(queue: Queue, ids: Sequence[str], now: int) -> list[Entry]:
    """Return the live messages among these, each once, in queue order."""
    entries = {
        entry.seq: entry for name in ids if (entry := queue.find(name, now))
    }
    return [entries[seq] for seq in sorted(entries)]
