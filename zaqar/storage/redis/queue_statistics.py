# SPDX-License-Identifier: Apache-2.0
"""Statistics of queues."""

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from zaqar.objects import MessageSpan, Stats
from zaqar.storage.redis import message_codec, script_for_many_queues, scripts
from zaqar.storage.redis.retrying_client import RedisClient


def decode(answer: Sequence[Any]) -> Stats:
    """Return what the script has answered behind its status."""
    posted, free, claimed, delayed, start, held, *flat = answer
    number = int(posted) if posted else None
    if not flat:
        return Stats(posted=number)
    oldest = MessageSpan(*message_codec.decode_head(*flat[:2]))
    newest = MessageSpan(*message_codec.decode_head(*flat[3:5]))
    return Stats(
        free,
        claimed,
        oldest,
        newest,
        delayed=delayed,
        held_by_groups=held,
        oldest_free_at=int(start) if start else None,
        posted=number,
    )


def of_many(
    client: RedisClient, qids: Sequence[str], now: int
) -> Sequence[Stats]:
    """Return the statistics of queues without their ends."""
    answers = script_for_many_queues.run(
        client, scripts.STATS, qids, now, message_codec.HEAD_SIZE
    )
    return [_without_ends(*answers[qid]) for qid in qids]


def _without_ends(status: int, *answer: Any) -> Stats:
    if status:
        # It was dropped.
        return Stats()
    return structs.replace(decode(answer), oldest=None, newest=None)
