# SPDX-License-Identifier: Apache-2.0
"""The number of messages of a deployment, counted queue by queue."""

import time
from collections.abc import Iterator, Sequence

from zaqar.objects import Stats
from zaqar.storage.redis import key_names, queue_scans
from zaqar.storage.redis.key_names import ALL, CLAIMED, EXPIRY
from zaqar.storage.redis.node_connection_pool import Command, RedisNode
from zaqar.storage.redis.retrying_client import RedisClient

#: Seconds after which counting stops.
MAX_DURATION = 2.0


def count_messages(client: RedisClient, now: int) -> Stats:
    """Count the live messages of all queues, or of as many as it can."""
    end = time.monotonic() + MAX_DURATION
    seen: set[str] = set()
    total = claimed = 0
    for node, qids in queue_scans.queues(client):
        unseen = [qid for qid in dict.fromkeys(qids) if qid not in seen]
        seen.update(unseen)
        for stored, dead, held in _counts(node, client.prefix, unseen, now):
            total += stored - dead
            claimed += held
        if time.monotonic() > end:
            break
    return Stats(free=total - claimed, claimed=claimed)


def _counts(
    node: RedisNode, prefix: str, qids: Sequence[str], now: int
) -> Iterator[Sequence[int]]:
    commands: list[Command] = []
    for qid in qids:
        names = key_names.of_queue(prefix, qid, now)
        commands += (
            ('ZCARD', names[ALL]),
            ('ZCOUNT', names[EXPIRY], '-inf', now),
            ('ZCOUNT', names[CLAIMED], f'({now}', '+inf'),
        )
    answers = queue_scans.exchange(node, commands) if commands else []
    for at in range(0, len(answers), 3):
        counts = answers[at : at + 3]
        # A queue whose slot has just moved is omitted.
        if all(isinstance(count, int) for count in counts):
            yield counts
