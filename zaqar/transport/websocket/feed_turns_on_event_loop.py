# SPDX-License-Identifier: Apache-2.0
"""Turns of feeds on the event loop that they share.

Everything here runs on the loop; nothing blocks.
"""

import collections
import logging
from collections.abc import Callable
from typing import Protocol

LOG = logging.getLogger(__name__)

#: What streams may cost before others on the loop have their turn: about as
#: many messages of WebSocket frames, which take a millisecond or so.
TURN = 1000

#: What each write costs beyond its messages, and bytes that cost as much as
#: one of them.
WRITE = 10
BYTES = 1024


class SoonLoop(Protocol):
    """What turns need of an event loop."""

    def call_soon(self, call: Callable[[], object]) -> object: ...


class Loop(SoonLoop, Protocol):
    """What feeds need of an event loop."""

    def call_later(
        self, seconds: float, call: Callable[[], object]
    ) -> object: ...

    def call_soon_threadsafe(self, call: Callable[[], object]) -> object: ...


class LoopTurns:
    """Serves streams, not too many at a time."""

    def __init__(self, loop: SoonLoop) -> None:
        self._loop = loop
        self._waiting: collections.deque[Callable[[], int]] = (
            collections.deque()
        )
        self._is_running = False

    def add(self, serve: Callable[[], int]) -> None:
        """Call a function soon.

        :param serve: returns what it has cost, about :data:`TURN` at most
        """
        self._waiting.append(serve)
        if not self._is_running:
            self._is_running = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        cost = 0
        # What is added meanwhile has its turn behind all others.
        for _ in range(len(self._waiting)):
            cost += 1 + self._served(self._waiting.popleft())
            if cost >= TURN:
                break
        self._is_running = bool(self._waiting)
        if self._is_running:
            self._loop.call_soon(self._run)

    def _served(self, serve: Callable[[], int]) -> int:
        try:
            return serve()
        except Exception:
            # Nothing would ever be served again: others wait for this loop.
            LOG.exception('Streams could not be served')
            return 0
