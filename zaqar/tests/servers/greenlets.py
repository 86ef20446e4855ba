# SPDX-License-Identifier: Apache-2.0
"""Greenlets of an event loop, for tests."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
import uvloop

from zaqar.event_loop_greenlets import Hub

#: Seconds after which a test is given up.
PATIENCE = 60.0


class Greenlets:
    """An event loop in the thread of a test.

    :ivar hub: of its greenlets
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self.hub = Hub(self.loop, 8)

    def run(self, *works: Callable[[], Any]) -> Sequence[Any]:
        """Begin work in one greenlet each; return the results in order.

        What it raises is its result.
        """
        results: dict[int, Any] = {}

        def do(number: int, work: Callable[[], Any]) -> None:
            try:
                results[number] = work()
            except Exception as error:
                results[number] = error
            if len(results) == len(works):
                self.loop.stop()

        for number, work in enumerate(works):
            self.loop.call_soon(
                self.hub.begin, functools.partial(do, number, work)
            )
        watch = self.loop.call_later(PATIENCE, self.loop.stop)
        self.loop.run_forever()
        watch.cancel()
        assert len(results) == len(works)
        return [results[number] for number in range(len(works))]


@pytest.fixture
def greenlets() -> Iterator[Greenlets]:
    made = Greenlets()
    yield made
    tasks = asyncio.all_tasks(made.loop)
    for task in tasks:
        task.cancel()
    made.loop.run_until_complete(_ended(tasks))
    made.loop.close()


async def _ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
