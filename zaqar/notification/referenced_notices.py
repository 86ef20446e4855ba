# SPDX-License-Identifier: Apache-2.0
"""Notices that stay in the outbox while pending deliveries refer to them.

A body is stored once for all subscribers. A notice that was fanned out is
delayed, with a reason by which it is recognized, and deleted when the last
delivery that refers to it is finished: at once if this notifier finishes all
of them. Otherwise it is found when its delay ends: then it is deleted, or
delayed again while anything refers to it.

Everything here runs in the thread that reads the outbox of the store.

:source: reference/delivery, "Outbox and deliveries"
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

from zaqar.controllers import outbox_notices
from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.outbox_notices import (
    FANNED_OUT,
    Notice,
    Payload,
    PostNotice,
)
from zaqar.controllers.outbox_records import Unreadable
from zaqar.notification.pending_delivery import (
    PendingDelivery,
    stored_messages,
)
from zaqar.objects import Act, Message, Settlement
from zaqar.storage.abstract_stores import OUTBOX, MessageStore

LOG = logging.getLogger(__name__)

#: Bytes of the bodies of a post that are not worth a reference.
SHORT = 1024

#: Seconds after which a notice is looked at again.
DELAY = 600

#: Least seconds between two readings of all pending deliveries, and their
#: share of the time.
SCAN_INTERVAL = 60.0
SCAN_SHARE = 0.05

#: Bytes of messages in memory, and pending deliveries that are waited for.
MAX_CACHED = 32 * 1024 * 1024
MAX_AWAITED = 200_000


@dataclass(frozen=True, slots=True)
class Loaded:
    """Claimed pending deliveries with their messages, and others.

    :ivar ready: with their messages
    :ivar unreadable: whose notice cannot be read
    :ivar repeated: without a notice: that is deleted once all are delivered
    """

    ready: list[tuple[Message, PendingDelivery]]
    unreadable: list[Message]
    repeated: list[Message]


def is_long(notice: Notice) -> bool:
    """Return whether pending deliveries refer to a notice."""
    return isinstance(notice, PostNotice) and _size(notice.messages) > SHORT


class ReferencedNotices:
    """The referenced notices of one store, as far as they are known here."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher
        self._messages: OrderedDict[str, list[Payload]] = OrderedDict()
        self._cached = 0
        #: By notice the ids of pending deliveries, and by these the notice.
        self._awaited: OrderedDict[str, set[str]] = OrderedDict()
        self._sources: dict[str, str] = {}
        #: Those that are still to be deleted.
        self._ended: set[str] = set()
        self._scan_at = 0.0

    def add(self, source: str, ids: Iterable[str]) -> None:
        """Note pending deliveries that refer to a notice.

        All of a notice at once: if there are too many, all are forgotten, or
        the last of some would take the notice away from the others.
        """
        awaited = self._awaited.setdefault(source, set())
        for message_id in ids:
            awaited.add(message_id)
            self._sources[message_id] = source
        while len(self._sources) > MAX_AWAITED:
            # They are found when their delay ends.
            self.forget(next(iter(self._awaited)))

    def replace(self, message_id: str, ids: Sequence[str]) -> None:
        """Note what was stored in the place of a pending delivery."""
        source = self._sources.get(message_id)
        if source is not None:
            self.add(source, ids)

    def finish(self, store: MessageStore, ids: Iterable[str]) -> Set[str]:
        """Delete the notices of deliveries that are finished; return those.

        :raises StoreUnavailable: the next call deletes them
        """
        for message_id in ids:
            source = self._sources.pop(message_id, None)
            if source is None:
                continue
            awaited = self._awaited[source]
            awaited.discard(message_id)
            if not awaited:
                self.forget(source)
                self._ended.add(source)
        if self._ended:
            ids = [*self._ended]
            store.delete_many(OUTBOX, ids, now=store.clock.now())
        ended, self._ended = self._ended, set()
        return ended

    def forget(self, source: str) -> None:
        """Leave a notice to others."""
        for message_id in self._awaited.pop(source, ()):
            self._sources.pop(message_id, None)
        messages = self._messages.pop(source, None)
        if messages is not None:
            self._cached -= _size(messages)

    def cache(self, source: str, messages: list[Payload]) -> None:
        """Keep the messages of a notice at hand for a while."""
        if source not in self._messages:
            self._messages[source] = messages
            self._cached += _size(messages)
        while self._cached > MAX_CACHED and len(self._messages) > 1:
            _, oldest = self._messages.popitem(last=False)
            self._cached -= _size(oldest)

    def load(
        self,
        store: MessageStore,
        deliveries: Sequence[tuple[Message, PendingDelivery]],
    ) -> Loaded:
        """Load messages of pending deliveries from their notices."""
        sources = {pending.source for _, pending in deliveries} - {''}
        # Apart from the cache, which may drop some of them meanwhile.
        notices: dict[str, list[Payload] | None] = {
            one: self._messages[one] for one in sources & self._messages.keys()
        }
        if missing := list(sources - notices.keys()):
            for message in store.get(OUTBOX, missing, now=store.clock.now()):
                notices[message.id] = self._read(message)
        loaded = Loaded([], [], [])
        for message, pending in deliveries:
            if source := pending.source:
                if source not in notices:
                    loaded.repeated.append(message)
                    continue
                messages = notices[source]
                if messages is None:
                    loaded.unreadable.append(message)
                    continue
                pending.take(messages)
                self.cache(source, messages)
            loaded.ready.append((message, pending))
        return loaded

    @staticmethod
    def staying(ids: Iterable[str]) -> list[Settlement]:
        """Return what lets claimed notices stay in the outbox."""
        return [
            Settlement(one, Act.RELEASE, DELAY, reason=FANNED_OUT)
            for one in ids
        ]

    def check(
        self, store: MessageStore, claim_id: str, ids: Sequence[str]
    ) -> None:
        """Delete claimed notices that nothing refers to; delay the others."""
        waiting = set(ids)
        began = time.monotonic()
        if ids and began >= self._scan_at:
            try:
                waiting &= set(_sources(store, self._cipher))
            except Unreadable:
                LOG.info(
                    'Some pending deliveries cannot be read; notices stay'
                )
            ended = [one for one in ids if one not in waiting]
            if ended:
                store.delete_many(OUTBOX, ended, now=store.clock.now())
            now = time.monotonic()
            self._scan_at = now + max(
                SCAN_INTERVAL, (now - began) / SCAN_SHARE
            )
        if waiting:
            staying = self.staying(waiting)
            store.settle(OUTBOX, claim_id, staying, now=store.clock.now())

    def _read(self, message: Message) -> list[Payload] | None:
        try:
            notice = outbox_notices.read(self._cipher, message)
        except Unreadable:
            return None
        return notice.messages if isinstance(notice, PostNotice) else None


def _sources(store: MessageStore, cipher: Cipher) -> Iterator[str]:
    """Yield the notices that any pending deliveries refer to.

    What takes the place of another one is stored later in the queue, before
    that is deleted: so one of the two is read.

    :raises Unreadable: there may be others
    """
    for message in stored_messages(store):
        yield PendingDelivery.read(cipher, message).source


def _size(messages: Iterable[Payload]) -> int:
    return sum(one.size for one in messages)
