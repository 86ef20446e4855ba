# SPDX-License-Identifier: Apache-2.0
"""Claims on pending deliveries, and on notices, that this process holds.

All of it belongs to the thread of the store.
"""

import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Sequence

from zaqar.controllers import outbox_records
from zaqar.controllers.message_encryption import Cipher
from zaqar.errors import StoreUnavailable
from zaqar.notification import unreadable_outbox_records
from zaqar.notification.claimed_delivery_and_lease import (
    LEASE,
    UNIT,
    ClaimedDelivery,
    Lease,
)
from zaqar.notification.notice_subscribers_and_filters import NoticeDeliveries
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.referenced_notices import ReferencedNotices
from zaqar.objects import Act, Message, Settlement
from zaqar.storage.abstract_stores import OUTBOX, PENDING, MessageStore

LOG = logging.getLogger(__name__)

#: Milliseconds between two renewals.
RENEW = 10_000

#: Maximum number of deliveries per claim.
BATCH = 100


class PendingClaims:
    """Claims pending deliveries; releases what is not finished.

    :param pool: its name
    :param notices: those that they refer to
    """

    def __init__(
        self, pool: str, cipher: Cipher, notices: ReferencedNotices
    ) -> None:
        self._pool = pool
        self._cipher = cipher
        self._notices = notices
        self._leases: set[Lease] = set()

    @property
    def weight(self) -> int:
        """Weight of the deliveries that are not finished."""
        return sum(lease.weight for lease in self._leases)

    def take(self, store: MessageStore) -> tuple[list[ClaimedDelivery], bool]:
        """Claim deliveries; return them, and whether more may wait."""
        now = store.clock.now()
        claim_id = secrets.token_hex(16)
        claim = store.claim(
            PENDING,
            now=now,
            claim_id=claim_id,
            ttl=LEASE,
            grace=LEASE,
            limit=BATCH,
        )
        if claim is None:
            return [], False
        # What none of it is made of is released.
        lease = Lease(
            PENDING, claim_id, now, {one.id for one in claim.messages}
        )
        self._leases.add(lease)
        readable, unreadable = outbox_records.read_all(
            claim.messages,
            lambda message: PendingDelivery.read(self._cipher, message),
        )
        loaded = self._notices.load(store, readable)
        if unreadable := unreadable + loaded.unreadable:
            self._requeue(store, lease, unreadable)
        if loaded.repeated:
            ids = [message.id for message in loaded.repeated]
            LOG.warning('%d deliveries have been made before', len(ids))
            store.delete_many(PENDING, ids, now=store.clock.now())
            lease.left.difference_update(ids)
        jobs = self._jobs(
            store,
            lease,
            [(one.id, one.id, pending) for one, pending in loaded.ready],
        )
        return jobs, len(claim.messages) == BATCH

    def take_notices(
        self, store: MessageStore, expansion: NoticeDeliveries
    ) -> list[ClaimedDelivery]:
        """Take the deliveries of notices that are not stored; return them."""
        claim_id = expansion.claim_id
        lease = Lease(OUTBOX, claim_id, expansion.since)
        self._leases.add(lease)
        named = [
            # Apart from those of a former claim that are under way.
            (notice_id, f'{claim_id} {notice_id} {number}', pending)
            for notice_id, deliveries in expansion.unstored.items()
            for number, pending in enumerate(deliveries)
        ]
        jobs = self._jobs(store, lease, named)
        for notice_id, open_ones in lease.open.items():
            self._notices.add(notice_id, [job.name for job in open_ones])
        return jobs

    def unstored(self) -> Counter[str]:
        """Return the weight of unstored deliveries under way, by project.

        Of those that are not slow.
        """
        weights: Counter[str] = Counter()
        for lease in self._leases:
            if lease.qid == OUTBOX:
                for jobs in lease.open.values():
                    for job in jobs:
                        if not (job.is_slow or job.is_decided):
                            weights[job.project] += job.weight
        return weights

    def renew(self, store: MessageStore) -> None:
        """Renew claims that would lapse soon."""
        now = store.clock.now()
        for lease in list(self._leases):
            if now - lease.renewed_at < RENEW or not lease.open:
                continue
            # By themselves: others of the claim are held for their own time.
            ids = list(lease.open)
            extended = [Settlement(one, Act.EXTEND, LEASE) for one in ids]
            held = store.settle(lease.qid, lease.claim_id, extended, now=now)
            lease.renewed_at = now
            lost = [
                one
                for one, is_held in zip(
                    ids, held or [False] * len(ids), strict=True
                )
                if not is_held
            ]
            for one in lost:
                # Others delete it.
                lease.lose(one)
                self._notices.forget(one)
            if lost:
                LOG.warning(
                    'A claim on deliveries has expired; they may be repeated'
                )

    def end_finished(self, store: MessageStore) -> None:
        """End the claims that nothing is done for any more."""
        for lease in [one for one in self._leases if not one.open]:
            self._end(store, lease)

    def end_all(self, store: MessageStore) -> None:
        """Release all that is claimed."""
        for lease in list(self._leases):
            self._end(store, lease)

    def _end(self, store: MessageStore, lease: Lease) -> None:
        if ids := [*lease.left, *lease.open]:
            store.settle(
                lease.qid,
                lease.claim_id,
                [Settlement(one, Act.RELEASE) for one in ids],
                now=store.clock.now(),
            )
        self._leases.discard(lease)

    def _jobs(
        self,
        store: MessageStore,
        lease: Lease,
        named: Sequence[tuple[str, str, PendingDelivery]],
    ) -> list[ClaimedDelivery]:
        """Return deliveries to be made.

        :param named: with the ids of the claimed messages, and their names
        """
        sharing = Counter(pending.source for _, _, pending in named)
        # Those without a source share nothing.
        sharing[''] = 1
        jobs = []
        for claimed_id, name, pending in named:
            size = sum(one.size for one in pending.messages)
            job = ClaimedDelivery(
                pending,
                claimed_id,
                name,
                lease,
                store,
                attempt=pending.attempt,
                pool=self._pool,
                weight=1 + size // sharing[pending.source] // UNIT,
            )
            lease.add(job)
            jobs.append(job)
        return jobs

    def _requeue(
        self, store: MessageStore, lease: Lease, unreadable: Sequence[Message]
    ) -> None:
        ids = [message.id for message in unreadable]
        with contextlib.suppress(StoreUnavailable):
            unreadable_outbox_records.requeue(store, PENDING, unreadable)
            store.delete_many(PENDING, ids, now=store.clock.now())
            lease.left.difference_update(ids)
