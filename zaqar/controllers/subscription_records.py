# SPDX-License-Identifier: Apache-2.0
"""Records of subscriptions, two for each.

The subscription under its id, which begins with the time of its creation, so
that names are in order; and one under a digest of the subscriber, which names
the id and keeps subscribers unique. The second is made first, and whoever
finds it without the first completes it. A change of the subscriber takes the
new name first and gives the old one back last; whoever finds a name that
belongs to a subscription of another subscriber waits for that change, or takes
the name over when it has died.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zaqar.controllers import subscription_expiry, trusts
from zaqar.controllers.context import Context
from zaqar.errors import Conflict, NotFound
from zaqar.models import Kind, Record, Scope, Subscription
from zaqar.storage.base import ManagementStore
from zaqar.storage.records import Data, repeat, update

#: Kinds of records.
SUBSCRIPTION = 'subscription'
SUBSCRIBER = 'subscriber'
DELIVERIES = 'deliveries'

#: Records read at a time while looking for live ones.
BATCH = 100

#: Records that one list looks at.
MOST_SCANNED = 1000

#: Milliseconds after which a change that is under way has died.
STALE = 60_000

_ID = re.compile(r'[0-9a-f]{32}')


def parent_of(scope: Scope) -> str:
    """Return the parent of all records of the subscriptions to a queue."""
    # The name holds no slash, so no two scopes share a parent.
    return f'{scope.kind}/{scope.name}/{scope.project}'


def is_id(text: str) -> bool:
    """Tell whether a text can be the id of a subscription."""
    return bool(_ID.fullmatch(text))


def live(ctx: Context, scope: Scope, now: int) -> Iterator[Subscription]:
    """Yield live subscriptions in order; remove dead ones on the way."""
    marker: str | None = None
    while True:
        subscriptions, marker = page(ctx, scope, now, marker, BATCH)
        yield from subscriptions
        if marker is None:
            return


def page(
    ctx: Context, scope: Scope, now: int, marker: str | None, size: int
) -> tuple[Sequence[Subscription], str | None]:
    """Return live subscriptions behind a marker; remove dead ones there.

    Looks at :data:`MOST_SCANNED` records, roughly, so that one request does
    not remove all of the many that may have expired at the same time. What is
    removed has expired by the store's own clock, which is only asked if
    anything seems to have.

    :returns: up to ``size``, and where to go on; None at the end
    """
    store, parent = ctx.catalogue.management, parent_of(scope)
    live_ones: list[Subscription] = []
    store_now: int | None = None
    for _ in range(MOST_SCANNED // BATCH):
        records = store.list(SUBSCRIPTION, parent, after=marker, limit=BATCH)
        for record in records:
            subscription = _subscription(scope, record)
            if subscription.expires_at <= now:
                if store_now is None:
                    store_now = store.clock.server_now()
                if subscription.expires_at <= store_now:
                    remove(ctx, scope, subscription.id)
                continue
            live_ones.append(subscription)
            if len(live_ones) == size:
                return live_ones, subscription.id
        if len(records) < BATCH:
            return live_ones, None
        marker = records[-1].name
    return live_ones, marker


def find(
    store: ManagementStore, scope: Scope, subscription_id: str, now: int
) -> Subscription | None:
    """Return a live subscription with all its options, or None."""
    record = store.get(SUBSCRIPTION, parent_of(scope), subscription_id)
    if record is None:
        return None
    found = _subscription(scope, record)
    return found if found.expires_at > now else None


def current(
    ctx: Context, scope: Scope, subscription_id: str, now: int
) -> tuple[Subscription, int]:
    """Return a live subscription and the version of its record.

    :raises NotFound: there is none
    """
    record = None
    if is_id(subscription_id):
        record = ctx.catalogue.management.get(
            SUBSCRIPTION, parent_of(scope), subscription_id
        )
    if record is not None:
        found = _subscription(scope, record)
        if found.expires_at > now:
            return found, record.version
    raise NotFound(f'Subscription {subscription_id} does not exist')


def enrol(
    ctx: Context, scope: Scope, fresh: Mapping[str, Any], now: int
) -> tuple[str, bool]:
    """Record a subscription, unless its subscriber has one.

    :param fresh: see :func:`data_of`
    :returns: its id, and whether it is a new one
    :raises Conflict: the subscriber has confirmed already
    """
    return repeat(lambda: _subscribe(ctx, scope, fresh, now))


def _subscribe(
    ctx: Context, scope: Scope, fresh: Mapping[str, Any], now: int
) -> tuple[str, bool] | None:
    """Take one step; None if somebody else took one in between."""
    store, parent = ctx.catalogue.management, parent_of(scope)
    name = _digest(fresh['subscriber'])
    new_id = f'{now:012x}{secrets.token_hex(10)}'
    taken = {'id': new_id, 'at': now}
    if store.create(SUBSCRIBER, parent, name, taken):
        return new_id, _create(ctx, scope, new_id, fresh)
    index = store.get(SUBSCRIBER, parent, name)
    if index is None:
        return None
    known_id: str = index.data['id']
    record = store.get(SUBSCRIPTION, parent, known_id)
    if record is None:
        # Its maker is on the way, or died on it: either way it is ours too.
        return known_id, _create(ctx, scope, known_id, fresh)
    found = _subscription(scope, record)
    if found.expires_at <= now:
        remove(ctx, scope, known_id)
        return None
    if found.subscriber != fresh['subscriber']:
        if _is_stale(index, now) and store.replace(
            SUBSCRIBER, parent, name, taken, version=index.version
        ):
            return new_id, _create(ctx, scope, new_id, fresh)
        return None
    if found.confirmed:
        raise _exists(scope)
    return known_id, False


def _create(
    ctx: Context, scope: Scope, subscription_id: str, fresh: Mapping[str, Any]
) -> bool:
    store = ctx.catalogue.management
    subscription_expiry.add(store, scope, subscription_id, fresh['expires_at'])
    return store.create(SUBSCRIPTION, parent_of(scope), subscription_id, fresh)


def replace(
    ctx: Context,
    scope: Scope,
    old: Subscription,
    data: Mapping[str, Any],
    version: int,
) -> bool:
    """Record other data, if nobody changed the record since it was read.

    Another subscriber has to confirm anew.

    :raises Conflict: the new subscriber has a subscription already
    """
    store, parent = ctx.catalogue.management, parent_of(scope)
    moves = data['subscriber'] != old.subscriber
    if moves:
        _take_name(ctx, scope, data['subscriber'], old.id)
        data = {**data, 'confirmed': False}
    lasts = data['expires_at'] != old.expires_at
    if lasts:
        subscription_expiry.add(store, scope, old.id, data['expires_at'])
    done = store.replace(SUBSCRIPTION, parent, old.id, data, version=version)
    if lasts and done:
        subscription_expiry.remove(store, old.id, old.expires_at)
    if moves and done:
        _drop_name(ctx, scope, old.subscriber, old.id)
    # If not, the name stays taken: perhaps by the same change, sent twice.
    return done


def remove(ctx: Context, scope: Scope, subscription_id: str) -> None:
    """End a subscription; an absent one is fine."""
    if not is_id(subscription_id):
        return
    store, parent = ctx.catalogue.management, parent_of(scope)
    gone = store.delete(SUBSCRIPTION, parent, subscription_id)
    if gone is not None:
        _drop_name(ctx, scope, gone.data['subscriber'], subscription_id)
        subscription_expiry.remove(
            store, subscription_id, gone.data['expires_at']
        )
        trusts.end(ctx.trusts, (gone.data['options'] or {}).get(trusts.OPTION))
    store.delete(DELIVERIES, parent, subscription_id)


def sweep(ctx: Context, batch: int) -> int:
    """Remove what has ended and nobody has looked at since.

    Its trust ends with it.

    :returns: how many were looked at; fewer than ``batch`` means clean
    """
    store = ctx.catalogue.management
    now = store.clock.server_now()
    count = 0
    for expiry in subscription_expiry.past(store, now, batch):
        count += 1
        scope, found = expiry.scope, expiry.subscription_id
        record = store.get(SUBSCRIPTION, parent_of(scope), found)
        if record is not None and record.data['expires_at'] <= now:
            remove(ctx, scope, found)
        store.delete(
            subscription_expiry.KIND, subscription_expiry.PARENT, expiry.name
        )
    return count


def clear(ctx: Context, scope: Scope) -> None:
    """End all subscriptions of a queue or topic."""
    store, parent = ctx.catalogue.management, parent_of(scope)
    for kind in (SUBSCRIPTION, SUBSCRIBER, DELIVERIES):
        while records := store.list(kind, parent, after=None, limit=BATCH):
            for record in records:
                store.delete(kind, parent, record.name)
                if kind == SUBSCRIPTION:
                    ends_at = record.data['expires_at']
                    subscription_expiry.remove(store, record.name, ends_at)
                options = record.data.get('options') or {}
                trusts.end(ctx.trusts, options.get(trusts.OPTION))


def data_of(found: Subscription) -> dict[str, Any]:
    """Return what is recorded of a subscription."""
    return {
        'subscriber': found.subscriber,
        'ttl': found.ttl,
        'options': found.options,
        'confirmed': found.confirmed,
        'created_at': found.created_at,
        'expires_at': found.expires_at,
    }


def _take_name(
    ctx: Context, scope: Scope, subscriber: str, subscription_id: str
) -> None:
    store = ctx.catalogue.management
    now = store.clock.now()
    key = (SUBSCRIBER, parent_of(scope), _digest(subscriber))
    taken = {'id': subscription_id, 'at': now}
    for _ in range(ATTEMPTS):
        if store.create(*key, taken):
            return
        index = store.get(*key)
        if index is None:
            continue
        if index.data['id'] != subscription_id:
            _check_free(ctx, scope, subscriber, index, now)
        return {'id': subscription_id, 'at': now}

    update(store, key, edit)


def _check_free(
    ctx: Context, scope: Scope, subscriber: str, index: Record, now: int
) -> None:
    """Return if a name can be had although it belongs to somebody.

    :raises Conflict: it cannot
    """
    holder = ctx.catalogue.management.get(
        SUBSCRIPTION, parent_of(scope), index.data['id']
    )
    if holder is None or holder.data['subscriber'] != subscriber:
        is_free = _is_stale(index, now)
    else:
        is_free = holder.data['expires_at'] <= now
    if not is_free:
        raise _exists(scope)


def _drop_name(
    ctx: Context, scope: Scope, subscriber: str, subscription_id: str
) -> None:
    store, parent = ctx.catalogue.management, parent_of(scope)
    name = _digest(subscriber)
    index = store.get(SUBSCRIBER, parent, name)
    if index is not None and index.data['id'] == subscription_id:
        store.delete(SUBSCRIBER, parent, name)


def _is_stale(index: Record, now: int) -> bool:
    """Tell whether a name was taken long ago."""
    return now - int(index.data.get('at', 0)) >= STALE


def _subscription(scope: Scope, record: Record) -> Subscription:
    return Subscription(
        record.name, scope, **record.data, version=record.version
    )


def _digest(subscriber: str) -> str:
    return hashlib.sha256(subscriber.encode()).hexdigest()


def _exists(scope: Scope) -> Conflict:
    collection = 'queues' if scope.kind is Kind.QUEUE else 'topics'
    return Conflict(
        'Such subscription already exists. Subscriptions are unique by '
        'project + queue + subscriber URI.',
        headers={'Location': f'/v2/{collection}/{scope.name}/subscriptions'},
    )
