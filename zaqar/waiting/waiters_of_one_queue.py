# SPDX-License-Identifier: Apache-2.0
"""The requests that wait for one queue, in a line: whose turn it is.

Nothing here is safe for threads, nor reads a clock.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zaqar.objects import Scope
from zaqar.storage.store_watch_interface import MAX_FREE, Availability

#: Messages that a queue is taken to have while nothing else is known.
MANY = 1 << 30

#: Seconds after which an attempt is made although a queue looks as it did
#: when the last attempt got nothing: some messages cannot be taken by all.
RETRY_AFTER = 1.0

#: Seconds between attempts of those that only read, while a look cannot show
#: whether messages have been released, and how many make one at a time. If
#: one of them gets messages, all others follow.
READ_AGAIN_AFTER = 0.8
MOST_READ_AGAIN = 20

#: Wakes a request, on whatever thread: must return at once.
Wake = Callable[[], object]


class State(enum.Enum):
    """State of a request.

    :cvar RUNNING: it may make an attempt
    :cvar WAITING: it is woken when its turn comes
    :cvar AWAY: its turn has come, but it could not run
    :cvar LEFT: it has its answer
    """

    RUNNING = enum.auto()
    WAITING = enum.auto()
    AWAY = enum.auto()
    LEFT = enum.auto()


@dataclass(slots=True, eq=False)
class Place:
    """The place of a request in a line.

    :ivar takes: whether it takes messages, or only reads them
    :ivar until: when it has waited long enough
    :ivar wake: None until its attempt has been seen to be without result
    :ivar began: what had been announced, or changed, when its attempt began
    :ivar result: of its last attempt, None before
    :ivar is_scheduled: whether the end of its wait is
    :ivar is_over: whether it waits no longer and makes no attempt either
    :ivar sees_held: whether it sees claimed and delayed messages, too, so that
        it gets nothing more when they are released
    :ivar is_sure: whether its last attempt was begun by a look, after which
        nothing can have been released without a trace
    :ivar is_probe: whether others have not been woken with it
    """

    line: Line
    takes: bool
    until: float
    sees_held: bool = False
    state: State = State.RUNNING
    wake: Wake | None = None
    began: int = 0
    result: Any = None
    is_scheduled: bool = False
    is_over: bool = False
    is_sure: bool = False
    is_probe: bool = False


@dataclass(slots=True, eq=False)
class Line:
    """Requests in the order of their arrival.

    Of those that take messages one is woken at a time, so that none
    overtakes an older one, while there is *credit*: messages that may be free.

    :ivar announced: messages that have been announced so far
    :ivar changes: of what readers may see
    :ivar waiting: takers that wait
    :ivar woken: the taker that was woken last, while it runs
    :ivar seen: how the queue looked last
    :ivar vain: that at the last attempt to take messages that got none, and
        the time of it
    :ivar is_watched: whether a request has ever waited here
    :ivar read_again: when readers were last woken although nothing had
        changed that concerns them
    """

    scope: Scope
    takers: dict[Place, None] = dataclasses.field(default_factory=dict)
    readers: dict[Place, None] = dataclasses.field(default_factory=dict)
    waiting: int = 0
    credit: int = MANY
    announced: int = 0
    changes: int = 0
    woken: Place | None = None
    is_watched: bool = False
    seen: Availability | None = None
    vain: tuple[Availability | None, float] = (None, 0.0)
    read_again: float = -math.inf

    def __len__(self) -> int:
        return len(self.takers) + len(self.readers)

    def places(self) -> list[Place]:
        """Return all of them."""
        return [*self.takers, *self.readers]

    def enter(
        self, *, takes: bool, until: float, sees_held: bool = False
    ) -> Place:
        """Return a new place, in state RUNNING if it may attempt at once."""
        place = Place(self, takes, until, sees_held)
        self._run(place)
        if takes:
            if self.waiting or self.woken is not None:
                self._wait(place)
            self.takers[place] = None
        else:
            self.readers[place] = None
        return place

    def announce(self, count: int) -> list[Place]:
        """Note that messages have become available; return who is woken."""
        self.changes += 1
        self.announced += count
        self.credit += count
        return [*self._readers(), *self.next()]

    def look(self, now: Availability, moment: float) -> list[Place]:
        """Note how the queue looks; return who is woken."""
        before, self.seen = self.seen, now
        woken: list[Place] = []
        if before is None or now.end != before.end or now.free > before.free:
            self.changes += 1
            woken += self._readers()
            for place in woken:
                place.is_sure = True
        else:
            woken += self._doubtful(before, now, moment)
        free = MANY if now.free >= MAX_FREE else now.free
        if free > self.credit:
            if self._was_vain(now, moment):
                return woken
            self.announced += free - self.credit
            self.credit = free
        elif len(self.takers) == self.waiting:
            # Nobody is taking what is counted here.
            self.credit = free
        return woken + self.next()

    def emptied(self, place: Place, moment: float) -> list[Place]:
        """Have a request wait that has got nothing; return who is woken."""
        self._wait(place)
        if not place.takes:
            return self._readers() if self.changes > place.began else []
        # What was announced before the attempt is gone.
        self.credit = min(self.credit, self.announced - place.began)
        self.vain = (self.seen, moment)
        if self.woken is place:
            self.woken = None
        return self.next()

    def pass_on(self, place: Place) -> list[Place]:
        """Let others go first until a request can run; return who is woken."""
        place.state = State.AWAY
        if self.woken is place:
            self.woken = None
        return self.next()

    def come_back(self, place: Place) -> list[Place]:
        """Have such a request wait, in its old place; return who is woken."""
        self._wait(place)
        return self.next()

    def leave(self, place: Place, count: int) -> list[Place]:
        """Remove a request with its messages; return who is woken."""
        if place.takes and self.credit < MANY:
            self.credit = max(0, self.credit - count)
        if place.state is State.WAITING and place.takes:
            self.waiting -= 1
        place.state = State.LEFT
        (self.takers if place.takes else self.readers).pop(place, None)
        if self.woken is place:
            self.woken = None
        if place.is_probe and count:
            self.changes += 1
            return [*self._readers(), *self.next()]
        return self.next()

    def next(self) -> list[Place]:
        """Return the taker whose turn has come, if any."""
        if self.woken is not None or not self.credit or not self.waiting:
            return []
        place = next(one for one in self.takers if one.state is State.WAITING)
        self.woken = place
        self.waiting -= 1
        self._run(place)
        return [place]

    def _was_vain(self, now: Availability, moment: float) -> bool:
        """Tell whether an attempt has just got nothing of what is there."""
        seen, since = self.vain
        return (
            seen is not None
            and (seen.free, seen.end) == (now.free, now.end)
            and moment - since < RETRY_AFTER
        )

    def _doubtful(
        self, before: Availability, now: Availability, moment: float
    ) -> list[Place]:
        """Return readers that may have missed a release, a few at a time.

        It does not show if as many messages were claimed, or if there are more
        than are counted. Without claims and delays nothing is released.
        """
        is_uncounted = now.free >= MAX_FREE and now.due is not None
        if now != before or is_uncounted:
            for place in self.readers:
                place.is_sure = False
        if moment - self.read_again < READ_AGAIN_AFTER:
            return []
        doubtful = (
            one
            for one in self.readers
            if one.state is State.WAITING
            and not (one.is_sure or one.sees_held)
        )
        places = list(itertools.islice(doubtful, MOST_READ_AGAIN))
        for place in places:
            self.read_again = moment
            # Next time it is the turn of others.
            self.readers[place] = self.readers.pop(place)
            self._run(place)
            place.is_sure = place.is_probe = True
        return places

    def _readers(self) -> list[Place]:
        places = [one for one in self.readers if one.state is State.WAITING]
        for place in places:
            self._run(place)
        return places

    def _run(self, place: Place) -> None:
        place.state = State.RUNNING
        place.is_sure = place.is_probe = False
        place.began = self.announced if place.takes else self.changes

    def _wait(self, place: Place) -> None:
        place.state = State.WAITING
        if place.takes:
            self.waiting += 1
