# SPDX-License-Identifier: Apache-2.0
"""Claims on pending deliveries, and on notices, that this process holds.

All of it belongs to the thread of the store.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence

from zaqar.controllers import outbox_notices
from zaqar.controllers.body_encryption import Cipher
from zaqar.errors import StoreUnavailable
from zaqar.models import Act, Message, Settlement
from zaqar.notification import fanout
from zaqar.notification.claimed_delivery import (
    LEASE,
    ClaimedDelivery,
    ClaimedNotice,
    Lease,
)
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.referenced_notices import SharedNotices
from zaqar.storage.base import OUTBOX, PENDING, MessageStore

LOG = logging.getLogger(__name__)

#: Milliseconds between two renewals.
RENEW = 10_000

#: Maximum number of deliveries per claim.
BATCH = 100


class PendingClaims:
    """Claims pending deliveries; releases what is not finished.

    :param pool: its name
    :param shared: notices that they refer to
    """

    def __init__(
        self, pool: str, cipher: Cipher, shared: SharedNotices
    ) -> None:
        self._pool = pool
        self._cipher = cipher
        self._shared = shared
        self._leases: set[Lease] = set()

    @property
    def weight(self) -> int:
        """Weight of the deliveries that are not finished."""
        return sum(sum(lease.open.values()) for lease in self._leases)

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
        lease = Lease(claim_id, now, {one.id: 1 for one in claim.messages})
        self._leases.add(lease)
        try:
            jobs = self._jobs(store, lease, claim.messages)
        except BaseException:
            # Nobody will finish them; they would be renewed for ever.
            lease.left.update(lease.open)
            lease.open.clear()
            raise
        return jobs, len(claim.messages) == BATCH

    def take_notices(
        self,
        store: MessageStore,
        claim_id: str,
        since: int,
        unstored: Iterable[Sequence[tuple[str, PendingDelivery]]],
    ) -> list[ClaimedDelivery]:
        """Take deliveries, each with the id of its notice; return them.

        :param since: when the notices were claimed, in milliseconds
        :param unstored: the deliveries of each notice
        """
        lease = Lease(claim_id, since)
        self._leases.add(lease)
        jobs: list[ClaimedDelivery] = []
        for deliveries in unstored:
            notice_id, first = deliveries[0]
            notice = ClaimedNotice(notice_id, claim_id, first.project)
            lease.notices.append(notice)
            named = [
                # Apart from those of a former claim that are under way.
                (f'{claim_id} {notice_id} {number}', pending)
                for number, (_, pending) in enumerate(deliveries)
            ]
            made = self._claimed(store, lease, named)
            for job in made:
                job.notice = notice
            notice.open.update(made)
            self._shared.add(notice_id, [one for one, _ in named])
            jobs += made
        return jobs

    def unstored(self) -> Counter[str]:
        """Return the weight of the deliveries of notices, by project."""
        weights: Counter[str] = Counter()
        for lease in self._leases:
            for notice in lease.notices:
                weights[notice.project] += notice.weight
        return +weights

    def renew(self, store: MessageStore) -> None:
        """Renew claims that would lapse soon."""
        now = store.clock.now()
        for lease in list(self._leases):
            if now - lease.renewed_at < RENEW:
                continue
            if not self._renew(store, lease, now):
                LOG.warning(
                    'A claim on deliveries has expired; they may be repeated'
                )
            lease.renewed_at = now

    def end_finished(self, store: MessageStore) -> None:
        """End the claims that nothing is done for any more."""
        finished = [lease for lease in self._leases if not lease.open]
        self._end(store, [lease for lease in finished if lease.left])
        self._leases.difference_update(finished)

    def end_all(self, store: MessageStore) -> None:
        """Release all that is claimed."""
        self._end(store, self._leases)
        self._leases.clear()

    def _renew(self, store: MessageStore, lease: Lease, now: int) -> bool:
        """Renew a claim; return whether nothing of it is lost."""
        if not lease.notices:
            is_held = store.renew(
                PENDING, lease.claim_id, now=now, ttl=LEASE, grace=LEASE
            )
            if not is_held:
                lease.is_lost = True
                self._leases.discard(lease)
            return is_held
        # By themselves: others of the claim are held for their own time.
        held = [one for one in lease.notices if one.open]
        if not held:
            return True
        renewed = store.settle(
            OUTBOX,
            lease.claim_id,
            [Settlement(one.id, Act.EXTEND, LEASE) for one in held],
            now=now,
        )
        lost = [
            one
            for one, is_held in zip(
                held, renewed or [False] * len(held), strict=True
            )
            if not is_held
        ]
        for notice in lost:
            self._lose(lease, notice)
        return not lost

    def _lose(self, lease: Lease, notice: ClaimedNotice) -> None:
        """Leave a notice to others, who delete it."""
        notice.is_lost = True
        lease.notices.remove(notice)
        lease.finish(job.message_id for job in notice.open)
        self._shared.forget(notice.id)

    def _end(self, store: MessageStore, leases: Iterable[Lease]) -> None:
        for lease in leases:
            now = store.clock.now()
            if not lease.notices:
                store.release(PENDING, lease.claim_id, now=now)
            elif held := [one.id for one in lease.notices if one.open]:
                store.settle(
                    OUTBOX,
                    lease.claim_id,
                    [Settlement(one, Act.RELEASE) for one in held],
                    now=now,
                )

    def _jobs(
        self, store: MessageStore, lease: Lease, messages: Sequence[Message]
    ) -> list[ClaimedDelivery]:
        readable, unreadable = outbox_notices.read_all(
            messages,
            lambda message: PendingDelivery.read(self._cipher, message),
        )
        loaded = self._shared.load(store, readable)
        unreadable += loaded.unreadable
        if unreadable:
            self._requeue(store, lease, unreadable)
        if loaded.repeated:
            ids = [message.id for message in loaded.repeated]
            LOG.warning('%d deliveries have been made before', len(ids))
            store.delete_many(PENDING, ids, now=store.clock.now())
            lease.finish(ids)
        ready = [(message.id, pending) for message, pending in loaded.ready]
        return self._claimed(store, lease, ready)

    def _claimed(
        self,
        store: MessageStore,
        lease: Lease,
        ready: Sequence[tuple[str, PendingDelivery]],
    ) -> list[ClaimedDelivery]:
        sharing = Counter(pending.source for _, pending in ready)
        # Those without a source share nothing.
        sharing[''] = 1
        jobs = []
        for message_id, pending in ready:
            size = sum(one.size for one in pending.messages)
            job = ClaimedDelivery(
                pending,
                message_id,
                lease,
                store,
                attempt=pending.attempt,
                pool=self._pool,
                held_bytes=size // sharing[pending.source],
            )
            lease.open[message_id] = job.weight
            jobs.append(job)
        return jobs

    def _requeue(
        self, store: MessageStore, lease: Lease, unreadable: Sequence[Message]
    ) -> None:
        ids = [message.id for message in unreadable]
        try:
            fanout.requeue(store, PENDING, unreadable)
            store.delete_many(PENDING, ids, now=store.clock.now())
        except StoreUnavailable:
            lease.left.update(ids)
        lease.finish(ids)
