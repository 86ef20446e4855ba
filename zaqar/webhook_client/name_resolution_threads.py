# SPDX-License-Identifier: Apache-2.0
"""Threads that resolve names of receivers; name servers may hang, too.

A look-up keeps its thread until the system gives it up, long after the attempt
that wanted it has ended. Hence a project has a part only of the threads that
others leave it, however many name servers it runs that do not answer, and only
a few of these for one domain, which leaves some for its other receivers.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from zaqar.daemon_threads import DaemonThreads

#: Threads, which cost little while they wait.
THREADS = 128

#: The share of the threads that others leave it that a project may have.
PROJECT_SHARE = 0.5

#: Look-ups of a project at a time whose names have the last labels in common.
PER_DOMAIN = 4

#: Labels of a domain that somebody may have registered.
_LABELS = 2

T = TypeVar('T')


@dataclass(frozen=True, slots=True, eq=False)
class _Lookup:
    """A look-up that waits for its turn.

    :ivar begun: its future in a thread, or cancelled if nobody waits any more
    """

    project: str
    domain: str
    resolve: Callable[[], Sequence[Any]]
    begun: asyncio.Future[Future[Sequence[Any]]]


class NameResolution:
    """Runs look-ups for one event loop."""

    def __init__(self) -> None:
        self._threads = DaemonThreads(THREADS, 'resolver')
        #: In the order in which they came.
        self._waiting: dict[_Lookup, None] = {}
        #: Look-ups under way, whoever waits for them.
        self._count = 0
        self._of_projects: Counter[str] = Counter()
        self._of_domains: Counter[tuple[str, str]] = Counter()

    async def run(
        self, host: str, project: str, resolve: Callable[[], Sequence[T]]
    ) -> Sequence[T]:
        """Return what a look-up returns.

        :param project: on whose behalf
        :param resolve: called in a thread
        :raises Exception: what ``resolve`` raises
        """
        loop = asyncio.get_running_loop()
        domain = '.'.join(host.lower().rstrip('.').split('.')[-_LABELS:])
        lookup = _Lookup(project, domain, resolve, loop.create_future())
        self._waiting[lookup] = None
        self._begin(loop)
        try:
            begun = await lookup.begun
        finally:
            self._waiting.pop(lookup, None)
        return await asyncio.wrap_future(begun)

    def close(self) -> None:
        """Start nothing any more."""
        self._threads.shutdown()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the look-ups that may, in their order."""
        for one in [one for one in self._waiting if self._may_begin(one)]:
            # An earlier one may have taken the last place.
            if self._may_begin(one) and not one.begun.done():
                self._count_one(one, 1)
                del self._waiting[one]
                begun = self._threads.submit(one.resolve)
                begun.add_done_callback(self._ended(loop, one))
                one.begun.set_result(begun)

    def _ended(
        self, loop: asyncio.AbstractEventLoop, one: _Lookup
    ) -> Callable[[Any], None]:
        def note() -> None:
            self._count_one(one, -1)
            self._begin(loop)

        def ended(_future: Any) -> None:
            # In a thread, also when the attempt has ended long ago.
            if not loop.is_closed():
                loop.call_soon_threadsafe(note)

        return ended

    def _may_begin(self, one: _Lookup) -> bool:
        own = self._of_projects[one.project]
        left = THREADS - self._count + own
        return (
            own < left * PROJECT_SHARE
            and self._of_domains[one.project, one.domain] < PER_DOMAIN
        )

    def _count_one(self, one: _Lookup, sign: int) -> None:
        self._count += sign
        self._of_projects += Counter({one.project: sign})
        self._of_domains += Counter({(one.project, one.domain): sign})
