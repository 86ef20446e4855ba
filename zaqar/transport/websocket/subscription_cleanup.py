# SPDX-License-Identifier: Apache-2.0
"""Removal of the subscriptions of closed connections to themselves."""

import asyncio
import functools
import logging
from collections.abc import Sequence

from zaqar.errors import StoreUnavailable
from zaqar.transport.websocket.frame_and_answer_types import OwnedSubscription
from zaqar.transport.websocket.frame_handler import FrameHandler
from zaqar.transport.websocket.worker_threads import Workers

LOG = logging.getLogger(__name__)

#: Tries to delete a subscription, and seconds between them.
TRIES = 5
PAUSE = 2.0


class SubscriptionCleanup:
    """Deletes subscriptions, again if a store does not answer."""

    def __init__(
        self,
        handler: FrameHandler,
        workers: Workers,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._handler = handler
        self._workers = workers
        self._loop = loop
        self._under_way = 0

    @property
    def is_done(self) -> bool:
        return not self._under_way

    def remove(
        self, subscriptions: Sequence[OwnedSubscription], tries: int = TRIES
    ) -> None:
        self._under_way += 1
        self._workers.submit(
            functools.partial(self._delete, subscriptions),
            functools.partial(self._deleted, tries=tries),
        )

    def _delete(
        self, subscriptions: Sequence[OwnedSubscription]
    ) -> Sequence[OwnedSubscription]:
        """Delete subscriptions; return those that are left."""
        left = []
        for subscription in subscriptions:
            try:
                self._handler.dispatcher.forget(
                    subscription.scope, subscription.id
                )
            except StoreUnavailable:
                left.append(subscription)
            except Exception:
                LOG.exception(
                    'Subscription %s could not be removed', subscription.id
                )
        return left

    def _deleted(self, left: Sequence[OwnedSubscription], tries: int) -> None:
        self._under_way -= 1
        if not left:
            return
        if tries > 1:
            self._loop.call_later(PAUSE, self.remove, left, tries - 1)
            return
        # Deliveries to their address will fail.
        LOG.warning(
            '%d subscriptions of a closed connection could not be removed; '
            'they expire',
            len(left),
        )
