# SPDX-License-Identifier: Apache-2.0
"""Threads that resolve names of receivers; name servers may hang, too.

A look-up keeps its thread until the system gives it up, long after the attempt
that wanted it has ended. Hence only a few look-ups at a time are for names of
one domain: whoever runs a name server that does not answer holds up nobody
else.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar
from weakref import WeakValueDictionary

from zaqar.daemon_threads import DaemonThreads

#: Threads, which cost little while they wait.
THREADS = 64

#: Look-ups at a time whose names have the last labels in common.
PER_DOMAIN = 4

#: Labels of a domain that somebody may have registered.
_LABELS = 2

T = TypeVar('T')


class NameResolution:
    """Runs look-ups for one event loop."""

    def __init__(self) -> None:
        self._threads = DaemonThreads(THREADS, 'resolver')
        # Each lasts as long as somebody waits, or a look-up is under way.
        self._free: WeakValueDictionary[str, asyncio.Semaphore] = (
            WeakValueDictionary()
        )

    async def run(
        self, host: str, resolve: Callable[[], Sequence[T]]
    ) -> Sequence[T]:
        """Return what a look-up returns.

        :param resolve: called in a thread
        :raises Exception: what ``resolve`` raises
        """
        loop = asyncio.get_running_loop()
        domain = '.'.join(host.lower().rstrip('.').split('.')[-_LABELS:])
        free = self._free.get(domain)
        if free is None:
            free = self._free[domain] = asyncio.Semaphore(PER_DOMAIN)
        await free.acquire()

        def ended(_lookup: Future[Sequence[T]]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(free.release)

        lookup = self._threads.submit(resolve)
        # Also when the attempt was cancelled meanwhile: the thread goes on.
        lookup.add_done_callback(ended)
        return await asyncio.wrap_future(lookup)

    def close(self) -> None:
        """Start nothing any more."""
        self._threads.shutdown()
