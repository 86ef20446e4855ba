# SPDX-License-Identifier: Apache-2.0
"""Walk through the notices of a fan-out, and make their deliveries."""

from collections import Counter
from collections.abc import Iterator, Sequence

from zaqar.controllers import outbox_notices
from zaqar.controllers.call_context import Context
from zaqar.controllers.delivery_attempt_history import Key
from zaqar.controllers.outbox_notices import (
    Notice,
    PostNotice,
    ReplayRequest,
    ResendRequest,
)
from zaqar.errors import QueueGone
from zaqar.models import Message, Scope
from zaqar.notification import resend_and_replay
from zaqar.notification.fanout_share_per_project import ProjectTurns
from zaqar.notification.notice_deliveries import (
    FILTERS,
    Evaluations,
    Subscribers,
    deliveries,
    subscribers_of,
)
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.resend_and_replay import Step
from zaqar.storage.base import MessageStore


class NoticeWalk:
    """The notices of one fan-out, those of each project in turn.

    :ivar left: notices that are left to a later one
    :ivar parts: notices that others have begun
    :ivar steps: of requests of owners
    :ivar excluded: how many messages filters have excluded
    :ivar idle: see :class:`~.fanout.Expansion`
    """

    def __init__(
        self,
        ctx: Context,
        store: MessageStore,
        turns: ProjectTurns,
        evaluations: Evaluations,
    ) -> None:
        self._ctx = ctx
        self._store = store
        self._turns = turns
        self._evaluations = evaluations
        evaluations.begin()
        self._size = 0
        self.subscribers: dict[Scope, Subscribers] = {}
        self.left: list[tuple[Message, Notice]] = []
        self.parts: set[str] = set()
        self.steps: list[Step] = []
        self._contents: dict[str, str] = {}
        self.excluded: Counter[Key] = Counter()
        self.idle: list[tuple[str, int]] = []

    def deliveries(
        self, notices: Sequence[tuple[Message, Notice]]
    ) -> Iterator[tuple[str, Iterator[PendingDelivery]]]:
        """Yield the deliveries of each notice, with its id."""
        for message, notice in self._turns.begin(notices):
            if (
                self._evaluations.are_over
                or self._size > resend_and_replay.MAX_TOGETHER
                or not self._turns.admit(message.id, notice.project)
            ):
                self.left.append((message, notice))
                continue
            if message.id in self._evaluations.places:
                self.parts.add(message.id)
            yield message.id, self._made_of(message, notice)
            if message.id in self._evaluations.places:
                self.left.append((message, notice))

    def is_whole(self, notice_id: str) -> bool:
        """Tell whether all deliveries of a notice are made at once.

        And whether making them changes nothing else.
        """
        return not (
            notice_id in self.parts
            or notice_id in self._evaluations.places
            or notice_id in self._contents
        )

    def contents(self, notice_id: str) -> str:
        """Return what the deliveries of a request depend on, else ''."""
        return self._contents.get(notice_id, '')

    def _made_of(
        self, message: Message, notice: Notice
    ) -> Iterator[PendingDelivery]:
        subscribers = self._subscribers(notice)
        if not isinstance(notice, ResendRequest | ReplayRequest):
            yield from deliveries(
                notice, message, subscribers, self.excluded, self._evaluations
            )
            return
        for one in subscribers.notified:
            if one.id == notice.subscription:
                step = resend_and_replay.step(
                    self._ctx,
                    self._store,
                    notice,
                    message,
                    one,
                    FILTERS.of(one),
                    self._evaluations.spend,
                )
                self._size += step.size
                if step.excluded:
                    self.excluded[one.scope, one.id] += step.excluded
                self.steps.append(step)
                self._contents[message.id] = step.contents
                yield from step.deliveries

    def _subscribers(self, notice: Notice) -> Subscribers:
        scope = outbox_notices.scope_of(notice)
        known = self.subscribers.get(scope)
        if known is None:
            known = subscribers_of(self._ctx, scope)
        if not known.every and isinstance(notice, PostNotice):
            known = self._looked_again(notice, scope)
        self.subscribers[scope] = known
        return known

    def _looked_again(self, notice: PostNotice, scope: Scope) -> Subscribers:
        """List subscriptions again, after the epoch of the queue's flag.

        A subscription is recorded before its epoch begins, so that it is
        listed, or else the epoch is another one when the flag is cleared.

        :source: reference/storage, "Subscriber flags"
        """
        try:
            epoch = self._store.subscribed_epoch(
                notice.qid, now=self._store.clock.now()
            )
        except QueueGone:
            epoch = 0
        known = subscribers_of(self._ctx, scope)
        if epoch and not known.every:
            self.idle.append((notice.qid, epoch))
        return known
