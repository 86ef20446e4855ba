# SPDX-License-Identifier: Apache-2.0
"""Scans of all queues of a deployment, which no request makes."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from redis import exceptions

from zaqar.errors import StoreUnavailable
from zaqar.models import Stats
from zaqar.storage.redis import keys
from zaqar.storage.redis.client import RedisClient
from zaqar.storage.redis.keys import ALL, CLAIMED, EXPIRY
from zaqar.storage.redis.node import Command, ConnectionLost, RedisNode

#: Keys that the server scans in one step.
SCAN_COUNT = 5000

#: Seconds after which counting stops.
MAX_DURATION = 2.0


def queues(client: RedisClient) -> Iterator[tuple[RedisNode, Sequence[str]]]:
    """Yield queues that hold messages, some at a time, with their node.

    A queue may be yielded twice.
    """
    prefix = client.prefix
    pattern = keys.expiries(prefix)
    try:
        nodes = client.topology.nodes()
    except ConnectionLost as error:
        raise StoreUnavailable from error
    for node in nodes:
        cursor = b'0'
        while True:
            command = 'SCAN', cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT
            (answer,) = exchange(node, [command])
            if isinstance(answer, exceptions.RedisError):
                raise StoreUnavailable from answer
            cursor, names = answer
            if names:
                yield node, [keys.queue_of(prefix, name) for name in names]
            if int(cursor) == 0:
                break


def exchange(node: RedisNode, commands: Sequence[Command]) -> list[Any]:
    """Send commands to one server; errors are among the answers."""
    try:
        return node.exchange(commands)
    except ConnectionLost as error:
        raise StoreUnavailable from error


def count_messages(client: RedisClient, now: int) -> Stats:
    """Count the live messages of all queues, or of as many as it can."""
    end = time.monotonic() + MAX_DURATION
    seen: set[str] = set()
    total = claimed = 0
    for node, qids in queues(client):
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
        names = keys.of_queue(prefix, qid, now)
        commands += (
            ('ZCARD', names[ALL]),
            ('ZCOUNT', names[EXPIRY], '-inf', now),
            ('ZCOUNT', names[CLAIMED], f'({now}', '+inf'),
        )
    answers = exchange(node, commands) if commands else []
    for at in range(0, len(answers), 3):
        counts = answers[at : at + 3]
        # A queue whose slot has just moved is omitted.
        if all(isinstance(count, int) for count in counts):
            yield counts
