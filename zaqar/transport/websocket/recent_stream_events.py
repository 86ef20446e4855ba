# SPDX-License-Identifier: Apache-2.0
"""The newest messages of a queue, as streams send them.

Each is rendered once, for all streams of a kind. Markers are compared for
equality only: their form is that of the store.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from zaqar.objects import Message, Scope

#: Most messages, and most bytes of them.
MOST = 1000
MOST_BYTES = 1024 * 1024

#: Bytes of the messages of all queues; with more, queues that get new ones
#: keep none of them.
MOST_BYTES_OF_ALL = 64 * 1024 * 1024

#: Bytes from which on no more messages are written together, and the most
#: messages.
BATCH = 128 * 1024
MOST_TOGETHER = 500

#: Most markers that are known: pages may have none but unreadable messages.
MOST_PLACES = 2 * MOST

#: Batches that are kept while no message is added.
_MOST_BATCHES = 8


#: Returns a message, read at a time, as streams of a kind send it.
Rendering = Callable[[Message, int, Scope], bytes]


class Format(Protocol):
    """How a stream sends messages; equal ones send the same."""

    @property
    def rendering(self) -> Rendering:
        """How each message is rendered."""

    def joined(self, parts: Iterable[bytes]) -> bytes:
        """Return rendered messages as they are written."""


@dataclass(frozen=True, slots=True)
class Event:
    """A message as it is sent.

    :ivar client: who has posted it
    :ivar data: the message, rendered
    """

    marker: str
    client: str
    data: Mapping[Rendering, bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.data.values()))


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
        return sum(event.size for event in self.events)


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that are written together.

    :ivar count: how many
    :ivar marker: the place after them
    """

    data: bytes
    count: int
    marker: str


def batch(
    events: Sequence[Event], marker: str, exclude: str, format_: Format
) -> Batch:
    """Return messages as a stream gets them, without those of a client.

    :param marker: the place after them
    :param exclude: the client, '' for none
    """
    rendering = format_.rendering
    parts = [
        event.data[rendering]
        for event in events
        if not exclude or event.client != exclude
    ]
    return Batch(format_.joined(parts), len(parts), marker)


class Memory:
    """The messages of all queues of a process.

    :ivar size: their bytes
    """

    def __init__(self) -> None:
        self.size = 0


class RecentStreamEvents:
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
        self._batches: dict[tuple[int, str, Format], Batch] = {}

    def append(self, page: EventPage) -> None:
        """Add what was read after the last place."""
        for event in page.events:
            self._events.append(event)
            self._grow(event.size)
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

    def after(
        self, marker: str, exclude: str, format_: Format
    ) -> Batch | None:
        """Return some messages after a marker.

        :param exclude: the client whose messages are left out, '' for none
        :returns: None if the marker is not known (any more), or the next
            message was rendered for other streams
        """
        place = self._places.get(marker)
        if place is None:
            return None
        key = (place, exclude, format_)
        messages = self._batches.get(key)
        if messages is None:
            messages = self._batch(place, exclude, format_)
            if messages is None:
                return None
            if len(self._batches) >= _MOST_BATCHES:
                self._batches.clear()
            self._batches[key] = messages
        return messages

    def _batch(
        self, place: int, exclude: str, format_: Format
    ) -> Batch | None:
        events, rendering = self._events, format_.rendering
        first = last = place - self._removed
        end = min(len(events), first + MOST_TOGETHER)
        size = 0
        while last < end and size < BATCH:
            data = events[last].data.get(rendering)
            if data is None:
                break
            size += len(data)
            last += 1
        marker = self.marker
        if last < len(events):
            if last == first:
                return None
            marker = events[last - 1].marker
        return batch(events[first:last], marker, exclude, format_)

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
            self._grow(-self._events[removed].size)
            removed += 1
        del self._events[:removed]
        self._removed += removed
        excess = len(self._places) - MOST_PLACES
        if not removed and excess <= 0:
            return
        for number, (marker, place) in enumerate(list(self._places.items())):
            if place >= self._removed and number >= excess:
                break
            del self._places[marker]
