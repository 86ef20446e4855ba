# SPDX-License-Identifier: Apache-2.0
"""The feeds of all queues that streams of this process follow."""

import functools
import logging
import math
from collections.abc import Callable, Set
from typing import Any

from zaqar.controllers.rate_limits import Throttle
from zaqar.controllers.streams import StreamSource
from zaqar.errors import NoRoute, StoreUnavailable
from zaqar.objects import Scope
from zaqar.transport.websocket.feed_follower import Follower
from zaqar.transport.websocket.feed_turns_on_event_loop import Loop, LoopTurns
from zaqar.transport.websocket.page_read_memory import MOST_READ, PageReads
from zaqar.transport.websocket.queue_feed import QueueFeed
from zaqar.transport.websocket.recent_stream_events import (
    BATCH,
    Event,
    EventPage,
    Memory,
    Rendering,
)
from zaqar.transport.websocket.stream_rate_limits import StreamRateLimits
from zaqar.transport.websocket.worker_threads import Workers
from zaqar.waiting.waiters import Waiters

LOG = logging.getLogger(__name__)


#: What a feed is for: any queue of a name, or one by its fingerprint.
_Key = tuple[Scope, str]

#: Result of a read whose queue is gone.
_GONE = object()


def _key(source: StreamSource) -> _Key:
    return source.scope, source.fingerprint


class QueueFeeds:
    """One feed per queue that is followed.

    :param longest: bytes of the longest message
    :param throttle: keeps projects to their rates, None without any
    """

    def __init__(
        self,
        waiters: Waiters,
        workers: Workers,
        loop: Loop,
        longest: int,
        throttle: Throttle | None = None,
    ) -> None:
        self._waiters = waiters
        self._workers = workers
        self._loop = loop
        self._feeds: dict[_Key, QueueFeed] = {}
        self._longest = longest
        self._memory = Memory()
        self._turns = LoopTurns(loop)
        self._reads = PageReads()
        self._rates = StreamRateLimits(throttle, workers, loop)

    def __len__(self) -> int:
        """Return how many streams there are."""
        return sum(map(len, self._feeds.values()))

    def follow(self, source: StreamSource, follower: Follower) -> None:
        """Send a stream all that follows its marker."""
        key = _key(source)
        feed = self._feeds.get(key)
        if feed is None:
            ticket = self._waiters.enter(
                source.scope, takes=False, seconds=math.inf, sees_held=True
            )
            reader = _SourceReader(
                source,
                self._workers,
                self._reads,
                self._longest,
                functools.partial(self._end, key),
            )
            feed = QueueFeed(
                ticket,
                reader,
                self._loop,
                self._memory,
                self._turns,
                functools.partial(self._rates.pay, source.scope.project),
            )
            self._feeds[key] = feed
            feed.start()
        feed.follow(follower)

    def block(
        self, source: StreamSource, follower: Follower, on: bool
    ) -> None:
        """Send a stream nothing until its client reads."""
        feed = self._feeds.get(_key(source))
        if feed is not None:
            feed.block(follower, on)

    def leave(self, source: StreamSource, follower: Follower) -> None:
        """Send a stream nothing more; harmless if it has left."""
        feed = self._feeds.get(_key(source))
        if feed is not None:
            feed.leave(follower)
            if not len(feed):
                del self._feeds[_key(source)]
                feed.close()

    def _end(self, key: _Key) -> None:
        """Handle that the queue of a feed is gone."""
        feed = self._feeds.get(key)
        if feed is not None:
            feed.end()


class _SourceReader:
    """Reads a queue on the threads that may wait for a store.

    :param end: called when the queue is gone that the source is for
    """

    def __init__(
        self,
        source: StreamSource,
        workers: Workers,
        reads: PageReads,
        longest: int,
        end: Callable[[], None],
    ) -> None:
        self._end = end
        self._source = source
        self._workers = workers
        self._reads = reads
        self._longest = longest

    def newest(self, done: Callable[[str | None], None]) -> None:
        self._submit(self._source.newest, done)

    def page(
        self,
        marker: str,
        limit: int,
        renderings: Set[Rendering],
        done: Callable[[EventPage | None], None],
    ) -> None:
        limit = max(1, min(limit, MOST_READ // self._longest))
        read = functools.partial(self._page, marker, limit, renderings)
        size = limit * self._longest

        def was_read(page: EventPage | None) -> None:
            self._reads.end(size)
            done(page)

        begin = functools.partial(self._submit, read, was_read)
        self._reads.begin(self._source.scope.project, size, begin)

    def _page(
        self, marker: str, limit: int, renderings: Set[Rendering]
    ) -> EventPage:
        scope = self._source.scope
        page = self._source.read(marker, limit)
        events: list[Event] = []
        size = 0
        for one in page.messages:
            if size >= BATCH:
                # The rest is read again: all of it would be written at once.
                return EventPage(events, events[-1].marker, False)
            data = {
                render: render(one, page.now, scope) for render in renderings
            }
            events.append(Event(one.marker, one.client, data))
            size += events[-1].size
        return EventPage(events, page.marker, page.is_end)

    def _submit(
        self, read: Callable[[], Any], done: Callable[[Any], None]
    ) -> None:
        def attempt() -> Any:
            try:
                return read()
            except NoRoute:
                return _GONE
            except StoreUnavailable:
                # It is read again in a moment.
                return None
            except Exception:
                LOG.exception('A queue could not be read for its streams')
                return None

        def finish(result: Any) -> None:
            if result is _GONE:
                self._end()
            done(None if result is _GONE else result)

        self._workers.submit(attempt, finish, self._source.scope.project)
