# SPDX-License-Identifier: Apache-2.0
"""The limit of pending deliveries per project: those beyond are given up."""

import logging
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.outbox_records import Unreadable
from zaqar.notification import notifier_metrics
from zaqar.notification.claimed_delivery_and_lease import LEASE
from zaqar.notification.pending_delivery import (
    PendingDelivery,
    stored_messages,
)
from zaqar.notification.referenced_notices import ReferencedNotices
from zaqar.objects import Message
from zaqar.storage.abstract_stores import PENDING, MessageStore

LOG = logging.getLogger(__name__)

#: Deliveries given up at a time: their dead letters take a while to store.
BATCH = 100


def trim(
    cipher: Cipher,
    store: MessageStore,
    limit: int,
    drop: Callable[[PendingDelivery, int], None],
    pause: Callable[[], None] = lambda: None,
    notices: ReferencedNotices | None = None,
) -> int:
    """Give up deliveries of projects that have more than ``limit``.

    Those that have failed already go first, the oldest of them before the
    others, since new ones may still arrive. What a notifier has claimed is
    under way and stays, though it counts.

    :param drop: records that a delivery is given up, at a moment
    :param pause: called now and then, for work that cannot wait
    :param notices: has the messages of some
    :returns: how many were given up
    :raises StoreUnavailable: some may have been given up
    """
    counts: Counter[str] = Counter()
    by_project: dict[str, list[tuple[bool, int, str]]] = defaultdict(list)
    for message in stored_messages(store, pause):
        try:
            pending = PendingDelivery.read(cipher, message)
        except Unreadable:
            continue
        counts[pending.project] += 1
        if message.claim_id is None:
            is_fresh = pending.attempt == 1 and not pending.deferrals
            by_project[pending.project].append(
                (is_fresh, pending.first_at, message.id)
            )
    notices = notices or ReferencedNotices(cipher)
    dropped = 0
    for project, waiting in by_project.items():
        surplus = sorted(waiting)[: max(0, counts[project] - limit)]
        ids = [message_id for _, _, message_id in surplus]
        given_up = 0
        for start in range(0, len(ids), BATCH):
            messages = _taken(store, ids[start : start + BATCH])
            now = store.clock.now()
            surplus_ones = [
                (message, PendingDelivery.read(cipher, message))
                for message in messages
            ]
            for _, pending in notices.load(store, surplus_ones).ready:
                # Before it is deleted, so that it is repeated after a crash.
                for single in pending.singles():
                    drop(single, now)
            taken = [message.id for message in messages]
            store.delete_many(PENDING, taken, now=store.clock.now())
            notices.finish(store, taken)
            given_up += len(taken)
            pause()
        if given_up:
            LOG.error(
                'Project %s has more than %d deliveries waiting; %d are given '
                'up ([notification] max_outbox_per_project)',
                project,
                limit,
                given_up,
            )
            notifier_metrics.record('deliveries', given_up, 'any', 'dropped')
            dropped += given_up
    return dropped


def _taken(store: MessageStore, ids: Sequence[str]) -> Sequence[Message]:
    """Return those of some deliveries that no notifier makes meanwhile.

    Those that are due are claimed; others are due only after a claim would
    have ended.
    """
    now = store.clock.now()
    claim = store.claim(
        PENDING,
        now=now,
        claim_id=secrets.token_hex(16),
        ttl=LEASE,
        grace=LEASE,
        limit=len(ids),
        only=ids,
    )
    claimed = claim.messages if claim else ()
    delayed = [
        message
        for message in store.get(PENDING, ids, now=now)
        if message.claim_id is None
        and (message.visible_at or 0) > now + LEASE * 1000
    ]
    return [*claimed, *delayed]
