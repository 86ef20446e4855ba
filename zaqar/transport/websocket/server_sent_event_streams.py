# SPDX-License-Identifier: Apache-2.0
"""Streams of Server-Sent Events to HTTP clients.

:source: reference/websocket, "Streams"
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import Protocol

from zaqar.controllers import streams
from zaqar.controllers.streams import StreamStart
from zaqar.transport.websocket.feed_follower import Follower
from zaqar.transport.websocket.queue_feeds import QueueFeeds
from zaqar.transport.websocket.recent_stream_events import Batch
from zaqar.transport.websocket.server_sent_event_format import EVENTS
from zaqar.transport.wsgi.responses import Headers

#: Seconds of silence after which a comment is sent, so that neither proxies
#: nor clients take a stream for dead; and between two looks for such streams.
HEARTBEAT = 15.0
PULSE = 1.0

#: Milliseconds after which clients are to reconnect.
RETRY = 2000

_COMMENT = b':\n\n'


class StreamReader(Protocol):
    """Who reads a stream."""

    def begin(
        self, status: int, headers: Headers, stream: EventStream
    ) -> None:
        """Write the head of a stream; notify it when writing blocks."""

    def send_event(self, data: bytes) -> None:
        """Write a part of the stream."""

    def finish(self) -> None:
        """End the stream and the connection."""


class Streams:
    """The streams of all connections of a process.

    :param max_age: seconds after which a stream ends
    :param now: the present time
    """

    def __init__(
        self,
        feeds: QueueFeeds,
        loop: asyncio.AbstractEventLoop,
        max_age: float,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(
            datetime.UTC
        ),
    ) -> None:
        self.feeds = feeds
        self._loop = loop
        self._max_age = max_age
        self._now = now
        #: When something was last sent to each; the longest silence first.
        self._heard: dict[EventStream, float] = {}
        self._is_beating = False
        self._is_closed = False

    def add(
        self, stream: EventStream, ends_at: datetime.datetime | None
    ) -> asyncio.TimerHandle:
        """Add a stream; return the timer that ends it."""
        self.note(stream)
        if not self._is_beating:
            self._is_beating = True
            self._loop.call_later(PULSE, self._beat)
        left = streams.seconds_left(ends_at, self._now())
        seconds = min(self._max_age, left)
        if self._is_closed:
            seconds = 0.0
        return self._loop.call_later(seconds, stream.end)

    def note(self, stream: EventStream) -> None:
        """Note that something is sent to a stream."""
        self._heard.pop(stream, None)
        self._heard[stream] = self._loop.time()

    def remove(self, stream: EventStream) -> None:
        self._heard.pop(stream, None)

    def close(self) -> None:
        """End all streams, and those that are about to begin."""
        self._is_closed = True
        for stream in list(self._heard):
            stream.end()

    def _beat(self) -> None:
        """Send a comment to streams that have been silent."""
        latest = self._loop.time() - HEARTBEAT
        for stream, heard in list(self._heard.items()):
            if heard > latest:
                break
            stream.beat()
        self._is_beating = bool(self._heard)
        if self._is_beating:
            self._loop.call_later(PULSE, self._beat)


class EventStream:
    """One stream, on a connection of its own."""

    def __init__(
        self, client: StreamReader, streams: Streams, start: StreamStart
    ) -> None:
        self._client = client
        self._streams = streams
        self._start = start
        self._follower = Follower(
            start.marker,
            start.exclude,
            EVENTS,
            self._send_messages,
            self.end,
        )
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, status: int, headers: Headers) -> None:
        """Write the head, and follow the queue."""
        self._client.begin(status, headers, self)
        # The marker is one to resume from, even if no message comes.
        self._client.send_event(
            f'retry: {RETRY}\nid: {self._start.marker}\n\n'.encode()
        )
        self._timer = self._streams.add(self, self._start.ends_at)
        self._streams.feeds.follow(self._start.source, self._follower)

    def block(self, on: bool) -> None:
        """Handle that the client reads too slowly, or reads again."""
        # Perhaps before the queue is followed.
        self._follower.is_blocked = on
        self._streams.feeds.block(self._start.source, self._follower, on)

    def beat(self) -> None:
        """Show that the stream is alive."""
        if self._follower.is_blocked:
            self._streams.note(self)
        else:
            self._send(_COMMENT)

    def end(self) -> None:
        """End it; the client reconnects by itself."""
        self.close()
        self._client.finish()

    def close(self) -> None:
        """Handle that it is over."""
        if self._timer is not None:
            self._timer.cancel()
        self._streams.remove(self)
        self._streams.feeds.leave(self._start.source, self._follower)

    def _send_messages(self, batch: Batch) -> None:
        self._send(batch.data)

    def _send(self, data: bytes) -> None:
        # First: writing may block.
        self._streams.note(self)
        self._client.send_event(data)
