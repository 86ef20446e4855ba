# SPDX-License-Identifier: Apache-2.0
"""Fan-out of notices to pending deliveries, one per subscriber.

Notices are claimed, their deliveries are stored and may be sent, and then the
notices are deleted. If a notifier dies in between, the next one repeats this:
its deliveries have the same ids and, if nothing else came in between, the same
token, so that the store recognizes them.
"""

import contextlib
import hashlib
import itertools
import logging
import math
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from zaqar.controllers import outbox_notices
from zaqar.controllers.call_context import Context
from zaqar.controllers.delivery_attempts import Key
from zaqar.controllers.outbox_notices import (
    FANNED_OUT,
    Notice,
    PostNotice,
    ReplayRequest,
    ResendRequest,
)
from zaqar.errors import QueueGone
from zaqar.models import (
    Message,
    NewMessage,
    Scope,
    Subscription,
    random_half,
)
from zaqar.notification import delivery_requests, notifier_metrics
from zaqar.notification.delivery_ledger import Count, count_nothing
from zaqar.notification.delivery_requests import Step
from zaqar.notification.notice_deliveries import (
    EVALUATED,
    FILTERS,
    Evaluations,
    Subscribers,
    deliveries,
    subscribers_of,
)
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.shared_notices import SharedNotices
from zaqar.storage.base import GIVEN_UP, OUTBOX, PENDING, MessageStore
from zaqar.storage.splitting_into_posts import batches

LOG = logging.getLogger(__name__)

#: Returns the seconds for which a host has no room for a project, if any.
ExpectedWait = Callable[[str, str], float | None]

#: Takes how many messages the filter of a subscription has excluded.
Filtered = Callable[[Key, int], None]

#: Maximum number of notices per claim, and its seconds.
BATCH = 100
LEASE = 60


@dataclass(frozen=True, slots=True)
class Expansion:
    """Notices whose deliveries are stored.

    :ivar count: the number of all that were claimed
    :ivar fresh: of those that were not fanned out before
    :ivar ended: those that nothing refers to
    :ivar deliveries: how many
    :ivar idle: queues without subscriptions, with the epochs of their flags
    :ivar evaluated: what filters have cost, see :class:`Evaluations`
    """

    count: int
    fresh: int
    ended: Sequence[str]
    deliveries: int
    idle: Sequence[tuple[str, int]]
    evaluated: int

    def finish(self, store: MessageStore) -> None:
        """Delete notices, and clear the flags of idle queues."""
        if self.ended:
            store.delete_many(OUTBOX, self.ended, now=store.clock.now())
        notifier_metrics.record('notices', self.fresh)
        for qid, epoch in self.idle:
            with contextlib.suppress(QueueGone):
                store.unmark_subscribed(qid, epoch, now=store.clock.now())


def fan_out(ctx: Context, store: MessageStore) -> int:
    """Fan out waiting notices, and finish; return how many there were."""
    expansion = expand(ctx, store)
    if expansion is None:
        return 0
    expansion.finish(store)
    return expansion.count


def expand(
    ctx: Context,
    store: MessageStore,
    expected_wait: ExpectedWait = lambda host, project: None,
    filtered: Filtered = lambda key, count: None,
    remember: Callable[[Subscription], None] = lambda subscription: None,
    shared: SharedNotices | None = None,
    limit: int = BATCH,
    pause: Callable[[], None] = lambda: None,
    count_bytes: Count = count_nothing,
) -> Expansion | None:
    """Store the deliveries of waiting notices, None if there are none.

    :param remember: called with the subscriptions, which are needed again soon
    :param shared: notices that pending deliveries refer to
    :param pause: called now and then, for work that cannot wait
    :param count_bytes: see :mod:`.delivery_ledger`
    """
    shared = shared or SharedNotices(ctx.cipher)
    claim = store.claim(
        OUTBOX,
        now=store.clock.now(),
        claim_id=secrets.token_hex(16),
        ttl=LEASE,
        grace=LEASE,
        limit=limit,
    )
    if claim is None:
        return None
    before = [one.id for one in claim.messages if one.reason == FANNED_OUT]
    shared.check(store, claim.id, before)
    new = [one for one in claim.messages if one.reason != FANNED_OUT]
    readable, unreadable = outbox_notices.read_all(
        new, lambda message: outbox_notices.read(ctx.cipher, message)
    )
    epochs = _epochs(store, [notice for _, notice in readable])
    scopes = {outbox_notices.scope_of(notice) for _, notice in readable}
    subscribers = subscribers_of(ctx, scopes)
    excluded: Counter[Key] = Counter()

    def go_on() -> None:
        if not store.renew(
            OUTBOX, claim.id, now=store.clock.now(), ttl=LEASE, grace=LEASE
        ):
            LOG.warning('A claim on notices has expired; it may be repeated')
        pause()

    evaluations = Evaluations(go_on)
    steps = [*_steps(ctx, store, readable, subscribers, excluded, evaluations)]
    references: list[tuple[str, str]] = []
    sizes: Counter[str] = Counter()

    def encoded() -> Iterator[NewMessage]:
        for pending in itertools.chain(
            *(
                deliveries(notice, message, subscribers, excluded, evaluations)
                for message, notice in readable
            ),
            *(step.deliveries for step in steps),
        ):
            wait = expected_wait(pending.host, pending.project)
            record = _encode(ctx, pending, wait)
            references.append((record.rnd, pending.source))
            sizes[pending.project] += pending.size
            yield record

    ids = [message.id for message in new]
    stored = _post(store, PENDING, encoded(), ids)
    _end_steps(store, steps, ids)
    if unreadable:
        requeue(store, OUTBOX, unreadable)
    for key, count in excluded.items():
        filtered(key, count)
    for scope in scopes:
        for subscription in subscribers[scope].notified:
            remember(subscription)
    idle = [
        (qid, epoch)
        for qid, (scope, epoch) in epochs.items()
        if epoch and not subscribers[scope].every
    ]
    stay = {source: None for _, source in references if source}
    # Before anything is sent: who repeats this later may have others to fan
    # out as well, and then the store does not recognize these deliveries.
    shared.delay(store, claim.id, list(stay))
    for message, notice in readable:
        if message.id in stay and isinstance(notice, PostNotice):
            shared.cache(message.id, notice.messages)
    if [random_half(one) for one in stored] == [rnd for rnd, _ in references]:
        # Else they were stored before, perhaps for other subscribers.
        shared.add_all(stored, [source for _, source in references])
        for project, size in sizes.items():
            count_bytes(project, size)
    ended = [one for one in ids if one not in stay]
    return Expansion(
        len(claim.messages),
        len(new),
        ended,
        len(stored),
        idle,
        evaluations.spent,
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


def _epochs(
    store: MessageStore, readable: Sequence[Notice]
) -> Mapping[str, tuple[Scope, int]]:
    """Return the epochs of queues, read before their subscriptions.

    A subscription is recorded before its epoch begins, so that it is listed,
    or else the epoch is another one when the flag is cleared.

    :source: reference/storage, "Subscriber flags"
    """
    epochs: dict[str, tuple[Scope, int]] = {}
    for notice in readable:
        if not isinstance(notice, PostNotice) or notice.qid in epochs:
            continue
        try:
            epoch = store.subscribed_epoch(notice.qid, now=store.clock.now())
        except QueueGone:
            epoch = 0
        epochs[notice.qid] = (outbox_notices.scope_of(notice), epoch)
    return epochs


def _steps(
    ctx: Context,
    store: MessageStore,
    readable: Sequence[tuple[Message, Notice]],
    subscribers: Mapping[Scope, Subscribers],
    excluded: Counter[Key],
    evaluations: Evaluations,
) -> Iterator[Step]:
    """Yield the next steps of requests of owners."""
    size = 0
    for message, notice in readable:
        if not isinstance(notice, ResendRequest | ReplayRequest):
            continue
        scope = outbox_notices.scope_of(notice)
        for one in subscribers[scope].notified:
            if one.id == notice.subscription:
                if (
                    size > delivery_requests.MAX_TOGETHER
                    or evaluations.spent > EVALUATED
                ):
                    yield Step(rest=(notice, 0))
                    break
                condition = FILTERS.of(one)
                step = delivery_requests.step(
                    ctx,
                    store,
                    notice,
                    message,
                    one,
                    condition,
                    evaluations.spend,
                )
                size += step.size
                if step.excluded:
                    excluded[scope, one.id] += step.excluded
                yield step


def _end_steps(
    store: MessageStore, steps: Sequence[Step], ids: Sequence[str]
) -> None:
    """Store what is left of requests, and delete what was sent again."""
    rests = [
        outbox_notices.encode(None, step.rest[0], delay=step.rest[1])
        for step in steps
        if step.rest is not None
    ]
    _post(store, OUTBOX, rests, [*ids, OUTBOX])
    if resent := [one for step in steps for one in step.resent]:
        store.delete_many(GIVEN_UP, resent, now=store.clock.now())


def _post(
    store: MessageStore,
    qid: str,
    messages: Iterable[NewMessage],
    ids: Sequence[str],
) -> Sequence[str]:
    """Store what was made of messages with these ids; return its ids."""
    token = hashlib.sha256(' '.join(ids).encode()).hexdigest()
    stored: list[str] = []
    for number, batch in enumerate(batches(messages)):
        stored += store.post(
            qid,
            batch,
            now=store.clock.now(),
            token=f'{number:x}.{token}'[:64],
        )
    return stored


def _encode(
    ctx: Context, pending: PendingDelivery, wait: float | None
) -> NewMessage:
    """Encode a delivery, deferred if its host has no room."""
    ttl, delay = outbox_notices.LIFETIME, 0
    if wait is not None:
        pending.deferrals = 1
        delay = math.ceil(wait * (1 + random.random()))
    return pending.to_store(ctx.cipher, ttl=ttl, delay=delay)
