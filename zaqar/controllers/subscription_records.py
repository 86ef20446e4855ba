# SPDX-License-Identifier: Apache-2.0
"""Records of subscriptions, two for each.

Beside these are one of statistics (:mod:`.subscription_statistics_record`) and
those of indexes (:mod:`.subscription_expiry_and_count_records`), which are
removed with them here.

One has the id as its name, which begins with the time of creation, so that
names are in order. The other one is named after a digest of the subscriber; it
has the id and keeps subscribers unique. The second is created first; a process
that reads it without the first completes it, or takes it over when it is
stale. A change of the subscriber takes the new name first and releases the old
one last; a name whose subscription has another subscriber belongs to such a
change, and may be taken over when that is stale.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from zaqar.controllers import subscription_expiry_and_count_records as indexes
from zaqar.controllers import trust_interface, trusts_to_delete
from zaqar.controllers.caller_and_services import Context
from zaqar.errors import Conflict, NotFound
from zaqar.objects import Data, Kind, Record, Scope, Subscription
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.record_updates_and_listing import repeat, update

#: Kinds of records.
SUBSCRIPTION = 'subscription'
SUBSCRIBER = 'subscriber'
DELIVERIES = 'deliveries'

#: Records read at a time, and at most for a page.
BATCH = 100
MAX_SCANNED = 1000

#: Milliseconds after which a change that is not complete is stale.
STALE = 60_000

_ID = re.compile(r'[0-9a-f]{32}')


def parent_of(scope: Scope) -> str:
    """Return the parent of all records of the subscriptions to a queue."""
    # The name holds no slash, so no two scopes share a parent.
    return f'{scope.kind}/{scope.name}/{scope.project}'


def is_id(text: str) -> bool:
    """Return whether a text can be the id of a subscription."""
    return bool(_ID.fullmatch(text))


def live(ctx: Context, scope: Scope, now: int) -> Iterator[Subscription]:
    """Yield live subscriptions in order; remove expired ones."""
    marker: str | None = None
    while True:
        subscriptions, marker = page(ctx, scope, now, marker, BATCH)
        yield from subscriptions
        if marker is None:
            return


def page(
    ctx: Context, scope: Scope, now: int, marker: str | None, size: int
) -> tuple[Sequence[Subscription], str | None]:
    """Return live subscriptions behind a marker; remove expired ones there.

    Reads about :data:`MAX_SCANNED` records, so that one request does not
    remove all of the many that may expire at the same time. Those that are
    removed have expired by the own clock of the store, which is queried only
    if one seems to have.

    :returns: up to ``size``, and the next marker, None at the end
    """
    store, parent = ctx.catalogue.management, parent_of(scope)
    live_ones: list[Subscription] = []
    store_now: int | None = None
    for _ in range(MAX_SCANNED // BATCH):
        records = store.list(SUBSCRIPTION, parent, after=marker, limit=BATCH)
        for record in records:
            subscription = _subscription(scope, record)
            if subscription.expires_at <= now:
                if store_now is None:
                    store_now = store.clock.server_now()
                if subscription.expires_at <= store_now:
                    remove(ctx, scope, subscription.id, record.version)
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
    subscription = _subscription(scope, record)
    return subscription if subscription.expires_at > now else None


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
        subscription = _subscription(scope, record)
        if subscription.expires_at > now:
            return subscription, record.version
    raise NotFound(f'Subscription {subscription_id} does not exist')


def id_of(ctx: Context, scope: Scope, subscriber: str) -> str | None:
    """Return the id of the subscription of a subscriber, if it has one."""
    name = _digest(subscriber)
    index = ctx.catalogue.management.get(SUBSCRIBER, parent_of(scope), name)
    return None if index is None else str(index.data['id'])


def trust_of(
    ctx: Context, scope: Scope, subscription_id: str | None
) -> str | None:
    """Return the trust that was created for a subscription, if any."""
    if subscription_id is None:
        return None
    record = ctx.catalogue.management.get(
        SUBSCRIPTION, parent_of(scope), subscription_id
    )
    options = (record.data['options'] or {}) if record is not None else {}
    trust_id: str | None = options.get(trust_interface.OPTION)
    return trust_id


def enrol(
    ctx: Context, scope: Scope, data: Data, now: int
) -> tuple[str, bool]:
    """Record a subscription, unless its subscriber has one.

    :param data: see :func:`data_of`
    :returns: its id, and whether it is new
    :raises Conflict: the subscriber has confirmed already
    """
    return repeat(lambda: _enrol_once(ctx, scope, data, now))


def _enrol_once(
    ctx: Context, scope: Scope, data: Data, now: int
) -> tuple[str, bool] | None:
    """Try to record a subscription; None after a conflict."""
    store, parent = ctx.catalogue.management, parent_of(scope)
    name = _digest(data['subscriber'])
    new_id = f'{now:012x}{secrets.token_hex(10)}'
    taken = {'id': new_id, 'at': now}
    if store.create(SUBSCRIBER, parent, name, taken):
        return new_id, _create(ctx, scope, new_id, data)
    index = store.get(SUBSCRIBER, parent, name)
    if index is None:
        return None
    current_id: str = index.data['id']
    record = store.get(SUBSCRIPTION, parent, current_id)
    current = None if record is None else _subscription(scope, record)
    if current is not None and current.expires_at <= now:
        remove(ctx, scope, current_id, current.version)
        return None
    if current is None or current.subscriber != data['subscriber']:
        if _is_stale(index, now):
            # Under a new id: the old one may be being removed.
            if store.replace(
                SUBSCRIBER, parent, name, taken, version=index.version
            ):
                return new_id, _create(ctx, scope, new_id, data)
        elif current is None:
            # Another process is creating it, or has died doing so.
            return current_id, _create(ctx, scope, current_id, data)
        return None
    if current.confirmed:
        raise _exists(scope)
    return current_id, False


def _create(
    ctx: Context, scope: Scope, subscription_id: str, data: Data
) -> bool:
    store = ctx.catalogue.management
    indexes.add(store, scope, subscription_id, data['expires_at'])
    return store.create(SUBSCRIPTION, parent_of(scope), subscription_id, data)


def replace(
    ctx: Context,
    scope: Scope,
    old: Subscription,
    data: Data,
    version: int,
) -> bool:
    """Replace the data, if the record has not changed since it was read.

    A new subscriber has to confirm again.

    :raises Conflict: the new subscriber has a subscription already
    """
    store, parent = ctx.catalogue.management, parent_of(scope)
    moves = data['subscriber'] != old.subscriber
    if moves:
        _take_name(ctx, scope, data['subscriber'], old.id)
        data = {**data, 'confirmed': False}
    lasts = data['expires_at'] != old.expires_at
    if lasts:
        indexes.add(store, scope, old.id, data['expires_at'])
    done = store.replace(SUBSCRIPTION, parent, old.id, data, version=version)
    if lasts and done:
        indexes.remove(store, old.id, old.expires_at)
    if moves and done:
        _drop_name(ctx, scope, old.subscriber, old.id)
    # After a conflict the name stays taken: perhaps by the same change.
    return done


def remove(
    ctx: Context,
    scope: Scope,
    subscription_id: str,
    version: int | None = None,
) -> None:
    """Delete a subscription, if it exists.

    :param version: of the record that was read; one that was changed since,
        perhaps renewed, stays
    """
    if not is_id(subscription_id):
        return
    store, parent = ctx.catalogue.management, parent_of(scope)
    deleted = store.delete(
        SUBSCRIPTION, parent, subscription_id, version=version
    )
    if deleted is None and version is not None:
        return
    if deleted is not None:
        # First: its id is not stored elsewhere.
        _end_trust(ctx, deleted)
    store.delete(DELIVERIES, parent, subscription_id)
    if deleted is not None:
        _drop_name(ctx, scope, deleted.data['subscriber'], subscription_id)
        indexes.uncount(store, scope, subscription_id)
        # Last: the sweeper finishes what was interrupted.
        indexes.remove(store, subscription_id, deleted.data['expires_at'])


def sweep(ctx: Context, batch: int) -> int:
    """Remove subscriptions that have expired, with their trusts.

    :returns: how many entries were read; fewer than ``batch`` at the end
    """
    trusts_to_delete.sweep(ctx, batch)
    store = ctx.catalogue.management
    now = store.clock.server_now()
    count = 0
    for expiry in indexes.past(store, now, batch):
        count += 1
        scope, subscription_id = expiry.scope, expiry.subscription_id
        record = store.get(SUBSCRIPTION, parent_of(scope), subscription_id)
        if record is not None and record.data['expires_at'] <= now:
            # With its entry, unless it has been changed meanwhile.
            remove(ctx, scope, subscription_id, record.version)
            continue
        if record is None:
            store.delete(DELIVERIES, parent_of(scope), subscription_id)
            indexes.uncount(store, scope, subscription_id)
        store.delete(
            indexes.ENDING,
            indexes.PARENT,
            expiry.name,
        )
    return count


def clear(ctx: Context, scope: Scope) -> None:
    """Delete all subscriptions to a queue or topic."""
    store, parent = ctx.catalogue.management, parent_of(scope)
    for kind in (SUBSCRIPTION, SUBSCRIBER, DELIVERIES):
        while records := store.list(kind, parent, after=None, limit=BATCH):
            for record in records:
                # It may have been changed since.
                deleted = store.delete(kind, parent, record.name)
                if kind == SUBSCRIPTION and deleted is not None:
                    _end_trust(ctx, deleted)
                    indexes.uncount(store, scope, record.name)
                    ends_at = deleted.data['expires_at']
                    indexes.remove(store, record.name, ends_at)


def _end_trust(ctx: Context, deleted: Record) -> None:
    options = deleted.data['options'] or {}
    trusts_to_delete.end(ctx, options.get(trust_interface.OPTION))


def data_of(subscription: Subscription) -> dict[str, Any]:
    """Return the data of the record of a subscription."""
    return {
        'subscriber': subscription.subscriber,
        'ttl': subscription.ttl,
        'options': subscription.options,
        'confirmed': subscription.confirmed,
        'created_at': subscription.created_at,
        'expires_at': subscription.expires_at,
    }


def _take_name(
    ctx: Context, scope: Scope, subscriber: str, subscription_id: str
) -> None:
    store = ctx.catalogue.management
    now = store.clock.now()
    key = (SUBSCRIBER, parent_of(scope), _digest(subscriber))

    def edit(index: Record | None) -> Data:
        if index is not None and index.data['id'] != subscription_id:
            _check_free(ctx, scope, subscriber, index, now)
        return {'id': subscription_id, 'at': now}

    update(store, key, edit)


def _check_free(
    ctx: Context, scope: Scope, subscriber: str, index: Record, now: int
) -> None:
    """Raise Conflict unless a name that is taken may be taken over."""
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
        store.delete(SUBSCRIBER, parent, name, version=index.version)


def _is_stale(index: Record, now: int) -> bool:
    """Return whether a name was taken long ago."""
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
