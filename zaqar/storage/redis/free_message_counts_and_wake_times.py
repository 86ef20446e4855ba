# SPDX-License-Identifier: Apache-2.0
"""What queues offer to those that wait for messages."""

from collections.abc import Sequence

from zaqar.storage.redis import script_for_many_queues, scripts
from zaqar.storage.redis.retrying_client import RedisClient
from zaqar.storage.store_watch_interface import MAX_FREE, Availability


def look(
    client: RedisClient, qids: Sequence[str], now: int
) -> Sequence[Availability]:
    """Tell what each queue offers, in their order.

    Usually one pipeline for each server.
    """
    answers = script_for_many_queues.run(
        client, scripts.AVAILABILITY, qids, now
    )
    return [_availability(*answers[qid][1:]) for qid in qids]


def _availability(
    free: int = 0, end: bytes = b'0', due: bytes = b'', grouped: int = 0
) -> Availability:
    return Availability(
        min(free, MAX_FREE),
        int(end),
        int(due) if due else None,
        bool(grouped),
    )
