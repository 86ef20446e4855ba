# SPDX-License-Identifier: Apache-2.0
"""A stream, as the feed of its queue sees it."""

from collections.abc import Callable
from dataclasses import dataclass

from zaqar.transport.websocket import feed_turns_on_event_loop
from zaqar.transport.websocket.recent_stream_events import Batch, Format


@dataclass(slots=True, eq=False)
class Follower:
    """A stream, and how far it has got.

    :ivar marker: after which it gets messages
    :ivar exclude: the client whose messages are left out, '' for none
    :ivar send: writes messages
    :ivar end: handles that its queue is gone
    :ivar anchor: where it may go on if nothing is behind its marker
    :ivar is_blocked: whether its client takes nothing at present
    :ivar is_reading: whether a page is being read for it
    :ivar is_held: whether its project has had as many messages as its rate
        allows for now
    :ivar paid: messages that were counted, and are not sent yet
    """

    marker: str
    exclude: str
    format: Format
    send: Callable[[Batch], None]
    end: Callable[[], object]
    anchor: str | None = None
    is_blocked: bool = False
    is_reading: bool = False
    is_held: bool = False
    paid: int = 0

    def take(self, batch: Batch) -> int:
        """Send what leads to another marker; return what that costs."""
        self.marker = batch.marker
        self.anchor = None
        self.paid = max(0, self.paid - batch.count)
        if not batch.count:
            return 1
        self.send(batch)
        size = len(batch.data) // feed_turns_on_event_loop.BYTES
        return feed_turns_on_event_loop.WRITE + batch.count + size
