# SPDX-License-Identifier: Apache-2.0
"""Removal of expired messages and claims.

Queues that are read or posted to remove theirs, and the keys of idle ones
expire. This is for what lies between.
"""

import secrets
import time
from collections.abc import Iterator

from zaqar.storage.redis import key_names, queue_scans, scripts
from zaqar.storage.redis.key_names import EXPIRY
from zaqar.storage.redis.retrying_client import RedisClient

#: Milliseconds after which another process may sweep, should this one die.
LEASE = 30_000

#: Seconds that one sweep may take.
MAX_DURATION = 10.0


class QueueSweeper:
    """Sweeps all queues of a server, batch by batch."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._lease = key_names.of_lease(client.prefix)

    def sweep(self, now: int, batch: int) -> int:
        """Remove ``batch`` messages and claims at most; return how many.

        :returns: 0 while another process is at work
        """
        owner = secrets.token_hex(16)
        if not self._run_lease('take', owner):
            return 0
        # Should it fail, the lease expires.
        removed = self._sweep(now, batch)
        self._run_lease('give', owner)
        return removed

    def _run_lease(self, action: str, owner: str) -> int:
        arguments = action, owner, LEASE
        return int(self._client.run(scripts.LEASE, [self._lease], arguments))

    def _sweep(self, now: int, batch: int) -> int:
        removed = 0
        end = time.monotonic() + MAX_DURATION
        for qid in self._queues(now):
            keys = scripts.SWEEP.keys(self._client.prefix, qid, now)
            status, *answer = self._client.run(
                scripts.SWEEP, keys, (now, batch - removed)
            )
            removed += 0 if status else answer[0]
            if removed == batch or time.monotonic() > end:
                break
        return removed

    def _queues(self, now: int) -> Iterator[str]:
        """Yield queues in which something has expired."""
        for node, qids in queue_scans.queues(self._client):
            commands = [
                (
                    'ZCOUNT',
                    key_names.of_queue(self._client.prefix, qid, now)[EXPIRY],
                    '-inf',
                    now,
                )
                for qid in qids
            ]
            answers = queue_scans.exchange(node, commands)
            for qid, count in zip(qids, answers, strict=True):
                # Also where the slot has just moved.
                if count:
                    yield qid
