# SPDX-License-Identifier: Apache-2.0
"""Fan-out of notices to pending deliveries, one per subscriber.

Notices are claimed. Where all deliveries of one are likely to begin soon, they
are made at once, and the notice stays claimed until the last one ends. Others
are stored, and then the notice is deleted. If a notifier dies in between, the
next one repeats this: its deliveries have the same ids and, if nothing else
came in between, the same token, so that the store recognizes them. What
exceeds the share of a project stays claimed meanwhile.
"""

import contextlib
import hashlib
import itertools
import logging
import math
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from zaqar.controllers import outbox_notices
from zaqar.controllers.call_context import Context
from zaqar.controllers.delivery_attempt_history import Key
from zaqar.controllers.outbox_notices import (
    FANNED_OUT,
    PostNotice,
)
from zaqar.errors import QueueGone
from zaqar.models import (
    Message,
    NewMessage,
    Subscription,
    random_half,
)
from zaqar.notification import notifier_metrics
from zaqar.notification.claimed_delivery import UNIT
from zaqar.notification.fanout_share_per_project import ProjectTurns
from zaqar.notification.notice_deliveries import Evaluations
from zaqar.notification.notice_walk import NoticeWalk
from zaqar.notification.pending_byte_counter import Count, count_nothing
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.referenced_notices import SharedNotices
from zaqar.notification.resend_and_replay import Step
from zaqar.storage.base import GIVEN_UP, OUTBOX, PENDING, MessageStore
from zaqar.storage.splitting_into_posts import batches

LOG = logging.getLogger(__name__)

#: Returns the seconds for which a host has no room for a project, if any.
ExpectedWait = Callable[[str, str], float | None]

#: Takes how many messages the filter of a subscription has excluded.
Filtered = Callable[[Key, int], None]

#: Maximum number of notices per claim, and its seconds.
BATCH = 100
NOTICE_LEASE = 30

#: Maximum number of deliveries of a notice that are not stored: all of them
#: are repeated if this process is killed before the last one ends.
MAX_UNSTORED = 300


@dataclass(frozen=True, slots=True)
class Expansion:
    """Notices whose deliveries are stored.

    :ivar count: the number of all that were claimed
    :ivar fresh: of those that are fanned out now
    :ivar ended: those that nothing refers to
    :ivar deliveries: how many
    :ivar claim_id: that of the notices
    :ivar since: when they were claimed, in milliseconds
    :ivar unstored: the deliveries that the caller has to make, of each notice,
        with its id
    :ivar idle: queues without subscriptions, with the epochs of their flags
    """

    count: int
    fresh: int
    ended: Sequence[str]
    deliveries: int
    claim_id: str
    since: int
    unstored: Sequence[Sequence[tuple[str, PendingDelivery]]]
    idle: Sequence[tuple[str, int]]

    def finish(self, store: MessageStore) -> None:
        """Delete notices, and clear the flags of idle queues."""
        if self.ended:
            store.delete_many(OUTBOX, self.ended, now=store.clock.now())
        notifier_metrics.record('notices', self.fresh)
        for qid, epoch in self.idle:
            with contextlib.suppress(QueueGone):
                store.unmark_subscribed(qid, epoch, now=store.clock.now())


def expand(
    ctx: Context,
    store: MessageStore,
    expected_wait: ExpectedWait = lambda host, project: None,
    filtered: Filtered = lambda key, count: None,
    remember: Callable[[Subscription], None] = lambda subscription: None,
    shared: SharedNotices | None = None,
    turns: ProjectTurns | None = None,
    evaluations: Evaluations | None = None,
    pause: Callable[[], None] = lambda: None,
    count_bytes: Count = count_nothing,
    is_quick: Callable[[str], bool] = lambda host: False,
) -> Expansion | None:
    """Store the deliveries of waiting notices, None if there are none.

    :param remember: called with the subscriptions, which are needed again soon
    :param shared: notices that pending deliveries refer to
    :param turns: the shares of projects, None for all without a limit
    :param evaluations: what filters cost
    :param pause: called now and then, for work that cannot wait
    :param count_bytes: see :mod:`.pending_byte_counter`
    :param is_quick: tells whether deliveries to a host would begin soon: if
        all of a notice would, none is stored, and the notice stays claimed
    """
    shared = shared or SharedNotices(ctx.cipher)
    turns = turns or ProjectTurns.unlimited()
    since = store.clock.now()
    claim = store.claim(
        OUTBOX,
        now=since,
        claim_id=secrets.token_hex(16),
        ttl=NOTICE_LEASE,
        grace=NOTICE_LEASE,
        limit=BATCH,
    )
    pause()
    if claim is None:
        return None
    before = [one.id for one in claim.messages if one.reason == FANNED_OUT]
    shared.check(store, claim.id, before)
    new = [one for one in claim.messages if one.reason != FANNED_OUT]
    readable, unreadable = outbox_notices.read_all(
        new, lambda message: outbox_notices.read(ctx.cipher, message)
    )
    evaluations = evaluations or Evaluations()
    walk = NoticeWalk(ctx, store, turns, evaluations)
    references: list[tuple[str, str]] = []
    tokens: list[str] = []
    sizes: Counter[str] = Counter()
    unstored: list[list[tuple[str, PendingDelivery]]] = []

    def encoded() -> Iterator[NewMessage]:
        for notice_id, made in walk.deliveries(readable):
            first = [*islice(made, MAX_UNSTORED + 1)]
            if (
                first
                and len(first) <= MAX_UNSTORED
                and turns.has_room
                and walk.is_whole(notice_id)
                and all(is_quick(pending.host) for pending in first)
            ):
                unstored.append([(notice_id, one) for one in first])
                # They share the messages.
                weight = len(first) + first[0].size // UNIT
                turns.begin_unstored(first[0].project, len(first), weight)
                continue
            for pending in itertools.chain(first, made):
                wait = expected_wait(pending.host, pending.project)
                turns.store(pending.project, is_due=wait is None)
                record = _encode(ctx, pending, wait)
                references.append((record.rnd, pending.source))
                tokens.append(
                    f'{notice_id}{walk.contents(notice_id)} {pending.name}'
                )
                sizes[pending.project] += pending.size
                yield record

    stored: list[str] = []
    try:
        for batch in batches(encoded()):
            if stored:
                pause()
            names = tokens[len(stored) : len(stored) + len(batch)]
            stored += store.post(
                PENDING, batch, now=store.clock.now(), token=_token(names)
            )
    except BaseException:
        # The next one must not go on behind what is not stored.
        evaluations.undo()
        raise
    # Else they were stored before, perhaps for other subscribers.
    is_new = [random_half(one) for one in stored] == [
        rnd for rnd, _ in references
    ]
    if is_new:
        # At once: who repeats this does not count it.
        for project, size in sizes.items():
            count_bytes(project, size)
    _end_steps(store, walk.steps)
    if unreadable:
        requeue(store, OUTBOX, unreadable)
    for key, count in walk.excluded.items():
        filtered(key, count)
    for one in walk.subscribers.values():
        for subscription in one.notified:
            remember(subscription)
    # What was begun earlier has deliveries that nobody knows of here.
    stay = {source for _, source in references if source} | walk.parts
    left = {message.id for message, _ in walk.left}
    stay -= left
    # Before anything is sent: who repeats this later may have others to fan
    # out as well, and then the store does not recognize these deliveries.
    settlements = [
        *SharedNotices.staying(stay),
        *turns.hold(claim.id, walk.left),
    ]
    if settlements:
        store.settle(OUTBOX, claim.id, settlements, now=store.clock.now())
    for message, notice in readable:
        if message.id in stay and isinstance(notice, PostNotice):
            shared.cache(message.id, notice.messages)
    if is_new:
        shared.add_all(
            stored,
            [
                source if source in stay and source not in walk.parts else ''
                for _, source in references
            ],
        )
    stay |= {deliveries_of_one[0][0] for deliveries_of_one in unstored}
    done = [one.id for one in new if one.id not in left]
    return Expansion(
        len(claim.messages),
        len(done),
        [one for one in done if one not in stay],
        len(stored),
        claim.id,
        since,
        unstored,
        walk.idle,
    )


def requeue(
    store: MessageStore, qid: str, unreadable: Sequence[Message]
) -> None:
    """Store unreadable records again, for a later attempt."""
    now = store.clock.now()
    again = [
        record
        for message in unreadable
        if (record := outbox_notices.requeued(message, now)) is not None
    ]
    _post(store, qid, again, [message.id for message in unreadable])
    notifier_metrics.record('unreadable', len(unreadable))
    LOG.error(
        '%d records of the outbox cannot be read (message_encryption_keys '
        'changed, or a newer release wrote them); %d of them are retried in '
        '%d s, until they expire. The first one is %s.',
        len(unreadable),
        len(again),
        outbox_notices.REQUEUE_SECONDS,
        unreadable[0].id,
    )


def _end_steps(store: MessageStore, steps: Sequence[Step]) -> None:
    """Store what is left of requests, and delete what was sent again."""
    rests = [
        outbox_notices.encode(None, step.rest[0], delay=step.rest[1])
        for step in steps
        if step.rest is not None
    ]
    _post(store, OUTBOX, rests, [*(step.notice for step in steps), OUTBOX])
    if resent := [one for step in steps for one in step.resent]:
        store.delete_many(GIVEN_UP, resent, now=store.clock.now())


def _post(
    store: MessageStore,
    qid: str,
    messages: Iterable[NewMessage],
    ids: Sequence[str],
) -> None:
    """Store what takes the place of messages with these ids."""
    for number, batch in enumerate(batches(messages)):
        store.post(
            qid,
            batch,
            now=store.clock.now(),
            token=_token([str(number), *ids]),
        )


def _token(names: Sequence[str]) -> str:
    """Return what the store recognizes what it has by."""
    return hashlib.sha256('\n'.join(names).encode()).hexdigest()


def _encode(
    ctx: Context, pending: PendingDelivery, wait: float | None
) -> NewMessage:
    """Encode a delivery, deferred if its host has no room."""
    ttl, delay = outbox_notices.LIFETIME, 0
    if wait is not None:
        pending.deferrals = 1
        delay = math.ceil(wait * (1 + random.random()))
    return pending.to_store(ctx.cipher, ttl=ttl, delay=delay)
