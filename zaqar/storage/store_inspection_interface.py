# SPDX-License-Identifier: Apache-2.0
"""The part of the storage contract that shows why and how it behaves."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass

from zaqar.errors import QueueGone
from zaqar.objects import Message, Stats
from zaqar.storage.store_guarantees import Guarantees


@dataclass(frozen=True, slots=True)
class Inspected:
    """A live message, and what keeps it from being handed out.

    :ivar group_busy_until: while another message of its group is claimed or
        waits after a release, when that ends; None otherwise
    :ivar lacks_body: its body is not where the store has put it
    """

    message: Message
    group_busy_until: int | None = None
    lacks_body: bool = False


class InspectableStore(abc.ABC):
    """A message store that explains itself."""

    @abc.abstractmethod
    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        """Return the live ones of ``ids``, each once, in queue order."""

    @abc.abstractmethod
    def stats(self, qid: str, *, now: int) -> Stats:
        """Count live messages, exactly, and name both ends."""

    def stats_of(self, qids: Sequence[str], *, now: int) -> Sequence[Stats]:
        """Count the live messages of many queues, in their order.

        Exactly, as :meth:`stats` does, but without naming ends. A queue that
        was dropped has none. Drivers need the same few round trips for any
        page of queues.
        """
        counts = []
        for qid in qids:
            try:
                counts.append(self.stats(qid, now=now))
            except QueueGone:
                counts.append(Stats())
        return counts

    def inspect(
        self, qid: str, message_id: str, *, now: int
    ) -> Inspected | None:
        """Return a live message with all that matters to its consumers.

        Takes two round trips at most.
        """
        for message in self.get(qid, [message_id], now=now):
            return Inspected(message)
        return None

    def volume(self, *, now: int) -> Stats | None:
        """Estimate the live messages of all queues together.

        For administrators: a driver may stop counting somewhere, and one that
        cannot tell in bounded time returns None. Names no ends.
        """
        return None

    def held_bytes(self, qids: Sequence[str], *, now: int) -> int | None:
        """Return how many bytes of bodies some queues hold, about.

        From the first call about a queue on the store keeps a running count of
        it: what is posted adds to it, and what is removed subtracts from it,
        in the same step. It does not have to know how long each removed
        message was.

        :returns: None if the driver does not count; not all, where the count
            of many queues is to begin
        """
        return None

    def guarantees(self, qid: str) -> Guarantees | None:
        """Read what the server that has a queue promises at present.

        A setting that may not be read makes what depends on it unknown, which
        is no error.

        :returns: None if the driver does not tell
        :raises StoreUnavailable: the server does not answer
        """
        return None
