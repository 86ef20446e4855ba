# SPDX-License-Identifier: Apache-2.0
"""A script that is run for many queues at once."""

import time
from collections.abc import Sequence
from typing import Any

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable
from zaqar.storage.redis import key_names, scripts
from zaqar.storage.redis.node_connection_pool import ConnectionLost, RedisNode
from zaqar.storage.redis.retrying_client import DEADLINE, RedisClient
from zaqar.storage.redis.scripts import Script, Status


def run(
    client: RedisClient,
    script: Script,
    qids: Sequence[str],
    now: int,
    *arguments: Any,
) -> dict[str, Any]:
    """Return what a script answers for each queue.

    It may run several times.

    Usually one pipeline for each server. A queue in which very many messages
    have just expired or come back takes several calls.

    :param script: takes now, a budget, and the arguments
    :raises StoreUnavailable: no answer in time
    """
    end = request_deadline.cap(time.monotonic() + DEADLINE)
    done: dict[str, Any] = {}
    missing = [*dict.fromkeys(qids)]
    rest = (now, scripts.FIRST_BUDGET, *arguments)
    while missing:
        if time.monotonic() > end:
            raise StoreUnavailable
        answers = _together(client, script, missing, rest)
        refused = next((qid for qid in missing if qid not in answers), None)
        if refused is not None:
            # A single call is retried and redirected, and teaches the server
            # the script; the others follow it next time.
            keys = script.keys(client.prefix, refused, now)
            answers[refused] = client.run(script, keys, rest)
        for qid, answer in answers.items():
            if answer[0] != Status.AGAIN:
                done[qid] = answer
        missing = [qid for qid in missing if qid not in done]
        rest = (now, scripts.NEXT_BUDGET, *arguments)
    return done


def _together(
    client: RedisClient,
    script: Script,
    qids: Sequence[str],
    arguments: Sequence[Any],
) -> dict[str, Any]:
    """Return what the script answers, without queues where it fails."""
    answers: dict[str, Any] = {}
    if len(qids) == 1:
        return answers
    by_node: dict[RedisNode, list[str]] = {}
    try:
        for qid in qids:
            key = key_names.of_state(client.prefix, qid)
            by_node.setdefault(client.topology.node(key), []).append(qid)
        for node, some in by_node.items():
            calls = [
                ('EVALSHA', script.sha, len(keys), *keys, *arguments)
                for keys in (
                    script.keys(client.prefix, qid, arguments[0])
                    for qid in some
                )
            ]
            for qid, answer in zip(some, node.exchange(calls), strict=True):
                if isinstance(answer, list):
                    answers[qid] = answer
    except ConnectionLost:
        client.topology.invalidate()
    return answers
