# SPDX-License-Identifier: Apache-2.0
"""A message store whose changes by this process are announced at once."""

from collections.abc import Sequence
from typing import Any, cast

from zaqar.models import NewMessage, Settlement
from zaqar.storage.store_opener import Store
from zaqar.waiting.waited_queues import WaitedQueues


class _AnnouncingStore:
    """Passes all calls on, most of them without a detour."""

    def __init__(self, store: Any, waited: WaitedQueues) -> None:
        self._store = store
        self._waited = waited
        self.clock = store.clock

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
        ids: Sequence[str] = self._store.post(qid, messages, **options)
        self._waited.posted(qid, messages)
        return ids

    def delete(self, qid: str, message_id: str, **options: Any) -> None:
        """Delete a message; see the contract."""
        self._store.delete(qid, message_id, **options)
        self._waited.deleted(qid)

    def delete_many(
        self, qid: str, ids: Sequence[str], **options: Any
    ) -> None:
        """Delete messages; see the contract."""
        self._store.delete_many(qid, ids, **options)
        self._waited.deleted(qid)

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        """Release a claim; see the contract."""
        self._store.release(qid, claim_id, now=now)
        self._waited.released(qid)

    def settle(
        self,
        qid: str,
        claim_id: str,
        settlements: Sequence[Settlement],
        *,
        now: int,
    ) -> Sequence[bool] | None:
        """Settle messages of a claim; see the contract."""
        results = self._store.settle(qid, claim_id, settlements, now=now)
        # Some are free, or will be at another time than was known; and what is
        # deleted may free its group.
        self._waited.released(qid)
        return cast(Sequence[bool] | None, results)


def announcing(store: Store, waited: WaitedQueues) -> Store:
    """Return a message store that announces what becomes available in it."""
    return cast(Store, _AnnouncingStore(store, waited))
