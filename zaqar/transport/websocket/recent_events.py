# SPDX-License-Identifier: Apache-2.0
"""The newest messages of a queue, as streams send them.

Each is rendered once, for all streams. Markers are compared for equality only:
their form is that of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Most messages, and most bytes of them.
MOST = 1000
MOST_BYTES = 1024 * 1024

#: Bytes of the messages of all queues; with more, queues that get new ones
#: keep none of them.
MOST_BYTES_OF_ALL = 64 * 1024 * 1024

#: Bytes from which on no more messages are written together.
BATCH = 128 * 1024

#: Batches that are kept while no message is added.
_MOST_BATCHES = 8


@dataclass(frozen=True, slots=True)
class Event:
    """A message as it is sent.

    :ivar client: who has posted it
    """

    marker: str
    client: str
    data: bytes


@dataclass(frozen=True, slots=True)
class EventPage:
    """Messages that were read together.

    :ivar marker: where the next page begins
    :ivar is_end: whether the queue had no more of them
    """

    events: Sequence[Event]
    marker: str
    is_end: bool

    @property
    def size(self) -> int:
        return sum(len(event.data) for event in self.events)


def joined(events: Sequence[Event], exclude: str) -> bytes:
    """Return the bytes of messages, without those of a client."""
    return b''.join(
        event.data
        for event in events
        if not exclude or event.client != exclude
    )


class Memory:
    """The messages of all queues of a process.

    :ivar size: their bytes
    """

    def __init__(self) -> None:
        self.size = 0


class RecentEvents:
    """A bounded number of messages, and the places of their markers.

    :param memory: where they are counted
    :ivar marker: the last place, after which nothing is known
    """

    def __init__(self, marker: str, memory: Memory) -> None:
        self.marker = marker
        self._memory = memory
        self._events: list[Event] = []
        self._size = 0
        self._removed = 0
        #: How many messages there were up to each marker, in that order.
        self._places: dict[str, int] = {marker: 0}
        self._batches: dict[tuple[int, str], tuple[bytes, str]] = {}

    def append(self, page: EventPage) -> None:
        """Add what was read after the last place."""
        for event in page.events:
            self._events.append(event)
            self._grow(len(event.data))
            self._set_place(event.marker)
        self._set_place(page.marker)
        self.marker = page.marker
        self.forget_batches()
        self._trim()

    def forget_batches(self) -> None:
        """Forget what was joined for streams at the same place."""
        self._batches.clear()

    def clear(self) -> None:
        """Forget all messages."""
        self._events.clear()
        self._grow(-self._size)

    def after(self, marker: str, exclude: str) -> tuple[bytes, str] | None:
        """Return some messages after a marker, and the marker after them.

        :param exclude: the client whose messages are left out, '' for none
        :returns: None if the marker is not known (any more)
        """
        place = self._places.get(marker)
        if place is None:
            return None
        key = (place, exclude)
        batch = self._batches.get(key)
        if batch is None:
            if len(self._batches) >= _MOST_BATCHES:
                self._batches.clear()
            batch = self._batches[key] = self._batch(place, exclude)
        return batch

    def _batch(self, place: int, exclude: str) -> tuple[bytes, str]:
        first = last = place - self._removed
        size = 0
        while last < len(self._events) and size < BATCH:
            size += len(self._events[last].data)
            last += 1
        marker = self.marker
        if last < len(self._events):
            marker = self._events[last - 1].marker
        return joined(self._events[first:last], exclude), marker

    def _set_place(self, marker: str) -> None:
        # Behind all others, even if it is there already.
        self._places.pop(marker, None)
        self._places[marker] = self._removed + len(self._events)

    def _grow(self, size: int) -> None:
        self._size += size
        self._memory.size += size

    def _trim(self) -> None:
        removed = 0
        while removed < len(self._events) and (
            len(self._events) - removed > MOST
            or self._size > MOST_BYTES
            or self._memory.size > MOST_BYTES_OF_ALL
        ):
            self._grow(-len(self._events[removed].data))
            removed += 1
        if not removed:
            return
        del self._events[:removed]
        self._removed += removed
        for marker, place in list(self._places.items()):
            if place >= self._removed:
                break
            del self._places[marker]
