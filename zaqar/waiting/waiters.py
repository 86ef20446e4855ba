# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for messages of queues, in one process.

A request runs once, and if it gets nothing, it waits in the line of its queue.
When something has changed it is woken and runs again. Those that take messages
are woken one by one, the oldest first, as many as there may be messages for:
a new message wakes one of them. Those that only read are woken together.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from zaqar.objects import Scope
from zaqar.storage.store_watch_interface import Availability
from zaqar.waiting.waiters_of_one_queue import Line, Place, State, Wake

LOG = logging.getLogger(__name__)

#: Deadlines of requests that have left, which are removed beyond this number.
MOST_STALE = 1000

Call = Callable[[], object]


class Observer(Protocol):
    """Is notified of what is to be watched."""

    def begin(self, scope: Scope) -> None:
        """Handle that the first request waits for a queue."""

    def end(self, scope: Scope) -> None:
        """Handle that no request does any more."""

    def expire_at(self, until: float) -> None:
        """Handle that :meth:`Waiters.expire` is to be called at a time."""


@dataclass(slots=True)
class Ticket:
    """What a request that may wait has in its hands."""

    waiters: Waiters
    place: Place

    @property
    def may_run(self) -> bool:
        """Tell whether it may make an attempt, or else has to wait."""
        return self.place.state is State.RUNNING

    @property
    def is_over(self) -> bool:
        """Tell whether it is to be answered with what it has."""
        return self.place.is_over

    def served(self, count: int) -> None:
        """Leave, with messages."""
        self.waiters.leave(self.place, count)

    def emptied(self, result: Any) -> bool:
        """Note an attempt without messages; tell whether to wait."""
        self.place.result = result
        return self.waiters.wait(self.place)

    def park(self, wake: Wake) -> None:
        """Call a function when the request is to run again, perhaps now."""
        if not self.waiters.park(self.place, wake):
            # Its turn has come meanwhile, or its time is over.
            wake()

    def pass_on(self) -> bool:
        """Let others go first, if the turn has come and is wanted by them.

        :returns: whether the request has to come back
        """
        return self.waiters.pass_on(self.place)

    def come_back(self, wake: Wake) -> bool:
        """Wait again, unless the turn has come; tell whether it has.

        :param wake: called when it comes
        """
        self.waiters.come_back(self.place)
        return not self.waiters.park(self.place, wake)

    def give_up(self) -> None:
        """End the wait, even if the turn has come."""
        self.waiters.give_up(self.place)

    def leave(self) -> None:
        """Leave without messages; harmless if it has left."""
        self.waiters.leave(self.place)


class Waiters:
    """The lines of all queues.

    No threads are at work here: whoever announces a change calls the functions
    that wake requests.

    :param monotonic: the time in seconds
    :ivar deadlines: ends of waits, some of which are over already
    """

    def __init__(
        self,
        observer: Observer,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observer = observer
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._lines: dict[Scope, Line] = {}
        self.deadlines: list[tuple[float, int, Place]] = []
        self._most_deadlines = MOST_STALE
        self._numbers = itertools.count()
        self._is_closed = False

    def __len__(self) -> int:
        """Return how many requests wait, or make an attempt meanwhile."""
        with self._lock:
            return sum(map(len, self._lines.values()))

    def has(self, scope: Scope) -> bool:
        """Tell whether a queue is waited for."""
        return scope in self._lines

    def enter(
        self,
        scope: Scope,
        *,
        takes: bool,
        seconds: float,
        sees_held: bool = False,
    ) -> Ticket:
        """Put a request into the line of its queue, before it runs.

        :param sees_held: whether claimed and delayed messages end its wait
        """
        with self._lock:
            until = self._monotonic() + seconds
            line = self._lines.get(scope)
            if line is None:
                line = self._lines[scope] = Line(scope)
            place = line.enter(
                takes=takes,
                until=-math.inf if self._is_closed else until,
                sees_held=sees_held,
            )
            calls = self._scheduled(place)
        _call(calls)
        return Ticket(self, place)

    def announce(self, scope: Scope, count: int) -> None:
        """Note that messages of a queue have become available."""
        with self._lock:
            line = self._lines.get(scope)
            calls = _wakes(line.announce(count)) if line else []
        _call(calls)

    def look(self, scope: Scope, availability: Availability) -> None:
        """Note how a queue looks."""
        with self._lock:
            line = self._lines.get(scope)
            moment = self._monotonic()
            calls = _wakes(line.look(availability, moment)) if line else []
        _call(calls)

    def renew(self, scope: Scope) -> None:
        """Forget how a queue looked, which is now another one, perhaps."""
        with self._lock:
            line = self._lines.get(scope)
            if line is not None:
                line.seen = None

    def expire(self) -> float:
        """End the waits that have lasted; return when the next one ends."""
        calls: list[Call] = []
        until = math.inf
        with self._lock:
            now = self._monotonic()
            while self.deadlines:
                until, _, place = self.deadlines[0]
                if place.state is not State.LEFT and until > now:
                    break
                heapq.heappop(self.deadlines)
                calls += self._ended(place)
                until = math.inf
        _call(calls)
        return until

    def close(self) -> None:
        """End all waits, now and from now on."""
        calls: list[Call] = []
        with self._lock:
            self._is_closed = True
            for line in list(self._lines.values()):
                for place in line.places():
                    place.until = -math.inf
                    calls += self._ended(place)
        _call(calls)

    def wait(self, place: Place) -> bool:
        """Have a request wait that got nothing, unless its time is over."""
        with self._lock:
            moment = self._monotonic()
            if moment >= place.until:
                calls = self._left(place)
            else:
                calls = _wakes(place.line.emptied(place, moment))
                calls += self._scheduled(place)
            has_left = place.state is State.LEFT
        _call(calls)
        return not has_left

    def park(self, place: Place, wake: Wake) -> bool:
        """Call a function when a request is to run again, unless it is now."""
        with self._lock:
            is_parked = place.state is State.WAITING
            if is_parked:
                place.wake = wake
            return is_parked

    def pass_on(self, place: Place) -> bool:
        """Let others take the turn of a request that takes messages."""
        with self._lock:
            may_pass = place.takes and place.state is State.RUNNING
            calls = _wakes(place.line.pass_on(place)) if may_pass else []
        _call(calls)
        return may_pass

    def come_back(self, place: Place) -> None:
        """Have such a request wait for its turn, unless its time is over."""
        calls: list[Call] = []
        with self._lock:
            if place.state is State.AWAY:
                calls = _wakes(place.line.come_back(place))
                if self._monotonic() >= place.until:
                    calls += self._ended(place)
        _call(calls)

    def give_up(self, place: Place) -> None:
        """End the wait of a request, or its turn if that has come."""
        with self._lock:
            place.until = -math.inf
            if place.state in (State.RUNNING, State.AWAY):
                place.is_over = True
                calls = self._left(place)
            else:
                calls = self._ended(place)
        _call(calls)

    def leave(self, place: Place, count: int = 0) -> None:
        """Remove a request from its line, with so many messages."""
        with self._lock:
            calls = self._left(place, count)
        _call(calls)

    def _ended(self, place: Place) -> list[Call]:
        """End a wait, if it lasts still; return what is to be called."""
        if place.state is not State.WAITING:
            return []
        place.is_over = True
        wakes = _wakes([place])
        return [*self._left(place), *wakes]

    def _left(self, place: Place, count: int = 0) -> list[Call]:
        """Remove a request; return what is to be called."""
        if place.state is State.LEFT:
            return []
        line = place.line
        calls = _wakes(line.leave(place, count))
        place.wake = None
        if not len(line):
            del self._lines[line.scope]
            if line.is_watched:
                observer = self._observer
                calls.append(functools.partial(observer.end, line.scope))
        return calls

    def _scheduled(self, place: Place) -> list[Call]:
        """Note the end of a wait that begins; return what is to be called."""
        if place.is_scheduled or place.state is not State.WAITING:
            return []
        place.is_scheduled = True
        observer, line = self._observer, place.line
        calls: list[Call] = []
        if not line.is_watched:
            line.is_watched = True
            calls.append(functools.partial(observer.begin, line.scope))
        entry = (place.until, next(self._numbers), place)
        heapq.heappush(self.deadlines, entry)
        if self.deadlines[0] is entry:
            calls.append(functools.partial(observer.expire_at, place.until))
        elif len(self.deadlines) > self._most_deadlines:
            self._drop_stale_deadlines()
        return calls

    def _drop_stale_deadlines(self) -> None:
        """Forget deadlines of requests that have left."""
        self.deadlines = [
            entry
            for entry in self.deadlines
            if entry[2].state is not State.LEFT
        ]
        heapq.heapify(self.deadlines)
        self._most_deadlines = 2 * len(self.deadlines) + MOST_STALE


def _wakes(places: Iterable[Place]) -> list[Call]:
    """Return the functions that wake requests."""
    calls = []
    for place in places:
        if place.wake is not None:
            calls.append(place.wake)
            place.wake = None
    return calls


def _call(calls: Iterable[Call]) -> None:
    """Call functions, outside the lock: they may come back."""
    for call in calls:
        try:
            call()
        except Exception:
            # The others wait, too.
            LOG.exception('A waiting request could not be woken')
