# SPDX-License-Identifier: Apache-2.0
"""Subscribers and filters of notices: who gets a pending delivery of each.

Queues that turn out to have no subscribers lose their flag.

Filters are evaluated here. A client chooses both filters and bodies, and may
have very many of the former: what that costs is counted, and a notice whose
filters cost too much is fanned out in parts, so that others have their turns.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zaqar.controllers import (
    outbox_notices,
    subscription_filters,
    subscription_records,
)
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.delivery_attempt_history import Key
from zaqar.controllers.outbox_notices import (
    ConfirmationRequest,
    PostNotice,
    ReplayRequest,
    ResendRequest,
)
from zaqar.errors import QueueGone
from zaqar.notification import (
    notifier_metrics,
    pending_delivery,
    resend_and_replay,
)
from zaqar.notification.fanout_fairness_between_projects import (
    ProjectShares,
    Read,
)
from zaqar.notification.pending_delivery import (
    PendingDelivery,
    Socket,
    is_socket,
)
from zaqar.notification.referenced_notices import is_long
from zaqar.notification.resend_and_replay import Step
from zaqar.objects import Claim, Message, Scope, Subscription
from zaqar.socket_pushes.push_frames import MAX_CONNECTIONS
from zaqar.storage.abstract_stores import OUTBOX, MessageStore

#: What one fan-out may evaluate: about half a second.
EVALUATED = 4 << 20

#: Maximum number of notices that are remembered as fanned out in part.
MAX_PLACES = 1000

FILTERS = subscription_filters.Filters()


class NoticeDeliveries:
    """The notices of one fan-out, and their deliveries.

    :param places: by the id of each notice that is fanned out in part, the
        subscription to continue with; is changed
    :ivar claim_id: that of the notices
    :ivar since: when they were claimed, in milliseconds
    :ivar count: the number of all that were claimed
    :ivar fresh: of those that are fanned out now
    :ivar ended: those that nothing refers to
    :ivar left: those that are left to a later one
    :ivar parts: ids of those that others have begun
    :ivar steps: of requests of owners, by the ids of their notices
    :ivar unstored: the deliveries that the caller has to make, by the id of
        their notice
    :ivar excluded: how many messages filters have excluded
    """

    def __init__(
        self,
        ctx: Context,
        store: MessageStore,
        claim: Claim,
        since: int,
        notices: Sequence[Read],
        shares: ProjectShares,
        places: dict[str, str],
    ) -> None:
        self._ctx = ctx
        self._store = store
        self._notices = notices
        self._shares = shares
        self._places = places
        #: What filters have cost, and bytes of steps.
        self._spent = self._size = 0
        #: Those that have confirmed, or need not; read after the notices.
        self._subscribers: dict[Scope, Sequence[Subscription]] = {}
        #: Queues without subscriptions, with the epochs of their flags.
        self._idle: list[tuple[str, int]] = []
        self.claim_id = claim.id
        self.since = since
        self.count = len(claim.messages)
        self.fresh = 0
        self.ended: Sequence[str] = ()
        self.left: list[Read] = []
        self.parts: set[str] = set()
        self.steps: dict[str, Step] = {}
        self.unstored: dict[str, Sequence[PendingDelivery]] = {}
        self.excluded: Counter[Key] = Counter()

    def finish(self) -> None:
        """Delete notices, and clear the flags of idle queues."""
        now = self._store.clock.now()
        if self.ended:
            self._store.delete_many(OUTBOX, self.ended, now=now)
        notifier_metrics.record('notices', self.fresh)
        for qid, epoch in self._idle:
            with contextlib.suppress(QueueGone):
                self._store.unmark_subscribed(qid, epoch, now=now)

    def make(self) -> Iterator[tuple[str, Iterator[PendingDelivery]]]:
        """Yield the deliveries of each notice, with its id."""
        for message, notice in self._shares.begin(self._notices):
            if (
                self._spent >= EVALUATED
                or self._size > resend_and_replay.MAX_TOGETHER
                or not self._shares.admit(message.id, notice.project)
            ):
                self.left.append((message, notice))
                continue
            if message.id in self._places:
                self.parts.add(message.id)
            if isinstance(notice, PostNotice):
                yield message.id, self._posted(message, notice)
            else:
                yield message.id, self._requested(message, notice)
            if message.id in self._places:
                self.left.append((message, notice))

    @property
    def notified(self) -> Iterator[Subscription]:
        """The subscriptions that have been read."""
        for subscribers in self._subscribers.values():
            yield from subscribers

    def is_whole(self, notice_id: str) -> bool:
        """Tell whether all deliveries of a notice are made at once.

        And whether making them changes nothing else.
        """
        return not (
            notice_id in self.parts
            or notice_id in self._places
            or notice_id in self.steps
        )

    def contents(self, notice_id: str) -> str:
        """Return what the deliveries of a request depend on, else ''."""
        step = self.steps.get(notice_id)
        return step.contents if step else ''

    def _requested(
        self,
        message: Message,
        notice: ConfirmationRequest | ResendRequest | ReplayRequest,
    ) -> Iterator[PendingDelivery]:
        management = self._ctx.catalogue.management
        one = subscription_records.find(
            management,
            outbox_notices.scope_of(notice),
            notice.subscription,
            management.clock.now(),
        )
        if one is None:
            return
        if isinstance(notice, ConfirmationRequest):
            yield pending_delivery.of(one, message, confirmation=notice)
        elif self._ctx.pipeline.is_notified(one):
            step = resend_and_replay.step(
                self._ctx,
                self._store,
                notice,
                message,
                one,
                FILTERS.of(one),
                self._spend,
            )
            self._size += step.size
            self._exclude(one, step.excluded)
            self.steps[message.id] = step
            yield from step.deliveries

    def _posted(
        self, message: Message, notice: PostNotice
    ) -> Iterator[PendingDelivery]:
        sockets: dict[tuple[Any, ...], list[PendingDelivery]] = {}
        for subscription, content in self._messages_for(message.id, notice):
            pending = pending_delivery.of(subscription, message, **content)
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

    def _messages_for(
        self, notice_id: str, notice: PostNotice
    ) -> Iterator[tuple[Subscription, Mapping[str, Any]]]:
        """Yield subscriptions, each with what it is to be sent of a notice."""
        bodies = subscription_filters.Bodies(
            [payload.body for payload in notice.messages], self._spend
        )
        everything = list(range(len(notice.messages)))
        source = notice_id if is_long(notice) else ''
        first = self._places.pop(notice_id, '')
        for one in self._subscribers_of(notice):
            if one.id < first:
                continue
            if self._spent >= EVALUATED:
                if len(self._places) >= MAX_PLACES:
                    # Other notifiers have gone on with them, or this one
                    # begins anew.
                    self._places.clear()
                self._places[notice_id] = one.id
                return
            messages, places = notice.messages, everything
            if (condition := FILTERS.of(one)) is not None:
                places = list(bodies.matching(condition))
                if len(places) < len(messages):
                    self._exclude(one, len(messages) - len(places))
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

    def _spend(self, cost: int) -> None:
        self._spent += cost

    def _exclude(self, subscription: Subscription, count: int) -> None:
        if count:
            self.excluded[subscription.scope, subscription.id] += count

    def _subscribers_of(self, notice: PostNotice) -> Sequence[Subscription]:
        """Return the subscribers of a queue, in the order of their ids.

        A subscription is recorded before the epoch of its queue's flag begins.
        So if there are none, they are listed once more behind the epoch: then
        one that is new is listed, or the epoch is another one when the flag is
        cleared.

        :source: reference/storage, "Subscriber flags"
        """
        scope = outbox_notices.scope_of(notice)
        if scope not in self._subscribers:
            every = self._list(scope)
            if not every:
                epoch = 0
                with contextlib.suppress(QueueGone):
                    epoch = self._store.subscribed_epoch(
                        notice.qid, now=self._store.clock.now()
                    )
                every = self._list(scope)
                if epoch and not every:
                    self._idle.append((notice.qid, epoch))
            self._subscribers[scope] = [
                one for one in every if self._ctx.pipeline.is_notified(one)
            ]
        return self._subscribers[scope]

    def _list(self, scope: Scope) -> Sequence[Subscription]:
        now = self._ctx.catalogue.management.clock.now()
        return list(subscription_records.live(self._ctx, scope, now))


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
