# SPDX-License-Identifier: Apache-2.0
"""A cache of the guarantees of servers, as read within the last minute."""

import time
from collections.abc import Callable

import msgspec

from zaqar.bounded_cache import BoundedCache
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.store_guarantees import Guarantees

#: Seconds for which settings are not read again.
FRESH = 60.0

#: Queues that a process remembers.
MAX_QUEUES = 1000


class Checked(msgspec.Struct, frozen=True):
    """What a server promised, None if its driver does not tell.

    :ivar at: when it was read, by the clock of the store
    """

    guarantees: Guarantees | None
    at: int


class ServerGuaranteesCache:
    """Reads the settings of a queue's server once a minute at most.

    :param timer: a monotonic clock, in seconds
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._queues: BoundedCache[str, tuple[Checked, float]] = BoundedCache(
            MAX_QUEUES
        )

    def read(self, store: MessageStore, qid: str) -> Checked:
        checked, until = self._queues.get(qid, (None, 0.0))
        start = self._timer()
        if checked is None or start >= until:
            at = store.clock.now()
            checked = Checked(store.guarantees(qid), at)
            self._queues.pop(qid, None)
            self._queues[qid] = checked, start + FRESH
        return checked
