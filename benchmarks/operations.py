# SPDX-License-Identifier: Apache-2.0
"""The operations measured beside the floor."""

from __future__ import annotations

import abc
import collections
from collections.abc import Sequence

import msgspec

from benchmarks import load
from benchmarks.load import Script, Step
from benchmarks.requests import Requests
from benchmarks.target import Queue, Target

#: Messages in queues that are only read.
DEPTH = 1000


class Operation(abc.ABC):
    """Something that clients do again and again.

    :cvar title: what the table calls it; its queue is named for it
    :cvar has_ratio: whether a part of the floor's rate is promised
    :cvar has_budget: whether its processor time is bounded
    """

    title: str
    has_ratio = True
    has_budget = True

    def __init__(self, target: Target) -> None:
        self.queue: Queue = target.queue(
            '-'.join(self.title.replace('+', '').split())
        )
        self.requests = Requests(self.queue)
        self.fill()

    def fill(self) -> None:  # noqa: B027 (most need nothing)
        """Prepare the queue once."""

    def supply(self, units: int) -> None:  # noqa: B027
        """Have enough in the queue for so many units."""

    @abc.abstractmethod
    def script(self) -> Script:
        """Return what one connection does."""


class _Repeated(Operation):
    """One request over and over."""

    @abc.abstractmethod
    def step(self) -> Step:
        """Return the request."""

    def script(self) -> Script:
        return load.repeat(self.step())


class PostOne(_Repeated):
    """Post a message."""

    title = 'post 1'

    def step(self) -> Step:
        return self.requests.post(1)


class PostTen(_Repeated):
    """Post ten messages at once."""

    title = 'post 10'
    has_budget = False

    def step(self) -> Step:
        return self.requests.post(10)


class _Read(_Repeated):
    """Read a queue of which half is claimed."""

    def fill(self) -> None:
        self.ids = self.queue.fill(DEPTH)
        self.queue.claim(DEPTH // 2)


class ListTen(_Read):
    """List the first page."""

    title = 'list 10'

    def step(self) -> Step:
        return self.requests.list()


class Get(_Read):
    """Read one message."""

    title = 'get'
    has_ratio = False

    def step(self) -> Step:
        return self.requests.get(self.ids[-1])


class Stats(_Read):
    """Ask for the counts."""

    title = 'stats'
    has_ratio = False
    has_budget = False

    def step(self) -> Step:
        return self.requests.stats()


class _Consuming(Operation):
    """Takes messages away, which must be there before the clock runs.

    :cvar messages: that one unit takes
    """

    messages: int

    def fill(self) -> None:
        self.pool: collections.deque[str] = collections.deque()

    def supply(self, units: int) -> None:
        missing = units * self.messages - len(self.pool)
        if missing > 0:
            self.pool.extend(self.queue.fill(missing))

    def take(self) -> Sequence[str] | None:
        """Return ids for a unit, None when there are no more."""
        if len(self.pool) < self.messages:
            return None
        return [self.pool.popleft() for _ in range(self.messages)]


class Claim(_Consuming):
    """Claim five messages, and keep them."""

    title = 'claim 5'
    messages = 5

    def script(self) -> Script:
        step = self.requests.claim()
        while self.take():
            yield step


class ClaimAndDelete(_Consuming):
    """Claim five messages and delete each of them, as workers do."""

    title = 'claim 5 + delete'
    messages = 5

    def script(self) -> Script:
        claim = self.requests.claim()
        while self.take():
            claimed = msgspec.json.decode((yield claim))
            for message in claimed['messages']:
                yield self.requests.delete_href(message['href'])


class Delete(_Consuming):
    """Delete a message that nobody has claimed."""

    title = 'delete'
    messages = 1

    def script(self) -> Script:
        while ids := self.take():
            yield self.requests.delete(ids[0])


OPERATIONS: Sequence[type[Operation]] = (
    PostOne,
    PostTen,
    ListTen,
    Claim,
    ClaimAndDelete,
    Get,
    Stats,
    Delete,
)
