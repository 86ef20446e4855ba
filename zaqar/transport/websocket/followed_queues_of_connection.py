# SPDX-License-Identifier: Apache-2.0
"""Streams of one WebSocket connection: the queues that it follows.

Everything here runs on the loop.

:source: reference/websocket, "Streams"
"""

import asyncio
import datetime
import functools
import math
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass

from zaqar.controllers import streams
from zaqar.controllers.streams import StreamSource
from zaqar.transport.websocket.connection_state_machine import ClientSocket
from zaqar.transport.websocket.feed_follower import Follower
from zaqar.transport.websocket.frame_and_answer_types import OwnedStream
from zaqar.transport.websocket.queue_feeds import QueueFeeds
from zaqar.transport.websocket.recent_stream_events import MOST_TOGETHER, Batch
from zaqar.transport.websocket.stream_frame_format import FrameFormat

#: Seconds between looks whether all frames have been taken, at first and at
#: most.
LOOK = (0.01, 1.0)

_EXPIRED = 'The signature has expired.'
_GONE = 'The queue that the signature is for has been deleted.'


@dataclass(frozen=True, slots=True)
class _Stream:
    """A stream that is followed.

    :ivar timer: ends it when its signature expires
    """

    source: StreamSource
    format: FrameFormat
    follower: Follower
    timer: asyncio.TimerHandle | None


class ConnectionStreams:
    """Follows the queues of a connection, as far as its client reads.

    :param owned: those of the session, by their ids
    :param most: frames that may be written before the system has taken them
    :param is_blocked: whether the client takes nothing at present
    """

    def __init__(
        self,
        socket: ClientSocket,
        owned: MutableMapping[str, OwnedStream],
        feeds: QueueFeeds,
        loop: asyncio.AbstractEventLoop,
        most: int,
        is_blocked: bool,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(
            datetime.UTC
        ),
    ) -> None:
        self._socket = socket
        self._owned = owned
        self._feeds = feeds
        self._loop = loop
        self._most = most - MOST_TOGETHER
        self._now = now
        self._streams: dict[str, _Stream] = {}
        #: Frames that were written since the system had taken all.
        self._ahead = 0
        self._is_blocked = is_blocked
        self._is_full = False
        self._looks: asyncio.TimerHandle | None = None

    def begin(self, stream: OwnedStream) -> None:
        """Send a stream, after the answer to its request."""
        start = stream.start
        format_ = FrameFormat(stream.id, stream.is_binary)
        follower = Follower(
            start.marker,
            start.exclude,
            format_,
            self._send,
            functools.partial(self.end, {stream.id: _GONE}),
            is_blocked=self._is_blocked or self._is_full,
        )
        timer = None
        left = streams.seconds_left(stream.ends_at, self._now())
        if left < math.inf:
            timer = self._loop.call_later(
                left, self.end, {stream.id: _EXPIRED}
            )
        self._streams[stream.id] = _Stream(
            start.source, format_, follower, timer
        )
        self._feeds.follow(start.source, follower)

    def end(self, reasons: Mapping[str, str]) -> None:
        """End streams.

        :param reasons: by their ids, '' where the client has asked for it
        """
        for stream_id, reason in reasons.items():
            stream = self._streams.pop(stream_id, None)
            if stream is None:
                continue
            self._owned.pop(stream_id, None)
            self._leave(stream)
            if reason:
                marker = stream.follower.marker
                self._socket.send(stream.format.end(marker, reason))

    def block(self, on: bool) -> None:
        """Handle that the client reads too slowly, or reads again."""
        self._is_blocked = on
        if self._is_full and not on:
            self._look(LOOK[0])
        self._hold()

    def close(self) -> None:
        """Handle that the connection is closed."""
        for stream in self._streams.values():
            self._leave(stream)
        self._streams.clear()
        self._stop_looking()

    def _leave(self, stream: _Stream) -> None:
        if stream.timer is not None:
            stream.timer.cancel()
        self._feeds.leave(stream.source, stream.follower)

    def _send(self, batch: Batch) -> None:
        if not self._socket.unsent():
            self._ahead = 0
        self._ahead += batch.count
        self._socket.write(batch.data)
        if self._ahead > self._most and not self._is_full:
            self._is_full = True
            self._hold()
            self._loop.call_soon(self._look, LOOK[0])

    def _look(self, pause: float) -> None:
        """Go on if the system has taken all that was written."""
        self._stop_looking()
        if self._is_blocked or not self._is_full:
            # It is looked at again when the client reads.
            return
        if self._socket.unsent():
            self._looks = self._loop.call_later(
                pause, self._look, min(2 * pause, LOOK[1])
            )
            return
        self._is_full = False
        self._hold()

    def _stop_looking(self) -> None:
        if self._looks is not None:
            self._looks.cancel()
            self._looks = None

    def _hold(self) -> None:
        """Let streams go on, or not."""
        on = self._is_blocked or self._is_full
        for stream in self._streams.values():
            if stream.follower.is_blocked is not on:
                self._feeds.block(stream.source, stream.follower, on)
