# SPDX-License-Identifier: Apache-2.0
"""Deliveries of a subscription, as its owner sees and repeats them.

:source: reference/delivery, "Statistics"
"""

from collections.abc import Sequence
from typing import Any

from zaqar.controllers import (
    confirmation_and_replay_intervals,
    delivery_attempt_history,
    outbox_notices,
    subscription_statistics_record,
    time_parsing,
)
from zaqar.controllers import subscription_records as records
from zaqar.controllers.api_limits_and_defaults import page_size
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.delivery_attempt_history import OUTCOMES, Attempt
from zaqar.controllers.outbox_notices import ReplayRequest, ResendRequest
from zaqar.controllers.pending_delivery_counts_by_subscription import (
    Counts,
    Waiting,
)
from zaqar.controllers.result_types import AttemptPage
from zaqar.controllers.subscription_statistics_record import FILTERED
from zaqar.errors import Conflict, InvalidRequest, NotFound
from zaqar.microversion_constants import V2_1
from zaqar.objects import Queue, Scope, Subscription
from zaqar.rfc3339_formatting import timestamp
from zaqar.storage.abstract_stores import GIVEN_UP, MessageStore

#: Attempts of a page, at most.
MAX_PAGE = 100

#: Messages that one request sends again, at most.
MAX_REPLAYED = 10_000


def show(
    ctx: Context, *, scope: Scope, subscription_id: str
) -> dict[str, Any]:
    """Return the statistics of a subscription.

    :raises NotFound: it does not exist
    """
    store = ctx.catalogue.management
    subscription, _ = records.current(
        ctx, scope, subscription_id, store.clock.now()
    )
    status = subscription_statistics_record.read(
        store, (scope, subscription_id)
    )
    shown = subscription_statistics_record.document(status)
    if ctx.version >= V2_1:
        shown[FILTERED] = status.get(FILTERED, 0)
        shown |= _waiting(ctx, subscription)
    return shown


def _waiting(ctx: Context, subscription: Subscription) -> dict[str, Any]:
    """Return what is still to be delivered, null where that is unknown."""
    looks = [
        ctx.pending.read(name, opener(), ctx.cipher)
        for name, opener in ctx.catalogue.outboxes().items()
    ]
    waiting = sum(
        (_of(ctx, subscription, counts) for counts in looks), Waiting()
    )
    if not waiting.count and not all(one.is_complete for one in looks):
        return {'pending': None, 'oldest_pending_at': None}
    oldest = waiting.oldest
    return {
        'pending': waiting.count,
        'oldest_pending_at': None if oldest is None else timestamp(oldest),
    }


def _of(ctx: Context, subscription: Subscription, counts: Counts) -> Waiting:
    scope = subscription.scope
    waiting = counts.deliveries.get((scope, subscription.id), Waiting())
    if ctx.pipeline.is_notified(subscription):
        waiting += counts.notices.get(scope, Waiting())
    return waiting


def attempts(
    ctx: Context,
    *,
    scope: Scope,
    subscription_id: str,
    state: str | None,
    marker: str | None,
    limit: int | None,
) -> AttemptPage:
    """Return attempts to deliver messages, the newest first.

    :param state: the outcome of those to show, None for all
    :raises NotFound: the subscription does not exist
    :raises InvalidRequest: the limit is out of bounds, or there is no such
        outcome
    """
    size = page_size(limit, MAX_PAGE)
    if state is not None and state not in OUTCOMES:
        raise InvalidRequest(
            f'The state must be one of {", ".join(OUTCOMES)}.'
        )
    shown: Sequence[Attempt] = _recorded(ctx, scope, subscription_id)
    if marker is not None:
        shown = delivery_attempt_history.behind(shown, marker)
    page = [one for one in shown if state in (None, one.outcome)][:size]
    again = {'limit': limit, 'state': state}
    return AttemptPage(page, again, page[-1].marker if page else None)


def resend(
    ctx: Context, *, scope: Scope, subscription_id: str, attempt_id: str
) -> None:
    """Have a delivery that was given up attempted again.

    :raises NotFound: there is no such subscription, or no such delivery
    :raises Conflict: it was not given up, or is not kept any more
    """
    _check_notifiers(ctx)
    latest = next(
        (
            one
            for one in _recorded(ctx, scope, subscription_id)
            if one.id == attempt_id
        ),
        None,
    )
    if latest is None:
        raise NotFound(f'No attempt of a delivery {attempt_id} is recorded')
    if latest.outcome != 'given_up':
        raise Conflict('The delivery was not given up.')
    store = _store_of_copy(ctx, latest)
    if store is None:
        raise Conflict('The message of the delivery is not kept any more.')
    request = ResendRequest(
        scope.project,
        scope.name,
        subscription_id,
        latest.copy_id,
        str(scope.kind),
    )
    outbox_notices.put(store, request)


def replay(
    ctx: Context, *, scope: Scope, subscription_id: str, document: Any
) -> None:
    """Have what the queue still holds sent to a subscriber again.

    :raises NotFound: the subscription does not exist
    :raises InvalidRequest: the document is malformed
    :raises Conflict: the subscriber has not confirmed, or that was requested
        a moment ago
    """
    marker, since = _start(document)
    _check_notifiers(ctx)
    store = ctx.catalogue.management
    now = store.clock.now()
    subscription, _ = records.current(ctx, scope, subscription_id, now)
    if not ctx.pipeline.is_notified(subscription):
        raise Conflict('The subscriber has not confirmed.')
    if not confirmation_and_replay_intervals.may_replay(
        store, (scope, subscription_id), now
    ):
        raise Conflict('A replay was requested less than a minute ago.')

    def put(store: MessageStore, queue: Queue) -> None:
        request = ReplayRequest(
            scope.project,
            scope.name,
            subscription_id,
            store.clock.now(),
            MAX_REPLAYED,
            marker,
            since,
            str(scope.kind),
        )
        outbox_notices.put(store, request)

    # A queue that does not exist holds nothing.
    ctx.catalogue.run(scope, put, None)


def _start(document: Any) -> tuple[str | None, int]:
    """Return marker and moment behind which a replay begins."""
    members = document if isinstance(document, dict) else {}
    if len(members) != 1 or not members.keys() <= {'marker', 'since'}:
        raise InvalidRequest('Either "marker" or "since" is needed.')
    if 'since' in members:
        return None, time_parsing.parse_rfc3339(members['since'], 'since')
    marker = members['marker']
    if not isinstance(marker, str) or not marker:
        raise InvalidRequest('"marker" must be that of a message.')
    return marker, 0


def _recorded(
    ctx: Context, scope: Scope, subscription_id: str
) -> Sequence[Attempt]:
    store = ctx.catalogue.management
    now = store.clock.now()
    records.current(ctx, scope, subscription_id, now)
    key = scope, subscription_id
    data = subscription_statistics_record.read(store, key)
    lifetime = ctx.pipeline.attempts_lifetime
    return delivery_attempt_history.read(key, data, now, lifetime)


def _store_of_copy(ctx: Context, attempt: Attempt) -> MessageStore | None:
    """Return the store that keeps a delivery, None if none does."""
    opener = ctx.catalogue.outboxes().get(attempt.pool)
    if not attempt.copy_id or opener is None:
        return None
    store = opener()
    if not store.get(GIVEN_UP, [attempt.copy_id], now=store.clock.now()):
        return None
    return store


def _check_notifiers(ctx: Context) -> None:
    if not ctx.pipeline.notifies:
        raise InvalidRequest(
            'This service has no notifiers: [storage] message_pipeline is '
            'empty.'
        )
