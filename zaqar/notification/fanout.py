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
from typing import Any

from zaqar.controllers import (
    outbox_notices,
    subscription_filters,
    subscription_records,
)
from zaqar.controllers.call_context import Context
from zaqar.controllers.delivery_attempts import Key
from zaqar.controllers.outbox_notices import (
    ConfirmationRequest,
    Notice,
    PostNotice,
    ReplayRequest,
    ResendRequest,
)
from zaqar.errors import QueueGone
from zaqar.models import Message, NewMessage, Scope, Subscription
from zaqar.notification import delivery_requests, notifier_metrics
from zaqar.notification.delivery_requests import Step
from zaqar.notification.pending_delivery import (
    PendingDelivery,
    delivery_id,
    host_of,
)
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

_FILTERS = subscription_filters.Filters()


@dataclass(frozen=True, slots=True)
class _Subscribers:
    """Subscriptions to a queue, read after the notices.

    :ivar notified: those that have confirmed, or need not
    """

    every: Sequence[Subscription]
    notified: Sequence[Subscription]


@dataclass(frozen=True, slots=True)
class Expansion:
    """Notices whose deliveries are stored.

    :ivar idle: queues without subscriptions, with the epochs of their flags
    """

    ids: Sequence[str]
    idle: Sequence[tuple[str, int]]

    def finish(self, store: MessageStore) -> None:
        """Delete the notices, and clear the flags of idle queues."""
        store.delete_many(OUTBOX, self.ids, now=store.clock.now())
        notifier_metrics.record('notices', len(self.ids))
        for qid, epoch in self.idle:
            with contextlib.suppress(QueueGone):
                store.unmark_subscribed(qid, epoch, now=store.clock.now())


def fan_out(ctx: Context, store: MessageStore) -> int:
    """Fan out waiting notices, and finish; return how many there were."""
    expansion = expand(ctx, store)
    if expansion is None:
        return 0
    expansion.finish(store)
    return len(expansion.ids)


def expand(
    ctx: Context,
    store: MessageStore,
    expected_wait: ExpectedWait = lambda host, project: None,
    filtered: Filtered = lambda key, count: None,
    remember: Callable[[Subscription], None] = lambda subscription: None,
) -> Expansion | None:
    """Store the deliveries of waiting notices, None if there are none.

    :param remember: called with the subscriptions, which are needed again soon
    """
    claim = store.claim(
        OUTBOX,
        now=store.clock.now(),
        claim_id=secrets.token_hex(16),
        ttl=LEASE,
        grace=LEASE,
        limit=BATCH,
    )
    if claim is None:
        return None
    readable, unreadable = outbox_notices.read_all(
        claim.messages,
        lambda message: outbox_notices.read(ctx.cipher, message),
    )
    epochs = _epochs(store, [notice for _, notice in readable])
    scopes = {outbox_notices.scope_of(notice) for _, notice in readable}
    subscribers = _subscribers(ctx, scopes)
    excluded: Counter[Key] = Counter()
    deliveries = (
        _encode(ctx, pending, expected_wait(pending.host, pending.project))
        for message, notice in readable
        for pending in _deliveries(notice, message, subscribers, excluded)
    )
    ids = [message.id for message in claim.messages]
    steps = [*_steps(ctx, store, readable, subscribers, excluded)]
    requested = (
        _encode(ctx, pending, expected_wait(pending.host, pending.project))
        for step in steps
        for pending in step.deliveries
    )
    _post(store, PENDING, itertools.chain(deliveries, requested), ids)
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
    return Expansion(ids, idle)


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


def _subscribers(
    ctx: Context, scopes: Iterable[Scope]
) -> Mapping[Scope, _Subscribers]:
    now = ctx.catalogue.management.clock.now()
    subscribers = {}
    for scope in scopes:
        every = list(subscription_records.live(ctx, scope, now))
        notified = [one for one in every if ctx.pipeline.is_notified(one)]
        subscribers[scope] = _Subscribers(every, notified)
    return subscribers


def _steps(
    ctx: Context,
    store: MessageStore,
    readable: Sequence[tuple[Message, Notice]],
    subscribers: Mapping[Scope, _Subscribers],
    excluded: Counter[Key],
) -> Iterator[Step]:
    """Yield the next steps of requests of owners."""
    size = 0
    for message, notice in readable:
        if not isinstance(notice, ResendRequest | ReplayRequest):
            continue
        scope = outbox_notices.scope_of(notice)
        for one in subscribers[scope].notified:
            if one.id == notice.subscription:
                if size > delivery_requests.MAX_TOGETHER:
                    yield Step(rest=(notice, 0))
                    break
                condition = _FILTERS.of(one)
                step = delivery_requests.step(
                    ctx, store, notice, message, one, condition
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


def _deliveries(
    notice: Notice,
    message: Message,
    subscribers: Mapping[Scope, _Subscribers],
    excluded: Counter[Key],
) -> Iterator[PendingDelivery]:
    scope = outbox_notices.scope_of(notice)
    for subscription, content in _contents(
        notice, subscribers[scope], excluded
    ):
        yield PendingDelivery(
            id=delivery_id(scope, subscription.id, message.id),
            project=scope.project,
            queue=scope.name,
            kind=str(scope.kind),
            subscription=subscription.id,
            version=subscription.version,
            host=host_of(subscription.subscriber),
            first_at=message.created_at,
            **content,
        )


def _contents(
    notice: Notice, subscribers: _Subscribers, excluded: Counter[Key]
) -> Iterator[tuple[Subscription, Mapping[str, Any]]]:
    """Yield subscriptions, each with what it is to be sent of a notice.

    :param excluded: counts what filters have excluded
    """
    if isinstance(notice, ConfirmationRequest):
        for one in subscribers.every:
            if one.id == notice.subscription:
                yield one, {'confirmation': notice}
    if not isinstance(notice, PostNotice):
        return
    bodies = subscription_filters.Bodies(
        [payload.body for payload in notice.messages]
    )
    for one in subscribers.notified:
        messages = notice.messages
        if (condition := _FILTERS.of(one)) is not None:
            places = bodies.matching(condition)
            if len(places) < len(messages):
                excluded[one.scope, one.id] += len(messages) - len(places)
                messages = [messages[place] for place in places]
        if messages:
            yield one, {'messages': messages, 'sealed': notice.sealed}


def _post(
    store: MessageStore,
    qid: str,
    messages: Iterable[NewMessage],
    ids: Sequence[str],
) -> None:
    """Store what was made of messages with these ids."""
    token = hashlib.sha256(' '.join(ids).encode()).hexdigest()
    for number, batch in enumerate(batches(messages)):
        store.post(
            qid,
            batch,
            now=store.clock.now(),
            token=f'{number:x}.{token}'[:64],
        )


def _encode(
    ctx: Context, pending: PendingDelivery, wait: float | None
) -> NewMessage:
    """Encode a delivery, deferred if its host has no room."""
    ttl, delay = outbox_notices.LIFETIME, 0
    if wait is not None:
        pending.deferrals = 1
        delay = math.ceil(wait * (1 + random.random()))
    return pending.to_store(ctx.cipher, ttl=ttl, delay=delay)
