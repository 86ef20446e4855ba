# SPDX-License-Identifier: Apache-2.0
"""Counts of the messages that wait to be delivered, by subscription.

They are in the outboxes of the stores, those of all projects together. One
look counts for all subscriptions, is bounded, and is not repeated for a while,
so that requests cannot keep a process busy with it.

:source: reference/delivery, "Statistics"
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from zaqar.controllers import outbox_notices, outbox_records
from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.outbox_notices import PostNotice
from zaqar.objects import Message, Scope
from zaqar.storage.abstract_stores import OUTBOX, PENDING, MessageStore

#: Records, bytes and seconds after which a look ends, and records read at a
#: time.
MOST, MOST_BYTES, MOST_SECONDS = 50_000, 32 << 20, 2.0
PAGE = 100

#: Seconds for which a look is not repeated, at least, and how many times as
#: long as it took.
FRESH, SHARE = 0.1, 5

#: Seconds for which counts are good enough after that, while others look.
RECENT = 30.0


class Waiting(msgspec.Struct, frozen=True):
    """What waits for one subscription, or for all of a queue.

    :ivar oldest: when the oldest one was first due, None without any
    """

    count: int = 0
    oldest: int | None = None

    def __add__(self, other: Waiting) -> Waiting:
        moments = [self.oldest, other.oldest]
        known = [moment for moment in moments if moment is not None]
        return Waiting(self.count + other.count, min(known) if known else None)


class Counts(msgspec.Struct, frozen=True):
    """What one look at a store has counted.

    :ivar notices: messages of queues whose subscriptions no notifier has read
    :ivar is_complete: that it has seen all there is
    """

    deliveries: Mapping[tuple[Scope, str], Waiting]
    notices: Mapping[Scope, Waiting]
    is_complete: bool = True


#: Counts of one store, and when they are out of date.
_Look = tuple[Counts, float]


class PendingDeliveryCounts:
    """Counts of all stores.

    :param timer: a monotonic clock, in seconds
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._lock = threading.Lock()
        self._looks: dict[str, _Look] = {}

    def read(self, name: str, store: MessageStore, cipher: Cipher) -> Counts:
        """Return the counts of a store; ``name`` is that of its pool.

        While one request looks, others get what was counted a moment ago.
        """
        last, until = self._looks.get(name, (None, 0.0))
        now = self._timer()
        if last is not None and now < until:
            return last
        is_recent = last is not None and now < until + RECENT
        if not self._lock.acquire(blocking=not is_recent):
            assert last is not None
            return last
        try:
            start = self._timer()
            counts, until = self._looks.get(name, (None, 0.0))
            if counts is None or start >= until:
                counts = self._look(store, cipher, start + MOST_SECONDS)
                end = self._timer()
                fresh = max(FRESH, SHARE * (end - start))
                self._looks[name] = counts, end + fresh
            return counts
        finally:
            self._lock.release()

    def _look(self, store: MessageStore, cipher: Cipher, end: float) -> Counts:
        deliveries: dict[Any, Waiting] = {}
        notices: dict[Any, Waiting] = {}
        seen = size = 0
        # First what becomes the other: what moves meanwhile may count twice,
        # but is not missed.
        for qid, count, counts in (
            (OUTBOX, _of_notice, notices),
            (PENDING, _of_delivery, deliveries),
        ):
            pages = outbox_records.pages(store, qid, PAGE)
            for message in itertools.chain.from_iterable(pages):
                if seen >= MOST or size >= MOST_BYTES or self._timer() >= end:
                    return Counts(deliveries, notices, is_complete=False)
                seen += 1
                size += len(message.body)
                for key, waiting in count(message, cipher):
                    counts[key] = counts.get(key, Waiting()) + waiting
        return Counts(deliveries, notices)


class _Delivery(msgspec.Struct, frozen=True):
    """The part of a pending delivery that counts.

    :source: zaqar/notification/pending_delivery
    """

    project: str
    queue: str
    subscription: str
    first_at: int
    messages: list[msgspec.Raw] = []
    kind: str = 'queue'
    places: list[int] = []
    sockets: list[tuple[str, str, int]] = []


class _Shared(msgspec.Struct, frozen=True):
    """One of many subscriptions, or with messages that are elsewhere."""

    pending: _Delivery
    messages: list[msgspec.Raw] = []


_DECODER = msgspec.json.Decoder(_Delivery)
_SHARED = msgspec.json.Decoder(_Shared)


def _of_delivery(
    message: Message, cipher: Cipher
) -> Iterator[tuple[Any, Waiting]]:
    with contextlib.suppress(outbox_records.Unreadable):
        record, count = outbox_records.decode(cipher, message, _read)
        waiting = Waiting(count, record.first_at)
        scope = outbox_notices.scope_of(record)
        # A request for confirmation has none.
        if count and not record.sockets:
            yield (scope, record.subscription), waiting
        for _, subscription, _ in record.sockets:
            yield (scope, subscription), waiting


def _read(text: bytes) -> tuple[_Delivery, int]:
    """Return a pending delivery, and how many messages it has."""
    if not text.startswith(outbox_notices.SHARED):
        record = _DECODER.decode(text)
        return record, len(record.messages)
    shared = _SHARED.decode(text)
    return shared.pending, len(shared.messages or shared.pending.places)


def _of_notice(
    message: Message, cipher: Cipher
) -> Iterator[tuple[Any, Waiting]]:
    with contextlib.suppress(outbox_records.Unreadable):
        notice = outbox_notices.read(cipher, message)
        is_fanned_out = message.reason == outbox_notices.FANNED_OUT
        if isinstance(notice, PostNotice) and not is_fanned_out:
            waiting = Waiting(len(notice.messages), message.created_at)
            yield outbox_notices.scope_of(notice), waiting
