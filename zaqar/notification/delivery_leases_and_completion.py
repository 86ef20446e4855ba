# SPDX-License-Identifier: Apache-2.0
"""Claims on pending deliveries that this process holds."""

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from zaqar.errors import StoreUnavailable
from zaqar.models import NewMessage
from zaqar.storage.base import PENDING, MessageStore
from zaqar.storage.splitting_into_posts import batches

LOG = logging.getLogger(__name__)

#: Seconds after which the claims of a dead process lapse, and milliseconds
#: between two renewals.
LEASE = 30
RENEW = 10_000


@dataclass(slots=True, eq=False)
class Lease:
    """A claim, and the messages in it that are not finished.

    :ivar is_lost: it has lapsed; other notifiers may have its messages
    :ivar left: messages to release
    """

    claim_id: str
    renewed_at: int
    open: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    is_lost: bool = False


class Leases:
    """The claims on one store, and changes that are to be written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()
        self._done: list[str] = []
        self._replaced: list[tuple[str, Sequence[NewMessage]]] = []
        self.changed = threading.Event()

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._leases.add(lease)

    def done(
        self,
        lease: Lease,
        message_id: str,
        replacements: Sequence[NewMessage] = (),
    ) -> None:
        """Have a message deleted, once its replacements are stored."""
        with self._lock:
            if replacements:
                self._replaced.append((message_id, replacements))
            else:
                self._done.append(message_id)
            lease.open.discard(message_id)
        self.changed.set()

    def leave(self, lease: Lease, message_id: str) -> None:
        """Release a message as it is, with the others of its claim."""
        with self._lock:
            lease.open.discard(message_id)
            lease.left.add(message_id)

    def flush(self, store: MessageStore) -> None:
        """Write finished messages; those that fail are written next time."""
        with self._lock:
            done, self._done = self._done, []
            replaced, self._replaced = self._replaced, []
            finished = [lease for lease in self._leases if not lease.open]
        try:
            for batch in batches(one for _, new in replaced for one in new):
                store.post(
                    PENDING,
                    batch,
                    now=store.clock.now(),
                    token=batch[0].rnd + batch[-1].rnd,
                )
            done += [message_id for message_id, _ in replaced]
            replaced = []
            if done:
                store.delete_many(PENDING, done, now=store.clock.now())
        except StoreUnavailable:
            with self._lock:
                self._done = done + self._done
                self._replaced = replaced + self._replaced
            raise
        for lease in finished:
            if lease.left:
                store.release(PENDING, lease.claim_id, now=store.clock.now())
        self._forget(finished)

    def renew(self, store: MessageStore) -> None:
        """Renew claims that would lapse soon."""
        now = store.clock.now()
        for lease in self._every():
            if now - lease.renewed_at < RENEW:
                continue
            if store.renew(
                PENDING, lease.claim_id, now=now, ttl=LEASE, grace=LEASE
            ):
                lease.renewed_at = now
            else:
                LOG.warning(
                    'A claim on deliveries has expired; they may be repeated'
                )
                lease.is_lost = True
                self._forget([lease])

    def release(self, store: MessageStore) -> None:
        """Release all claims at once."""
        for lease in self._every():
            store.release(PENDING, lease.claim_id, now=store.clock.now())
        self._forget(self._every())

    def _every(self) -> list[Lease]:
        with self._lock:
            return list(self._leases)

    def _forget(self, leases: Iterable[Lease]) -> None:
        with self._lock:
            self._leases.difference_update(leases)
