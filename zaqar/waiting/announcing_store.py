# SPDX-License-Identifier: Apache-2.0
"""A message store whose changes by this process are announced at once."""

from collections.abc import Sequence
from typing import Any, cast

from zaqar.models import NewMessage
from zaqar.storage.base import MessageStore
from zaqar.waiting.waited_queues import WaitedQueues


class _AnnouncingStore:
    """Passes all calls on, most of them without a detour."""

    def __init__(self, store: MessageStore, waited: WaitedQueues) -> None:
        self._store = store
        self._waited = waited

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if callable(attribute):
            # Next time it is at hand.
            self.__dict__[name] = attribute
        return attribute

    def post(
        self, qid: str, messages: Sequence[NewMessage], **options: Any
    ) -> Sequence[str]:
        """Post messages; see the contract."""
        ids = self._store.post(qid, messages, **options)
        self._waited.posted(qid, messages)
        return ids

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        """Release a claim; see the contract."""
        self._store.release(qid, claim_id, now=now)
        self._waited.released(qid)


def announcing(store: MessageStore, waited: WaitedQueues) -> MessageStore:
    """Return a store that announces what becomes available in its queues."""
    return cast(MessageStore, _AnnouncingStore(store, waited))
