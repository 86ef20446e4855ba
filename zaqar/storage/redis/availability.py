# SPDX-License-Identifier: Apache-2.0
"""What queues offer to those that wait for messages."""

import time
from collections.abc import Sequence
from typing import Any

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable
from zaqar.storage.availability import MAX_FREE, Availability
from zaqar.storage.redis import keys, scripts
from zaqar.storage.redis.client import DEADLINE, RedisClient
from zaqar.storage.redis.node import ConnectionLost, RedisNode
from zaqar.storage.redis.scripts import Status

SCRIPT = scripts.AVAILABILITY


def look(
    client: RedisClient, qids: Sequence[str], now: int
) -> Sequence[Availability]:
    """Tell what each queue offers, in their order.

    Usually one pipeline for each server. A queue in which very many messages
    have just expired or come back takes several calls.
    """
    end = request_deadline.cap(time.monotonic() + DEADLINE)
    offers: dict[str, Availability] = {}
    missing = [*dict.fromkeys(qids)]
    budget = scripts.FIRST_BUDGET
    while missing:
        if time.monotonic() > end:
            raise StoreUnavailable
        answers = _together(client, missing, now, budget)
        refused = next((qid for qid in missing if qid not in answers), None)
        if refused is not None:
            # A single call is retried and redirected, and teaches the server
            # the script; the others follow it next time.
            names = _names(client, refused, now)
            answers[refused] = client.run(SCRIPT, names, (now, budget))
        for qid, (status, *offer) in answers.items():
            if status != Status.AGAIN:
                offers[qid] = _availability(*offer)
        missing = [qid for qid in missing if qid not in offers]
        budget = scripts.NEXT_BUDGET
    return [offers[qid] for qid in qids]


def _together(
    client: RedisClient, qids: Sequence[str], now: int, budget: int
) -> dict[str, Any]:
    """Return what the script answers, without queues where it fails."""
    answers: dict[str, Any] = {}
    if len(qids) == 1:
        return answers
    by_node: dict[RedisNode, list[str]] = {}
    try:
        for qid in qids:
            key = keys.of_state(client.prefix, qid)
            by_node.setdefault(client.topology.node(key), []).append(qid)
        for node, some in by_node.items():
            calls = [
                ('EVALSHA', SCRIPT.sha, len(names), *names, now, budget)
                for names in (_names(client, qid, now) for qid in some)
            ]
            for qid, answer in zip(some, node.exchange(calls), strict=True):
                if isinstance(answer, list):
                    answers[qid] = answer
    except ConnectionLost:
        client.topology.invalidate()
    return answers


def _names(client: RedisClient, qid: str, now: int) -> Sequence[str]:
    return keys.of_queue(client.prefix, qid, now)


def _availability(
    free: int = 0, end: bytes = b'0', due: bytes = b'', grouped: int = 0
) -> Availability:
    return Availability(
        min(free, MAX_FREE),
        int(end),
        int(due) if due else None,
        bool(grouped),
    )
