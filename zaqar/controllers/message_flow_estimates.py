# SPDX-License-Identifier: Apache-2.0
"""Estimates of how many messages come and go.

Posts and deletions count nothing. Each process remembers what the statistics
of a queue were when they were last requested, and compares. Since the numbers
are those of the store, they cover the changes of all processes.
"""

import msgspec

from zaqar.bounded_cache import BoundedCache
from zaqar.objects import Stats

#: Milliseconds before now that count.
PERIOD = 300_000

#: Milliseconds that two statistics are apart, at least: of a shorter time a
#: rate says nothing.
LEAST = 10_000

#: Milliseconds between two that are remembered, and how many these are.
INTERVAL = 30_000
REMEMBERED = PERIOD // INTERVAL + 1

#: Queues that a process remembers.
MAX_QUEUES = 2000


class Rates(msgspec.Struct, frozen=True):
    """Messages per minute, None where unknown.

    :ivar deleted: all that left the queue: deleted, popped, moved, expired
    """

    posted: float | None = None
    deleted: float | None = None


class _Sample(msgspec.Struct, frozen=True):
    at: int
    posted: int
    total: int


class MessageFlowEstimates:
    """The statistics of queues that were requested lately."""

    def __init__(self) -> None:
        self._queues: BoundedCache[str, tuple[_Sample, ...]] = BoundedCache(
            MAX_QUEUES
        )

    def update(self, qid: str, stats: Stats, now: int) -> Rates:
        """Remember statistics, and compare them with older ones."""
        if stats.posted is None:
            return Rates()
        sample = _Sample(now, stats.posted, stats.total)
        # Other threads may do the same; then one sample is lost.
        samples = tuple(
            one
            for one in self._queues.get(qid, ())
            # After a loss of data the numbers begin anew.
            if now - PERIOD <= one.at <= now and one.posted <= sample.posted
        )
        if not samples or now - samples[-1].at >= INTERVAL:
            remembered = (*samples, sample)[-REMEMBERED:]
            # At the end: what was not requested for longest goes first.
            self._queues.pop(qid, None)
            self._queues[qid] = remembered
        if not samples or now - samples[0].at < LEAST:
            return Rates()
        return _rates(samples[0], sample)


def _rates(first: _Sample, last: _Sample) -> Rates:
    minutes = (last.at - first.at) / 60_000
    posted = last.posted - first.posted
    # Numbers of different moments: a post may be in one of them only.
    deleted = max(posted - (last.total - first.total), 0)
    return Rates(round(posted / minutes, 1), round(deleted / minutes, 1))
