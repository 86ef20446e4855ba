# SPDX-License-Identifier: Apache-2.0
"""Dues that this process holds by claims, until each is done with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from zaqar.errors import StoreUnavailable
from zaqar.models import NewMessage
from zaqar.storage.base import PENDING, MessageStore

LOG = logging.getLogger(__name__)

#: Seconds after which what a dead process held is free again, and the
#: milliseconds between two renewals.
LEASE = 30
RENEW = 10_000


@dataclass(slots=True, eq=False)
class Lease:
    """A claim, and which of its messages are still to be done.

    :ivar is_lost: it has lapsed; others may have what it held
    :ivar left: messages that were put back undone
    """

    claim_id: str
    renewed_at: int
    open: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    is_lost: bool = False


class Leases:
    """Claims of one store, and what is to be written of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()
        self._done: list[str] = []
        self._later: list[tuple[str, Sequence[NewMessage]]] = []
        self.changed = threading.Event()

    def add(self, lease: Lease) -> None:
        """Hold a claim."""
        with self._lock:
            self._leases.add(lease)

    def done(
        self, lease: Lease, message_id: str, later: Sequence[NewMessage] = ()
    ) -> None:
        """Have a message deleted, after others were put in its place."""
        with self._lock:
            if later:
                self._later.append((message_id, later))
            else:
                self._done.append(message_id)
            lease.open.discard(message_id)
        self.changed.set()

    def leave(self, lease: Lease, message_id: str) -> None:
        """Put a message back as it is, for anybody."""
        with self._lock:
            lease.open.discard(message_id)
            lease.left.add(message_id)

    def flush(self, store: MessageStore) -> int:
        """Write what is done; return how many messages that were.

        What fails stays, and is written next time.
        """
        with self._lock:
            done, self._done = self._done, []
            later, self._later = self._later, []
            over = [lease for lease in self._leases if not lease.open]
        try:
            if later:
                store.post(
                    PENDING,
                    [one for _, new in later for one in new],
                    now=store.clock.now(),
                    token=later[0][1][0].rnd + later[-1][1][-1].rnd,
                )
            done += [message_id for message_id, _ in later]
            later = []
            if done:
                store.delete_many(PENDING, done, now=store.clock.now())
        except StoreUnavailable:
            with self._lock:
                self._done = done + self._done
                self._later = later + self._later
            raise
        self._settle(store, over)
        return len(done)

    def renew(self, store: MessageStore) -> None:
        """Let claims live on that would lapse soon."""
        now = store.clock.now()
        for lease in self._every():
            if now - lease.renewed_at < RENEW:
                continue
            if store.renew(
                PENDING, lease.claim_id, now=now, ttl=LEASE, grace=LEASE
            ):
                lease.renewed_at = now
            else:
                LOG.warning('A claim has lapsed; deliveries may be repeated')
                lease.is_lost = True
                self._forget([lease])

    def release(self, store: MessageStore) -> None:
        """Give everything back at once."""
        for lease in self._every():
            store.release(PENDING, lease.claim_id, now=store.clock.now())
        self._forget(self._every())

    def _settle(self, store: MessageStore, over: Sequence[Lease]) -> None:
        """Forget claims that are done with; free what they left."""
        for lease in over:
            if lease.left:
                store.release(PENDING, lease.claim_id, now=store.clock.now())
        self._forget(over)

    def _every(self) -> list[Lease]:
        with self._lock:
            return list(self._leases)

    def _forget(self, over: Iterable[Lease]) -> None:
        with self._lock:
            self._leases.difference_update(over)
