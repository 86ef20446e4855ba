# SPDX-License-Identifier: Apache-2.0
"""Greenlets that wait for a store which does not answer.

They do nothing meanwhile, hence they give up the places that others need. What
they hold is memory: their number is bounded, and each store may have half of
what the others leave. What is beyond that is refused once the silence is long.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

from zaqar.errors import StoreUnavailable

#: Seconds without any answer after which a store counts as silent.
SILENT_AFTER = 0.05

#: Seconds between two looks at what is waited for.
CHECK_INTERVAL = SILENT_AFTER / 2

#: Seconds of silence from which on no more wait than may. Before, the others
#: do in their places: a server that pauses for a moment refuses nobody.
REFUSED_AFTER = 1.0

#: Greenlets of an event loop that wait for silent stores, at most.
MOST = 1024


class Greenlet(Protocol):
    """A greenlet; see :class:`zaqar.event_loop_greenlets.LoopGreenlet`."""

    def stall(self, store: object) -> bool: ...

    def switch(self, token: object) -> Any: ...


class Waiting(Protocol):
    """What a greenlet waits for.

    :ivar one: the greenlet; None if it has gone on
    :ivar failure: what is raised in it, if there is no answer
    """

    one: Any
    failure: Exception | None


class StalledGreenlets:
    """How many greenlets of an event loop wait for silent stores."""

    def __init__(self) -> None:
        self._counts: dict[object, int] = {}
        self._total = 0

    def add(self, store: object) -> bool:
        """Count one more, if a store has room for it."""
        own = self._counts.get(store, 0)
        if own >= (MOST - self._total + own) // 2:
            return False
        self._counts[store] = own + 1
        self._total += 1
        return True

    def remove(self, store: object) -> None:
        """Count one less."""
        self._total -= 1
        self._counts[store] -= 1
        if not self._counts[store]:
            del self._counts[store]


class Silence:
    """Notices that a store is silent.

    :param store: what is waited for; equal ones count together
    :ivar is_noticed: whether it is
    """

    def __init__(self, store: object) -> None:
        self._store = store
        self._since = -math.inf
        self.is_noticed = False

    def begin(self, one: Greenlet, since: float, now: float) -> None:
        """Have one more wait, without its place while there is silence.

        :param since: when the store was last heard of, or first waited for
        :raises StoreUnavailable: too many do
        """
        if (
            self.is_noticed
            and not one.stall(self._store)
            and now - since >= REFUSED_AFTER
        ):
            raise StoreUnavailable

    def check(
        self, since: float, now: float, waiting: Iterable[Waiting]
    ) -> None:
        """Have all that wait give up their places if there is silence.

        To be called at each :data:`CHECK_INTERVAL`.
        """
        # Twice the same: the loop may have had no time to look in between.
        was_same, self._since = since == self._since, since
        quiet = now - since
        self.is_noticed = was_same and quiet >= SILENT_AFTER
        if not self.is_noticed:
            return
        for each in [*waiting]:
            one = each.one
            if (
                one is not None
                and not one.stall(self._store)
                and quiet >= REFUSED_AFTER
            ):
                each.failure = StoreUnavailable()
                wake(each)


def wake(waiting: Waiting) -> None:
    """Let a greenlet go on that waits, if it still does."""
    one, waiting.one = waiting.one, None
    if one is not None:
        one.switch(waiting)
