# SPDX-License-Identifier: Apache-2.0
"""A message store whose changes by this process are announced at once."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from zaqar.objects import NewMessage
from zaqar.storage.store_opener import Store
from zaqar.waiting.waited_queues_and_listeners import WaitedQueues


class _AnnouncingStore:
    """Passes all calls on, most of them without a detour."""

    def __init__(self, store: Any, waited: WaitedQueues) -> None:
        self._store = store
        self._waited = waited
        self.clock = store.clock
        self._announce = {
            'delete': waited.deleted,
            'delete_many': waited.deleted,
            'release': waited.released,
            # Some are free, or will be at another time than was known; and
            # what is deleted may free its group.
            'settle': waited.released,
        }

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if callable(attribute):
            if (announce := self._announce.get(name)) is not None:
                attribute = _announced(attribute, announce)
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


def _announced(
    call: Callable[..., Any], announce: Callable[[str], None]
) -> Callable[..., Any]:
    """Return a call on a queue that announces it once it has returned."""

    def run(qid: str, *arguments: Any, **options: Any) -> Any:
        result = call(qid, *arguments, **options)
        announce(qid)
        return result

    return run


def announcing(store: Store, waited: WaitedQueues) -> Store:
    """Return a message store that announces what becomes available in it."""
    return cast(Store, _AnnouncingStore(store, waited))
