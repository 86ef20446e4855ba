# SPDX-License-Identifier: Apache-2.0
"""A cache of queues that have had groups."""

from collections.abc import Callable
from typing import TypeVar

from zaqar.bounded_cache import BoundedCache
from zaqar.storage.sqlalchemy.queue_row import GroupedQueueError

T = TypeVar('T')

#: Maximum number of queues that are remembered.
MAX_QUEUES = 20_000


class GroupedQueues:
    """Queues that have had groups, as far as this process knows.

    A hint: the statements for the others leave such a queue alone, and say so.
    """

    def __init__(self) -> None:
        self._qids: BoundedCache[str, None] = BoundedCache(MAX_QUEUES)

    def __contains__(self, qid: str) -> bool:
        return qid in self._qids

    def run(
        self,
        qid: str,
        work: Callable[[], T],
        grouped_work: Callable[[], T],
    ) -> T:
        """Work with a queue in the way that is right for it.

        :param work: raises :class:`GroupedQueueError`, and changes nothing, if
            the queue has groups
        """
        if qid not in self._qids:
            try:
                return work()
            except GroupedQueueError:
                self._qids[qid] = None
        return grouped_work()
