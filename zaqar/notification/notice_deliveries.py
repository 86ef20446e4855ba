# SPDX-License-Identifier: Apache-2.0
"""What a notice becomes: pending deliveries, for those that get them.

Filters are evaluated here. A client chooses both filters and bodies, and may
have very many of the former: what that costs is counted, and a notice whose
filters cost too much is fanned out in parts, so that others have their turns.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.controllers import (
    outbox_notices,
    subscription_filters,
    subscription_records,
)
from zaqar.controllers.call_context import Context
from zaqar.controllers.delivery_attempt_history import Key
from zaqar.controllers.outbox_notices import (
    ConfirmationRequest,
    Notice,
    PostNotice,
)
from zaqar.models import Message, Scope, Subscription
from zaqar.notification.pending_delivery import (
    PendingDelivery,
    Socket,
    delivery_id,
    host_of,
    is_socket,
)
from zaqar.notification.referenced_notices import is_long
from zaqar.socket_pushes.push_frames import MAX_CONNECTIONS

#: What one fan-out may evaluate: about half a second.
EVALUATED = 4 << 20

#: Maximum number of notices that are remembered as fanned out in part.
MAX_PLACES = 1000

FILTERS = subscription_filters.Filters()


class Evaluations:
    """Counts what filters cost, see :class:`.subscription_filters.Bodies`.

    :ivar places: by the id of each notice that is fanned out in part, the
        subscription to continue with
    """

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self._former: dict[str, str] = {}
        self._spent = 0

    def begin(self) -> None:
        """Begin a fan-out."""
        self._former = dict(self.places)
        self._spent = 0

    def undo(self) -> None:
        """Forget a fan-out: its deliveries may not be stored."""
        self.places = self._former

    def leave(self, notice_id: str, subscription: str) -> None:
        """Leave a notice to the next fan-out, from a subscription on."""
        if len(self.places) >= MAX_PLACES:
            # Other notifiers have gone on with them, or this one begins anew.
            self.places.clear()
        self.places[notice_id] = subscription

    def spend(self, cost: int) -> None:
        self._spent += cost

    @property
    def are_over(self) -> bool:
        """Whether the rest is left to the next fan-out."""
        return self._spent >= EVALUATED


@dataclass(frozen=True, slots=True)
class Subscribers:
    """Subscriptions to a queue, read after its notices.

    :ivar notified: those that have confirmed, or need not
    """

    every: Sequence[Subscription]
    notified: Sequence[Subscription]


def subscribers_of(ctx: Context, scope: Scope) -> Subscribers:
    """Return the subscriptions to a queue, in the order of their ids."""
    now = ctx.catalogue.management.clock.now()
    every = list(subscription_records.live(ctx, scope, now))
    notified = [one for one in every if ctx.pipeline.is_notified(one)]
    return Subscribers(every, notified)


def deliveries(
    notice: Notice,
    message: Message,
    subscribers: Subscribers,
    excluded: Counter[Key],
    evaluations: Evaluations,
) -> Iterator[PendingDelivery]:
    """Yield the deliveries of a notice, one per subscriber."""
    scope = outbox_notices.scope_of(notice)
    sockets: dict[tuple[Any, ...], list[PendingDelivery]] = {}
    for subscription, content in _contents(
        notice, message.id, subscribers, excluded, evaluations
    ):
        pending = PendingDelivery(
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
        if is_socket(pending.host):
            node = pending.host.rpartition('/')[0]
            key = node, *map(id, pending.messages)
            sockets.setdefault(key, []).append(pending)
        else:
            yield pending
    for (node, *_), singles in sockets.items():
        for start in range(0, len(singles), MAX_CONNECTIONS):
            part = singles[start : start + MAX_CONNECTIONS]
            yield _together(message.id, node, part)


def _together(
    notice_id: str, node: str, singles: Sequence[PendingDelivery]
) -> PendingDelivery:
    """Return a pending delivery to connections of a WebSocket server."""
    if len(singles) == 1:
        return singles[0]
    sockets = [
        Socket(one.host.rpartition('/')[2], one.subscription, one.version)
        for one in singles
    ]
    return singles[0].copy(
        id=notice_id, subscription='', version=0, host=node, sockets=sockets
    )


def _contents(
    notice: Notice,
    notice_id: str,
    subscribers: Subscribers,
    excluded: Counter[Key],
    evaluations: Evaluations,
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
        [payload.body for payload in notice.messages], evaluations.spend
    )
    everything = list(range(len(notice.messages)))
    source = notice_id if is_long(notice) else ''
    first = evaluations.places.pop(notice_id, '')
    for one in subscribers.notified:
        if one.id < first:
            continue
        if evaluations.are_over:
            evaluations.leave(notice_id, one.id)
            return
        messages, places = notice.messages, everything
        if (condition := FILTERS.of(one)) is not None:
            places = list(bodies.matching(condition))
            if len(places) < len(messages):
                excluded[one.scope, one.id] += len(messages) - len(places)
                messages = [messages[place] for place in places]
        if messages:
            yield (
                one,
                {
                    'messages': messages,
                    'sealed': notice.sealed,
                    'source': source,
                    'places': places if source else [],
                },
            )
