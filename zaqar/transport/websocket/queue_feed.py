# SPDX-License-Identifier: Apache-2.0
"""The feed of one queue: reads new messages once, for all its streams.

A stream has a marker. If the feed knows it, what follows comes from memory;
else the stream *catches up*: pages are read from its marker on, one for all
streams that are there.

A stream may come to the end of the queue at a marker that the feed does not
know, because its message is gone. It is then *aligned*: the feed reads to the
end, which is at its own marker A. If after that nothing is behind the marker
of the stream, the stream goes on from A: what lies between the two is gone,
and what comes after A was posted later than all that the stream has.

Everything here runs on the loop; nothing blocks.
"""

import functools
import itertools
import logging
from collections.abc import Callable, Sequence, Set
from typing import Protocol

from zaqar.transport.websocket import feed_turns_on_event_loop
from zaqar.transport.websocket.feed_follower import Follower
from zaqar.transport.websocket.feed_turns_on_event_loop import Loop, LoopTurns
from zaqar.transport.websocket.recent_stream_events import (
    BATCH,
    Batch,
    EventPage,
    Format,
    Memory,
    RecentStreamEvents,
    Rendering,
    batch,
)
from zaqar.waiting.waiters import Ticket

LOG = logging.getLogger(__name__)

#: Messages of a page at first, and at most; fewer if they are long.
FIRST_PAGE = 20
MOST_PER_PAGE = 100

#: Seconds after which a read that has failed is repeated.
RETRY = 1.0


class Reader(Protocol):
    """Reads the queue; results are None after a failure."""

    def newest(self, done: Callable[[str | None], None]) -> None:
        """Have the marker of the newest message read."""

    def page(
        self,
        marker: str,
        limit: int,
        renderings: Set[Rendering],
        done: Callable[[EventPage | None], None],
    ) -> None:
        """Have messages after a marker read, and rendered."""


def _pay_nothing(count: int, paid: Callable[[], None]) -> bool:
    return True


#: A marker, the anchor, and how messages are rendered.
_Place = tuple[str, str | None, Rendering]


class QueueFeed:
    """The streams of one queue in one process.

    :param ticket: of a reader that waits for the queue
    :param memory: where the messages are counted
    :param turns: serves the streams
    :param pay: counts messages, see :class:`.StreamRateLimits`
    """

    def __init__(
        self,
        ticket: Ticket,
        reader: Reader,
        loop: Loop,
        memory: Memory,
        turns: LoopTurns,
        pay: Callable[[int, Callable[[], None]], bool] = _pay_nothing,
    ) -> None:
        self._ticket = ticket
        self._reader = reader
        self._loop = loop
        self._memory = memory
        self._turns = turns
        self._pay = pay
        self._recent: RecentStreamEvents | None = None
        self._limit = FIRST_PAGE
        self._followers: dict[Follower, None] = {}
        #: Those to be served next.
        self._due: dict[Follower, None] = {}
        #: Those that wait for a page after their marker.
        self._catching_up: dict[_Place, list[Follower]] = {}
        #: Those at the end with an unknown marker: for the next read, and for
        #: the one under way.
        self._unknown: dict[Follower, None] = {}
        self._aligned: dict[Follower, None] = {}
        self._is_serving = False
        self._is_reading = self._reads_again = self._is_parked = False
        self._is_closed = False

    def start(self) -> None:
        """Begin at the end of the queue."""
        if not self._is_closed:
            self._reader.newest(self._begin)

    def __len__(self) -> int:
        """Return how many streams there are."""
        return len(self._followers)

    def follow(self, follower: Follower) -> None:
        """Send a stream all that follows its marker."""
        self._followers[follower] = None
        self._go_on(follower)

    def leave(self, follower: Follower) -> None:
        """Send a stream nothing more."""
        self._followers.pop(follower, None)
        for group in (self._due, self._unknown, self._aligned):
            group.pop(follower, None)

    def block(self, follower: Follower, on: bool) -> None:
        """Send a stream nothing until its client reads."""
        follower.is_blocked = on
        if not on:
            self._go_on(follower)

    def end(self) -> None:
        """End all streams: their queue is gone."""
        for follower in list(self._followers):
            follower.end()

    def close(self) -> None:
        """Read no more."""
        self._is_closed = True
        self._ticket.leave()
        if self._recent is not None:
            self._recent.clear()

    def _go_on(self, follower: Follower) -> None:
        """Serve a stream whose client reads."""
        self._serve(follower)
        # It may be the first one, for which the feed has not read.
        if self._reads_again:
            self._read()

    def _begin(self, marker: str | None) -> None:
        if self._is_closed:
            return
        if marker is None:
            self._loop.call_later(RETRY, self.start)
            return
        self._recent = RecentStreamEvents(marker, self._memory)
        self._read()

    def _wake(self) -> None:
        """Handle that the queue has changed, in any thread."""
        self._loop.call_soon_threadsafe(self._changed)

    def _changed(self) -> None:
        self._is_parked = False
        self._read()

    def _read(self) -> None:
        """Read what is new, unless that is for nobody."""
        if self._is_closed:
            return
        self._reads_again = True
        if self._recent is None or self._is_reading:
            return
        if all(one.is_blocked for one in self._followers):
            return
        self._reads_again = False
        self._is_reading = True
        self._aligned.update(self._unknown)
        self._unknown.clear()
        renderings = {one.format.rendering for one in self._followers}
        self._reader.page(
            self._recent.marker, self._limit, renderings, self._was_read
        )

    def _was_read(self, page: EventPage | None) -> None:
        self._is_reading = False
        recent = self._recent
        if self._is_closed or recent is None:
            return
        if page is None:
            self._loop.call_later(RETRY, self._read)
            return
        self._adapt(page)
        recent.append(page)
        if page.events:
            self._serve(*self._followers)
        if not page.is_end:
            self._read()
            return
        for follower in self._aligned:
            follower.anchor = recent.marker
        self._serve(*self._aligned)
        self._aligned.clear()
        if self._reads_again or self._unknown:
            self._read()
        elif not self._is_parked and self._ticket.emptied(None):
            self._is_parked = True
            self._ticket.park(self._wake)

    def _adapt(self, page: EventPage) -> None:
        """Read more messages at a time, or fewer that are long."""
        if page.size > BATCH:
            # No more than have been rendered of what was read.
            self._limit = max(1, min(self._limit // 2, len(page.events)))
        elif len(page.events) >= self._limit:
            self._limit = min(MOST_PER_PAGE, 2 * self._limit)

    def _serve(self, *followers: Follower) -> None:
        self._due.update(dict.fromkeys(followers))
        if self._due and not self._is_serving:
            self._is_serving = True
            self._turns.add(self._serve_some)

    def _serve_some(self) -> int:
        """Serve some streams; return what that has cost."""
        cost = 0
        for follower in list(
            itertools.islice(self._due, feed_turns_on_event_loop.TURN)
        ):
            if cost >= feed_turns_on_event_loop.TURN:
                break
            if follower in self._due:
                del self._due[follower]
                cost += self._advance(follower)
        self._is_serving = False
        self._serve()
        if not self._due and self._recent is not None:
            self._recent.forget_batches()
        return cost

    def _advance(self, follower: Follower) -> int:
        """Serve a stream; return what that has cost."""
        if follower.is_blocked or follower.is_held or follower.is_reading:
            return 1
        recent = self._recent
        if recent is not None:
            messages = recent.after(
                follower.marker, follower.exclude, follower.format
            )
            if messages is not None:
                cost = self._move(follower, messages)
                if follower.marker != recent.marker:
                    self._serve(follower)
                return cost
        self._catch_up(follower)
        return 1

    def _catch_up(self, follower: Follower) -> None:
        """Read a page for a stream, and for all others that are there."""
        follower.is_reading = True
        rendering = follower.format.rendering
        place = (follower.marker, follower.anchor, rendering)
        if place in self._catching_up:
            self._catching_up[place].append(follower)
            return
        self._catching_up[place] = [follower]
        self._reader.page(
            follower.marker,
            self._limit,
            {rendering},
            functools.partial(self._has_caught_up, place),
        )

    def _has_caught_up(self, place: _Place, page: EventPage | None) -> None:
        followers = self._catching_up.pop(place)
        if page is None:
            retry = functools.partial(self._resume, followers)
            self._loop.call_later(RETRY, retry)
            return
        self._adapt(page)
        self._give(followers, page, place[1], 0)

    def _give(
        self,
        followers: Sequence[Follower],
        page: EventPage,
        anchor: str | None,
        first: int,
    ) -> int:
        """Give streams a page, some at a time; return what that has cost.

        They go on together, so that one read is for all of them again.

        :param anchor: that they had when it was read
        :param first: how many have got it already
        """
        batches: dict[tuple[str, Format], Batch] = {}
        cost = 0
        for number in range(first, len(followers)):
            if cost >= feed_turns_on_event_loop.TURN:
                rest = functools.partial(
                    self._give, followers, page, anchor, number
                )
                self._turns.add(rest)
                return cost
            follower = followers[number]
            # A blocked one gets it when it can be sent.
            if follower in self._followers and not (
                follower.is_blocked or follower.is_held
            ):
                key = (follower.exclude, follower.format)
                if key not in batches:
                    batches[key] = batch(page.events, page.marker, *key)
                cost += self._take(follower, page, batches[key], anchor)
        self._resume(followers)
        if self._unknown:
            self._read()
        return cost

    def _take(
        self,
        follower: Follower,
        page: EventPage,
        messages: Batch,
        anchor: str | None,
    ) -> int:
        """Give a stream a page; return what that has cost."""
        if page.marker != follower.marker:
            return self._move(follower, messages)
        if anchor is not None and page.is_end:
            return self._move(follower, Batch(b'', 0, anchor))
        if page.is_end:
            self._unknown[follower] = None
        return 1

    def _move(self, follower: Follower, messages: Batch) -> int:
        """Send a stream what leads to another marker; return the cost."""
        # The read under way may have begun before its new marker was posted.
        self._unknown.pop(follower, None)
        self._aligned.pop(follower, None)
        unpaid = messages.count - follower.paid
        if unpaid > 0:
            paid = functools.partial(self._paid, follower, unpaid)
            if not self._pay(unpaid, paid):
                follower.is_held = True
                return 1
        try:
            return follower.take(messages)
        except Exception:
            # The others, of whatever project, would get nothing any more.
            LOG.exception('A stream failed')
            self.leave(follower)
            return 1

    def _paid(self, follower: Follower, count: int) -> None:
        """Go on with a stream whose messages may be sent now."""
        follower.is_held = False
        follower.paid += count
        if follower in self._followers:
            self._go_on(follower)

    def _resume(self, followers: Sequence[Follower]) -> None:
        """Go on with streams for which a page has been read, or not."""
        for follower in followers:
            follower.is_reading = False
            if follower in self._followers and follower not in self._unknown:
                self._serve(follower)
