# SPDX-License-Identifier: Apache-2.0
"""Looking at all queues of a server, which no request does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from redis import exceptions

from zaqar.errors import StoreUnavailable
from zaqar.models import Stats
from zaqar.storage.redis import keys
from zaqar.storage.redis.keys import ALL, CLAIMED, EXPIRY
from zaqar.storage.redis.links import Command, Link, Lost
from zaqar.storage.redis.server import Server

#: Keys that the server looks at in one step.
STEP = 5000

#: Seconds after which nothing more is counted.
PATIENCE = 2.0


def queues(
    server: Server, prefix: str
) -> Iterator[tuple[Link, Sequence[str]]]:
    """Yield queues that hold messages, some at a time, and where they are.

    A queue may come twice.

    :raises StoreUnavailable: a server does not answer
    """
    pattern = keys.expiries(prefix)
    try:
        links = server.topology.links()
    except Lost as error:
        raise StoreUnavailable from error
    for link in links:
        cursor = b'0'
        while True:
            question = 'SCAN', cursor, 'MATCH', pattern, 'COUNT', STEP
            (answer,) = exchange(link, [question])
            if isinstance(answer, exceptions.RedisError):
                raise StoreUnavailable from answer
            cursor, found = answer
            if found:
                yield link, [keys.queue_of(prefix, key) for key in found]
            if int(cursor) == 0:
                break


def exchange(link: Link, commands: Sequence[Command]) -> list[Any]:
    """Send commands to one server; errors are among the answers.

    :raises StoreUnavailable: it does not answer
    """
    try:
        return link.exchange(commands)
    except Lost as error:
        raise StoreUnavailable from error


def volume(server: Server, prefix: str, now: int) -> Stats:
    """Count the live messages of all queues, or of as many as it can."""
    end = time.monotonic() + PATIENCE
    seen: set[str] = set()
    total = claimed = 0
    for link, found in queues(server, prefix):
        fresh = [qid for qid in dict.fromkeys(found) if qid not in seen]
        seen.update(fresh)
        for alive, dead, held in _counts(link, prefix, fresh, now):
            total += alive - dead
            claimed += held
        if time.monotonic() > end:
            break
    return Stats(free=total - claimed, claimed=claimed)


def _counts(
    link: Link, prefix: str, qids: Sequence[str], now: int
) -> Iterator[Sequence[int]]:
    commands: list[Command] = []
    for qid in qids:
        names = keys.of_queue(prefix, qid, now)
        commands += (
            ('ZCARD', names[ALL]),
            ('ZCOUNT', names[EXPIRY], '-inf', now),
            ('ZCOUNT', names[CLAIMED], f'({now}', '+inf'),
        )
    answers = exchange(link, commands) if commands else []
    for at in range(0, len(answers), 3):
        three = answers[at : at + 3]
        # What has just moved elsewhere is left out.
        if all(isinstance(number, int) for number in three):
            yield three
