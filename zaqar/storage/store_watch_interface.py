# SPDX-License-Identifier: Apache-2.0
"""The part of the storage contract that lets requests wait for messages."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Free messages that are counted for a queue, at most.
MAX_FREE = 100

#: Queues of one :meth:`WatchableStore.availability`, at most.
MAX_LOOKED_AT = 1000

#: Takes a queue and how many free messages were posted to it, 0 if something
#: else may have become available. No queue: any may have changed.
OnChange = Callable[[str | None, int], None]


@dataclass(frozen=True, slots=True)
class Availability:
    """What a queue offers to those that wait for messages.

    :ivar free: messages that a claim could take now, counted up to
        :data:`MAX_FREE`
    :ivar end: differs after every post to the queue
    :ivar due: when the next claim or delay ends, in milliseconds by the
        store's clock; None if there is none
    :ivar grouped: whether the queue may have groups, so that a deletion frees
        the messages behind
    """

    free: int = 0
    end: int = 0
    due: int | None = None
    grouped: bool = False


class Watch(abc.ABC):
    """Hears of changes of queues, in a thread of its own.

    :cvar hears_own: whether it also hears of all posts of its own process
    """

    hears_own: bool

    @abc.abstractmethod
    def add(self, qid: str) -> None:
        """Listen for changes of a queue; return at once.

        From some moment on no post is missed; the queue is then reported as
        changed, in case one was missed before.
        """

    @abc.abstractmethod
    def remove(self, qid: str) -> None:
        """Stop listening for a queue; return at once."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the thread and give back its connection."""


class WatchableStore(abc.ABC):
    """A message store whose queues can be looked at and listened to."""

    @abc.abstractmethod
    def availability(
        self, qids: Sequence[str], *, now: int
    ) -> Sequence[Availability]:
        """Tell what each of some queues offers, in their order.

        A few round trips for all of them. The cost does not depend on how
        many messages they hold. A queue that was never seen, or was dropped,
        offers nothing.

        :param qids: at most :data:`MAX_LOOKED_AT`; no internal queues
        """

    def watch(self, changed: OnChange) -> Watch | None:
        """Begin to report changes, without delay, of the queues to be added.

        It may report too much, and what it misses shows in
        :meth:`availability`: callers look there once a second. Claims and
        delays that end are not reported.

        :param changed: called in a thread of the watch; must not block
        :returns: None if the server reports nothing
        :raises StoreUnavailable: not now; try again later
        """
        return None
