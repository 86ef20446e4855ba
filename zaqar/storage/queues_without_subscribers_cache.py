# SPDX-License-Identifier: Apache-2.0
"""A cache of queues that had no subscribers when last looked up."""

from zaqar.bounded_cache import BoundedCache

#: Maximum number of queues that are remembered.
MAX_QUEUES = 20_000


class UnsubscribedQueues:
    """Queues whose flag said that they have no subscribers.

    A hint: the store checks the flag again as it writes.
    """

    def __init__(self) -> None:
        self._qids: BoundedCache[str, None] = BoundedCache(MAX_QUEUES)

    def __contains__(self, qid: str) -> bool:
        return qid in self._qids

    def update(self, qid: str, epoch: int) -> None:
        """Remember a flag that was read: its epoch, 0 or less if unset."""
        if epoch > 0:
            if qid in self._qids:
                self._qids.pop(qid, None)
        elif qid not in self._qids:
            self._qids[qid] = None
