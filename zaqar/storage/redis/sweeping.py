# SPDX-License-Identifier: Apache-2.0
"""Removing what nobody can see any more.

Queues that are read or posted to remove it by themselves, and idle ones are
forgotten by the server. This is for what lies between.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

from zaqar.storage.redis import keys, scanning, scripts
from zaqar.storage.redis.keys import EXPIRY
from zaqar.storage.redis.server import Server

#: Milliseconds after which somebody else may sweep, should we have died.
LEASE = 30_000

#: Seconds that one sweep may take.
DEADLINE = 10.0


class Sweeper:
    """Sweeps all queues of a server, batch by batch."""

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self._lease = keys.of_lease(prefix)

    def sweep(self, now: int, batch: int) -> int:
        """Remove ``batch`` messages and claims at most; return how many.

        :returns: 0 while somebody else is at work
        """
        name = secrets.token_hex(16)
        if not self._run_lease('take', name):
            return 0
        # Should it fail, the lease ends by itself.
        done = self._sweep(now, batch)
        self._run_lease('give', name)
        return done

    def _run_lease(self, act: str, name: str) -> int:
        return int(
            self._server.run(
                scripts.LEASE, [self._lease], (act, name, LEASE), writes=False
            )
        )

    def _sweep(self, now: int, batch: int) -> int:
        done = 0
        end = time.monotonic() + DEADLINE
        for qid in self._queues(now):
            names = keys.of_queue(self._prefix, qid, now)
            status, *found = self._server.run(
                scripts.SWEEP, names, (now, batch - done)
            )
            done += 0 if status else found[0]
            if done == batch or time.monotonic() > end:
                break
        return done

    def _queues(self, now: int) -> Iterator[str]:
        """Yield queues in which something has expired."""
        for link, found in scanning.queues(self._server, self._prefix):
            questions = [
                (
                    'ZCOUNT',
                    keys.of_queue(self._prefix, qid, now)[EXPIRY],
                    '-inf',
                    now,
                )
                for qid in found
            ]
            answers = scanning.exchange(link, questions)
            for qid, count in zip(found, answers, strict=True):
                # Also where the slot has just moved.
                if count:
                    yield qid
