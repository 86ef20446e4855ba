# SPDX-License-Identifier: Apache-2.0
"""Subscriptions: who is notified of the messages of a queue or topic.

:source: reference/http, "Subscriptions"
"""

import datetime
from collections.abc import Mapping
from typing import Any

from msgspec import structs

from zaqar.controllers import (
    confirmation_and_replay_intervals,
    outbox_notices,
    subscription_filters,
    subscription_quotas,
    subscription_signing_keys,
    subscription_statistics_record,
    subscription_trusts,
    trust_interface,
    trusts_to_delete,
    webhook_secret_format,
)
from zaqar.controllers import subscription_records as records
from zaqar.controllers import subscription_validation as validate
from zaqar.controllers.api_limits_and_defaults import page_size
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.result_types import Subscribed, SubscriptionPage
from zaqar.controllers.url_signatures import shown
from zaqar.errors import Conflict, InvalidRequest
from zaqar.objects import Queue, Scope, Subscription
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.record_updates_and_listing import repeat

#: Options that no response shows.
_HIDDEN = frozenset(
    (
        trust_interface.OPTION,
        trust_interface.BROUGHT,
        subscription_filters.IN_FORCE,
        subscription_signing_keys.BESIDE,
        webhook_secret_format.OPTION,
    )
)

_NO_UPDATE = 'Unable to update subscription'
_NO_CONFIRMATION = 'Unable to confirm subscription'
_NO_KEY = (
    'the subscriber cannot be asked to confirm: [signed_url] secret_key of '
    'the service is not set'
)


def list_(
    ctx: Context, *, scope: Scope, marker: str | None, limit: int | None
) -> SubscriptionPage:
    """List live subscriptions in the order of their creation."""
    most = ctx.limits.max_subscriptions_per_page
    size, now = page_size(limit, most), _now(ctx)
    if marker is not None and not records.is_id(marker):
        return SubscriptionPage((), {'limit': limit}, now)
    page, resume = records.page(ctx, scope, now, marker, size)
    if resume is None and page:
        resume = page[-1].id
    shown = [_public(subscription) for subscription in page]
    return SubscriptionPage(shown, {'limit': limit}, now, resume)


def create(ctx: Context, *, scope: Scope, document: Any) -> Subscribed:
    """Create a subscription, or return that of an unconfirmed subscriber.

    The queue is marked before this returns, so that the next post on any
    server is notified; a subscriber is asked to confirm.

    :raises Conflict: the subscriber has confirmed already
    """
    now = _now(ctx)
    fresh = _fresh(ctx, _object(document), now)
    uri: str = fresh['subscriber']
    with subscription_quotas.room(ctx, scope, uri, now):
        subscribed = _enrol(ctx, scope, fresh, now)
    _mark(ctx, scope)
    if not fresh['confirmed']:
        _request_confirmation(
            ctx, scope, subscribed.id, uri, fresh['ttl'], wanted=True
        )
    return subscribed


def _enrol(
    ctx: Context, scope: Scope, fresh: dict[str, Any], now: int
) -> Subscribed:
    """Record a subscription, with its trust.

    See :func:`.subscription_records.enrol`.
    """
    # Before the queue, which a refusal leaves unmade.
    trust_id = subscription_trusts.attach(ctx, fresh, now)
    uri: str = fresh['subscriber']
    is_new = False
    try:
        ctx.catalogue.ensure(scope)
        subscription_id, is_new = records.enrol(ctx, scope, fresh, now)
    except Conflict:
        # The process that recorded it may have died before this.
        _mark(ctx, scope)
        raise
    finally:
        if not is_new:
            subscription_trusts.end_unused(
                ctx, scope, {trust_id}, lambda: records.id_of(ctx, scope, uri)
            )
    key = subscription_signing_keys.made(fresh['options'], now)
    secret = key.secret if is_new and key is not None else None
    return Subscribed(subscription_id, secret)


def show(ctx: Context, *, scope: Scope, subscription_id: str) -> Any:
    """Return a subscription and the current time."""
    now = _now(ctx)
    return _public(records.current(ctx, scope, subscription_id, now)[0]), now


def update(
    ctx: Context, *, scope: Scope, subscription_id: str, document: Any
) -> None:
    """Update a subscription; members that are null stay as they are."""
    now = _now(ctx)
    requested = _changes(ctx, document, now)

    def attempt() -> tuple[Subscription, Mapping[str, Any]] | None:
        old, version = records.current(ctx, scope, subscription_id, now)
        changes = {**_shortened(ctx, old, requested, now), **requested}
        updated = _update(ctx, scope, old, changes, version, now)
        return (old, changes) if updated else None

    old, changes = repeat(attempt)
    if changes.get('expires_at', old.expires_at) > old.expires_at:
        # It may have expired between its reading and its renewal, and a
        # notifier that saw no other one has unmarked the queue.
        _mark(ctx, scope)
    uri: str = changes.get('subscriber', old.subscriber)
    if uri != old.subscriber:
        ttl = changes.get('ttl', old.ttl)
        _request_confirmation(ctx, scope, old.id, uri, ttl, wanted=True)


def confirm(
    ctx: Context, *, scope: Scope, subscription_id: str, document: Any
) -> None:
    """Confirm or unconfirm a subscription."""
    if isinstance(document, list):
        raise InvalidRequest(
            "The 'confirmed' should be boolean.", title=_NO_CONFIRMATION
        )
    wanted = (document or {}).get('confirmed')
    if not isinstance(wanted, bool):
        raise InvalidRequest("The 'confirmed' should be boolean.")
    now = _now(ctx)

    def attempt() -> Subscription | None:
        old, version = records.current(ctx, scope, subscription_id, now)
        data = {**records.data_of(old), 'confirmed': wanted}
        replaced = records.replace(ctx, scope, old, data, version)
        return old if replaced else None

    old = repeat(attempt)
    if wanted:
        _mark(ctx, scope)
    else:
        ttl = ctx.limits.default_subscription_ttl
        _request_confirmation(
            ctx, scope, old.id, old.subscriber, ttl, wanted=False
        )


def delete(ctx: Context, *, scope: Scope, subscription_id: str) -> None:
    """Delete a subscription, if it exists."""
    records.remove(ctx, scope, subscription_id)


def _update(
    ctx: Context,
    scope: Scope,
    old: Subscription,
    changes: Mapping[str, Any],
    version: int,
    now: int,
) -> bool:
    """Store changes, with another trust where one is needed."""
    data = {**records.data_of(old), **changes}
    validate.check_mail(data['subscriber'], data['options'])
    if 'options' in changes:
        data['options'] = subscription_filters.updated(
            old.options,
            subscription_signing_keys.updated(old.options, data['options']),
        )
    brought = changes.get('options', {}).get(trust_interface.OPTION)
    created_id = subscription_trusts.renew(ctx, old, data, brought, now)
    trust_ids = {old.options.get(trust_interface.OPTION), created_id}
    done = False
    try:
        done = records.replace(ctx, scope, old, data, version)
    finally:
        if done:
            used_id = data['options'].get(trust_interface.OPTION)
            for trust_id in trust_ids - {used_id}:
                trusts_to_delete.end(ctx, trust_id)
        else:
            subscription_trusts.end_unused(
                ctx, scope, trust_ids, lambda: old.id
            )
    return done


def _mark(ctx: Context, scope: Scope) -> None:
    """Have every further post leave a notice.

    Also while the pipeline is off, since it may be switched on later.
    """

    def mark(store: MessageStore, queue: Queue) -> None:
        store.mark_subscribed(queue.qid, now=store.clock.now())

    ctx.catalogue.run_ensured(scope, mark)


def _request_confirmation(
    ctx: Context,
    scope: Scope,
    subscription_id: str,
    subscriber: str,
    ttl: int,
    *,
    wanted: bool,
) -> None:
    """Ask a subscriber to confirm, or notify it that it has unsubscribed."""
    if not (
        ctx.pipeline.notifies and ctx.pipeline.needs_confirmation(subscriber)
    ):
        return
    store, now = ctx.catalogue.management, _now(ctx)
    key = scope, subscription_id
    if not ctx.signer.has_key:
        subscription_statistics_record.fail(store, key, _NO_KEY, now)
        return
    if not confirmation_and_replay_intervals.may_request(
        store, key, wanted=wanted, now=now
    ):
        return
    request = outbox_notices.ConfirmationRequest(
        scope.project,
        scope.name,
        subscription_id,
        shown(ctx.signer.now() + datetime.timedelta(seconds=ttl)),
        wanted,
        str(scope.kind),
    )

    def put(store: MessageStore, queue: Queue) -> None:
        outbox_notices.put(store, request)

    ctx.catalogue.run_ensured(scope, put)


def _public(subscription: Subscription) -> Subscription:
    """Return a subscription without its trust and its keys."""
    if _HIDDEN.isdisjoint(subscription.options):
        return subscription
    options = {
        name: value
        for name, value in subscription.options.items()
        if name not in _HIDDEN
    }
    return structs.replace(subscription, options=options)


def _object(document: Any) -> Mapping[str, Any]:
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidRequest('Subscriptions must be a dict.')
    return document


def _fresh(
    ctx: Context, document: Mapping[str, Any], now: int
) -> dict[str, Any]:
    uri, is_own = _subscriber(ctx, document)
    options = _options(ctx, document.get('options'))
    validate.check_mail(uri, options)
    if not is_own:
        options = subscription_signing_keys.added(options)
    seconds = document.get('ttl')
    if seconds is None:
        seconds = ctx.limits.default_subscription_ttl
    seconds = ctx.lifetime(validate.ttl(seconds, now))
    return {
        'subscriber': uri,
        'ttl': seconds,
        'options': options,
        'confirmed': is_own,
        'created_at': now,
        'expires_at': now + seconds * 1000,
    }


def _options(ctx: Context, value: Any) -> Mapping[str, Any]:
    return subscription_filters.requested(validate.options(value), ctx.version)


def _subscriber(ctx: Context, document: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the URI, and whether it is the own connection of the caller."""
    if ctx.identity.address and document.get('subscriber', '') == '':
        # It need not confirm: the request comes by it.
        return ctx.identity.address, True
    if 'subscriber' not in document:
        raise InvalidRequest('Missing parameter subscriber in body.')
    return validate.subscriber(document['subscriber'], ctx.limits), False


def _changes(ctx: Context, document: Any, now: int) -> dict[str, Any]:
    if not document:
        raise InvalidRequest('No subscription to create.')
    members = {
        key: value
        for key, value in _object(document).items()
        if value is not None
    }
    changes: dict[str, Any] = {}
    if 'subscriber' in members:
        changes['subscriber'] = validate.subscriber(
            members['subscriber'], ctx.limits
        )
    if 'options' in members:
        changes['options'] = _options(ctx, members['options'])
    if 'ttl' in members:
        changes['ttl'] = ctx.lifetime(validate.ttl(members['ttl'], now))
        changes['expires_at'] = now + changes['ttl'] * 1000
    if not changes:
        raise InvalidRequest(
            'One of subscriber, ttl or options is needed.', title=_NO_UPDATE
        )
    return changes


def _shortened(
    ctx: Context, old: Subscription, requested: Mapping[str, Any], now: int
) -> dict[str, Any]:
    """Return an earlier expiry, if a pre-signed URL sets a new subscriber."""
    if requested.get('subscriber', old.subscriber) == old.subscriber:
        return {}
    left = max(1, (old.expires_at - now) // 1000)
    seconds = ctx.lifetime(left)
    if seconds == left:
        return {}
    return {'ttl': seconds, 'expires_at': now + seconds * 1000}


def _now(ctx: Context) -> int:
    return ctx.catalogue.management.clock.now()
