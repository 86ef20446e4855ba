# SPDX-License-Identifier: Apache-2.0
"""Claims, and how they settle what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from zaqar.objects import Act, Claim, Settlement
from zaqar.storage.abstract_stores import MAX_EXHAUSTED
from zaqar_example.entries import Queue, Queues


class Claiming(Queues):
    """The calls about claims."""

    def claim(
        self,
        qid: str,
        now: int,
        claim_id: str,
        ttl: int,
        grace: int,
        limit: int,
        max_claims: int,
        version: int | None,
        only: Sequence[str] | None,
    ) -> Claim | None:
        queue = self.queue(qid, now)
        if claim_id in queue.claims:
            # A retry: the answer to the first call was lost.
            return _claim(queue, claim_id, now, split=True)
        queue.check(version)
        taken = 0
        for entry in list(queue.live(now)):
            if taken == limit:
                break
            if not entry.is_free(now):
                continue
            if only is not None and entry.id not in only:
                continue
            is_exhausted = 0 < max_claims <= entry.count
            if is_exhausted and (
                len(queue.held(claim_id, now)) - taken >= MAX_EXHAUSTED
            ):
                continue
            entry.hold(claim_id, now, ttl, grace)
            entry.is_exhausted = is_exhausted
            entry.count += int(not is_exhausted)
            taken += int(not is_exhausted)
        if queue.held(claim_id, now):
            queue.claims[claim_id] = (ttl, now + ttl * 1000)
        return _claim(queue, claim_id, now, split=True)

    def claimed(self, qid: str, claim_id: str, now: int) -> Claim | None:
        return _claim(self.queue(qid, now), claim_id, now, split=False)

    def renew(
        self, qid: str, claim_id: str, now: int, ttl: int, grace: int
    ) -> bool:
        queue = self.queue(qid, now)
        if not queue.is_claim(claim_id, now):
            return False
        for entry in queue.held(claim_id, now):
            entry.hold(claim_id, now, ttl, grace)
        queue.claims[claim_id] = (ttl, now + ttl * 1000)
        return True

    def settle(
        self, qid: str, claim_id: str, settlements: Sequence[Any], now: int
    ) -> Sequence[bool] | None:
        queue = self.queue(qid, now)
        held = {entry.id: entry for entry in queue.held(claim_id, now)}
        if not held:
            return None
        items = msgspec.convert(settlements, list[Settlement])
        for item in items:
            entry = held.get(item.message_id)
            if entry is None:
                continue
            if item.act is Act.DELETE:
                queue.remove(entry)
            elif item.act is Act.RELEASE:
                entry.release(item, now)
            else:
                entry.hold(claim_id, now, item.seconds, 0)
        ends = [entry.held_until for entry in queue.held(claim_id, now)]
        ttl, _ = queue.claims[claim_id]
        queue.claims[claim_id] = (ttl, max(ends, default=0))
        return [item.message_id in held for item in items]

    def release(self, qid: str, claim_id: str, now: int) -> None:
        queue = self.queue(qid, now)
        for entry in queue.held(claim_id, now):
            entry.claim_id, entry.held_until = None, 0
        queue.claims.pop(claim_id, None)


def _claim(
    queue: Queue, claim_id: str, now: int, *, split: bool
) -> Claim | None:
    """Return a live claim with its messages, None if it holds none.

    :param split: whether to list exhausted messages separately, as the call
        that makes a claim does
    """
    held = queue.held(claim_id, now)
    if not held:
        return None
    ttl, end = queue.claims[claim_id]
    return Claim(
        claim_id,
        ttl,
        end,
        [
            entry.shown(now)
            for entry in held
            if not (split and entry.is_exhausted)
        ],
        [entry.shown(now) for entry in held if split and entry.is_exhausted],
    )
