# SPDX-License-Identifier: Apache-2.0
"""From a notice to what is due to each subscriber.

A notice is claimed, its dues are stored, and then it is deleted: who dies in
between leaves it to another, whose dues are the same, under the same ids and,
if nothing came in between, under the same token, so that a store recognises
them.
"""

from __future__ import annotations

import hashlib
import logging
import math
import random
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.controllers import notices, subscription_records
from zaqar.controllers.context import Context
from zaqar.controllers.notices import LIFETIME, ConfirmationRequest, Notice
from zaqar.errors import QueueGone
from zaqar.models import Message, NewMessage, Scope, Subscription
from zaqar.notification import metrics
from zaqar.notification.pending import PendingDelivery, host_of
from zaqar.storage.base import OUTBOX, PENDING, MessageStore

LOG = logging.getLogger(__name__)

Advise = Callable[[str, str], float | None]

#: Notices of one claim, and the seconds it may take.
BATCH = 100
LEASE = 60

#: Dues and bytes of one post, roughly.
MOST = 500
MOST_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class _Listed:
    """Who is subscribed to a queue, as read after the notices."""

    every: Sequence[Subscription]
    told: Sequence[Subscription]


def fan_out(
    ctx: Context,
    store: MessageStore,
    advise: Advise = lambda host, project: None,
) -> int:
    """Expand the notices that wait; return how many there were.

    :param advise: returns the seconds for which a host has no room for a
        project, if so
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
        return 0
    found, unreadable = _read(ctx, claim.messages)
    epochs = _epochs(store, [notice for _, notice in found])
    lists = _lists(ctx, {notices.scope_of(notice) for _, notice in found})
    made = [
        pending
        for message, notice in found
        for pending in _dues(notice, message, lists)
    ]
    ids = [message.id for message in claim.messages]
    _put(ctx, store, made, ids, advise)
    if unreadable:
        put_back(store, OUTBOX, unreadable)
    store.delete_many(OUTBOX, ids, now=store.clock.now())
    metrics.counters().notices.inc(len(ids))
    _silence(store, epochs, lists)
    return len(ids)


def put_back(
    store: MessageStore, qid: str, unreadable: Sequence[Message]
) -> None:
    """Store records anew that cannot be read now, for a later attempt."""
    now = store.clock.now()
    again = [
        record
        for message in unreadable
        if (record := notices.requeued(message, now)) is not None
    ]
    if again:
        ids = [message.id for message in unreadable]
        store.post(qid, again, now=now, token=_token(ids))
    metrics.counters().unreadable.inc(len(unreadable))
    LOG.error(
        '%d records of the outbox cannot be read (message_encryption_keys '
        'changed, or a newer release wrote them); %d of them are retried in '
        '%d s, until they expire. The first one is %s.',
        len(unreadable),
        len(again),
        notices.REQUEUE_SECONDS,
        unreadable[0].id,
    )


def _read(
    ctx: Context, messages: Iterable[Message]
) -> tuple[list[tuple[Message, Notice]], list[Message]]:
    """Return messages with their notices, and those that hold none."""
    found = []
    unreadable = []
    for message in messages:
        try:
            found.append((message, notices.read(ctx.cipher, message)))
        except notices.Unreadable:
            unreadable.append(message)
    return found, unreadable


def _epochs(
    store: MessageStore, found: Sequence[Notice]
) -> Mapping[str, tuple[Scope, int]]:
    """Return marks of queues, read before anybody lists subscriptions."""
    marks: dict[str, tuple[Scope, int]] = {}
    for notice in found:
        if isinstance(notice, ConfirmationRequest) or notice.qid in marks:
            continue
        try:
            epoch = store.subscribed_epoch(notice.qid, now=store.clock.now())
        except QueueGone:
            epoch = 0
        marks[notice.qid] = (notices.scope_of(notice), epoch)
    return marks


def _lists(ctx: Context, scopes: Iterable[Scope]) -> Mapping[Scope, _Listed]:
    now = ctx.catalogue.management.clock.now()
    found = {}
    for scope in scopes:
        every = list(subscription_records.live(ctx, scope, now))
        told = [
            one
            for one in every
            if one.confirmed or not ctx.pipeline.asks(one.subscriber)
        ]
        found[scope] = _Listed(every, told)
    return found


def _dues(
    notice: Notice, message: Message, lists: Mapping[Scope, _Listed]
) -> Iterator[PendingDelivery]:
    scope = notices.scope_of(notice)
    common: dict[str, Any] = {
        'project': scope.project,
        'queue': scope.name,
        'kind': str(scope.kind),
        'first_at': message.created_at,
    }
    if isinstance(notice, ConfirmationRequest):
        for one in lists[scope].every:
            if one.id == notice.subscription:
                # In the lane of its host: one that does not answer holds up
                # no questions to others.
                yield PendingDelivery(
                    id=f'{message.id}.{one.id}',
                    subscription=one.id,
                    host=host_of(one.subscriber),
                    ask=notice,
                    **common,
                )
        return
    for one in lists[scope].told:
        yield PendingDelivery(
            id=f'{message.id}.{one.id}',
            subscription=one.id,
            version=one.version,
            host=host_of(one.subscriber),
            messages=notice.messages,
            sealed=notice.sealed,
            **common,
        )


def _put(
    ctx: Context,
    store: MessageStore,
    made: Sequence[PendingDelivery],
    ids: Sequence[str],
    advise: Advise,
) -> None:
    token = _token(ids)
    kept = (
        _kept(ctx, pending, advise(pending.host, pending.project))
        for pending in made
    )
    for number, part in enumerate(_parts(kept)):
        store.post(
            PENDING,
            part,
            now=store.clock.now(),
            token=f'{number:x}.{token}'[:64],
        )


def _token(ids: Sequence[str]) -> str:
    """Return what the same messages have in common whenever stored."""
    return hashlib.sha256(' '.join(ids).encode()).hexdigest()


def _kept(
    ctx: Context, pending: PendingDelivery, wait: float | None
) -> NewMessage:
    """Encode a delivery, deferred if its host has no room."""
    delay = 0
    if wait is not None:
        pending.deferrals = 1
        delay = math.ceil(wait * (1 + random.random()))
    return pending.to_store(ctx.cipher, ttl=LIFETIME, delay=delay)


def _parts(messages: Iterable[NewMessage]) -> Iterator[list[NewMessage]]:
    part: list[NewMessage] = []
    size = 0
    for message in messages:
        if part and (
            len(part) >= MOST or size + len(message.body) > MOST_BYTES
        ):
            yield part
            part, size = [], 0
        part.append(message)
        size += len(message.body)
    if part:
        yield part


def _silence(
    store: MessageStore,
    epochs: Mapping[str, tuple[Scope, int]],
    lists: Mapping[Scope, _Listed],
) -> None:
    """Clear the marks of queues to which nobody is subscribed."""
    for qid, (scope, epoch) in epochs.items():
        if epoch and not lists[scope].every:
            try:
                store.unmark_subscribed(qid, epoch, now=store.clock.now())
            except QueueGone:
                continue
