# SPDX-License-Identifier: Apache-2.0
"""Posts, and what a queue knows about its metadata and subscribers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from zaqar.errors import QueueFull
from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import OUTBOX, TOKEN_LIFETIME
from zaqar.storage.ids_of_repeated_posts import mark
from zaqar_example.entries import Entry, Queue, Queues
from zaqar_example.wire import Refusal


class Posting(Queues):
    """The calls that post."""

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
    ) -> tuple[list[str] | None, int, list[int], bool]:
        """Return the ids, and the epoch of the queue's subscriber flag.

        If the flag is set and the notice is not about the messages that would
        be stored, nothing is stored: the ids are None, and the places of those
        messages follow. The last value is whether the ids are those of an
        earlier post with the same token.

        :param noticed: what the notice is about, None if none is wanted
        """
        queue = self.writable(qid, now)
        ids = queue.ids_of(token, fingerprint, now)
        if ids is not None:
            return ids, queue.epoch, [], True
        queue.check(version)
        new = msgspec.convert(messages, list[NewMessage])
        # What duplicates are recognized by, None for what cannot have any.
        names = [item.dedup_id if dedup_window else None for item in new]
        places = _without_duplicates(queue, names, now)
        if noticed is not None and queue.epoch > 0 and noticed != places:
            return None, queue.epoch, places, False
        count = sum(1 for _ in queue.live(now)) if limit and places else 0
        if limit and places and count + len(places) > limit:
            raise Refusal(QueueFull, count, limit)
        stored: dict[int, str] = {}
        for place in places:
            stored[place] = self._append(queue, new[place], now)
            if name := names[place]:
                end = now + dedup_window * 1000
                queue.known[name] = stored[place], end
        ids = [
            stored[place] if place in stored else queue.known[name or ''][0]
            for place, name in enumerate(names)
        ]
        if fingerprint:
            whose = [] if places else [mark(new)]
            end = now + token_lifetime
            queue.keys[token] = fingerprint, ids + whose, end
        else:
            queue.tokens[token] = (ids, now + TOKEN_LIFETIME)
        if notice and places and queue.epoch > 0:
            record = msgspec.convert(notice, NewMessage)
            self._append(self.writable(OUTBOX, now), record, now)
        return ids, queue.epoch, places, False

    def require_version(self, qid: str, version: int, now: int) -> None:
        queue = self.writable(qid, now)
        queue.min_version = max(queue.min_version, version)

    def mark_subscribed(self, qid: str, now: int) -> None:
        queue = self.writable(qid, now)
        queue.epoch = abs(queue.epoch) + 1

    def subscribed_epoch(self, qid: str, now: int) -> int:
        return max(self.queue(qid, now).epoch, 0)

    def unmark_subscribed(self, qid: str, epoch: int, now: int) -> bool:
        queue = self.writable(qid, now)
        if epoch <= 0 or queue.epoch != epoch:
            return False
        queue.epoch = -epoch
        return True

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
    queue: Queue, names: Sequence[str | None], now: int
) -> list[int]:
    """Return the places of what the queue does not know, each name once."""
    seen = {name for name, (_, end) in queue.known.items() if end > now}
    places = []
    for place, name in enumerate(names):
        if not name or name not in seen:
            places.append(place)
        seen.add(name or '')
    return places
