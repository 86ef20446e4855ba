# SPDX-License-Identifier: Apache-2.0
"""Who is told next: fair between hosts, whatever they do.

Each host has a lane. Lanes take turns, and so do projects within a lane; each
lane has a window of attempts at a
time that opens with success and closes with failure, beginning at one. An
attempt that takes longer than a moment gives its permit back and goes on in
the slow part, so that receivers that hang never hold up the others. A host
that only fails is probed once a minute.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from zaqar.notification.waiting import HasProject, Waiting

#: Seconds after which an attempt is slow.
SLOW = 0.25

#: Seconds between two looks at attempts, at least.
TICK = SLOW / 5

#: Seconds after which one hangs, if the host has not answered any yet.
HANGS = 3.0

#: Failures in a row that are more than bad luck.
BAD = 3

#: Slow attempts at a time, for each permit.
PATIENCE = 10

#: Failures in a row that open a circuit, and the seconds it stays open.
FAILURES = 20
OPEN = 60.0

#: Jobs that wait in a lane at most: of a host in good order, of one that is
#: not known yet, and of one that fails or hangs.
MOST_GOOD = 256
MOST_NEW = 64
MOST_BAD = 16

#: Seconds after which those come again for whom there is no room.
LATER_GOOD = 1.0
LATER_BAD = 30.0

#: Jobs that all hosts in bad order may hold together.
ALL_BAD = 1000

#: Lanes kept; then idle ones are forgotten.
LANES = 5000


class HasHost(HasProject, Protocol):
    """A job: all that lanes know of it."""

    @property
    def host(self) -> str: ...


Job = TypeVar('Job', bound=HasHost)


@dataclass(slots=True, eq=False)
class Lane(Generic[Job]):
    """What is known of a host."""

    host: str
    waiting: Waiting[Job] = field(default_factory=Waiting)
    in_flight: int = 0
    slow: int = 0
    window: int = 1
    successes: int = 0
    failures: int = 0
    open_until: float = 0.0
    hangs: bool = False

    @property
    def is_bad(self) -> bool:
        """Whether attempts fail or hang."""
        return self.hangs or self.failures >= BAD


@dataclass(slots=True, eq=False)
class Turn(Generic[Job]):
    """An attempt under way."""

    job: Job
    lane: Lane[Job]
    began: float
    is_slow: bool = False


def _may_hang(turn: Turn[Any]) -> bool:
    """Tell whether a host has yet to show that it does not hang."""
    return not (turn.lane.hangs or turn.lane.successes)


class Lanes(Generic[Job]):
    """Lines up jobs and hands them out.

    :param permits: attempts at a time that are not slow
    :param per_host: widest window
    """

    def __init__(
        self,
        permits: int,
        per_host: int,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._permits = permits
        self._per_host = per_host
        self._timer = timer
        lock = threading.RLock()
        #: A job may be taken, and an attempt has begun while somebody rests.
        self._changed = threading.Condition(lock)
        self._begun = threading.Condition(lock)
        self._rests = False
        self._is_over = False
        self._lanes: dict[str, Lane[Job]] = {}
        self._ring: OrderedDict[str, Lane[Job]] = OrderedDict()
        self._turns: set[Turn[Job]] = set()
        self._quick = 0
        self._slow = 0
        self._held = 0
        self._is_closed = False

    @property
    def held(self) -> int:
        """Jobs that wait or are under way."""
        return self._held

    @property
    def in_flight(self) -> int:
        """Jobs that are under way."""
        return len(self._turns)

    @property
    def slow(self) -> int:
        """Jobs that are under way and slow."""
        return self._slow

    def open_circuits(self) -> int:
        """Return how many hosts are only probed."""
        now = self._timer()
        with self._changed:
            lanes = list(self._lanes.values())
        return sum(lane.open_until > now for lane in lanes)

    def offer(self, job: Job) -> float | None:
        """Line up a job, or return the seconds after which to come again."""
        with self._changed:
            lane = self._lane(job.host)
            wait = self._wait(lane, job.project)
            if wait is not None:
                return wait
            lane.waiting.append(job)
            self._held += 1
            self._ring.setdefault(lane.host, lane)
            self._changed.notify()
            return None

    def advise(self, host: str, project: str) -> float | None:
        """Return the seconds after which to offer jobs for a host at all.

        None for at once; so it is for hosts of which nothing is known.
        """
        with self._changed:
            lane = self._lanes.get(host)
            if lane is None or not lane.is_bad:
                return None
            return self._wait(lane, project)

    def take(self) -> Turn[Job] | None:
        """Wait for a job whose turn it is; None once closed."""
        with self._changed:
            while not self._is_closed:
                lane = self._next()
                if lane is not None:
                    return self._begin(lane)
                self._changed.wait(self._pause())
            return None

    def again(self, turn: Turn[Job]) -> None:
        """End an attempt and put its job first in its lane."""
        with self._changed:
            self._leave(turn)
            if self._is_closed:
                return
            self._held += 1
            turn.lane.waiting.appendleft(turn.job)
            self._ring.setdefault(turn.lane.host, turn.lane)
            self._changed.notify()

    def end(self, turn: Turn[Job]) -> None:
        """End an attempt for good."""
        with self._changed:
            self._leave(turn)
            self._changed.notify()

    def learn(self, turn: Turn[Job], success: bool) -> Sequence[Job]:
        """Note how a host behaves; return jobs it has no room for now."""
        with self._changed:
            lane = turn.lane
            if success:
                lane.failures = 0
                lane.successes += 1
                lane.hangs = False
                lane.open_until = 0.0
                lane.window = min(lane.window + 1, self._per_host)
                return ()
            lane.failures += 1
            lane.window = max(1, lane.window // 2)
            if lane.failures >= FAILURES:
                lane.open_until = self._timer() + OPEN
            return self._surplus(lane)

    def rest(self, seconds: float) -> None:
        """Wait until an attempt may have become slow, if any does by then."""
        began = self._timer()
        with self._changed:
            while not self._is_over:
                due = self._next_look()
                self._rests = due is None
                end = began + seconds
                if due is not None:
                    # While too many are slow, those that come next stay due.
                    end = min(end, max(due, began + TICK))
                wait = end - self._timer()
                if wait <= 0:
                    break
                self._begun.wait(wait)
            self._rests = False

    def wake(self) -> None:
        """Let nobody rest any more."""
        with self._changed:
            self._is_over = True
            self._begun.notify_all()

    def look(self) -> Sequence[Job]:
        """Let slow attempts make way; return jobs without room now."""
        found: list[Job] = []
        freed = 0
        with self._changed:
            now = self._timer()
            for turn in self._turns:
                if turn.is_slow:
                    found += self._doubt(turn, now)
                    continue
                if now - turn.began < SLOW:
                    continue
                if self._slow >= self._permits * PATIENCE:
                    break
                turn.is_slow = True
                turn.lane.slow += 1
                self._quick -= 1
                self._slow += 1
                freed += 1
            # Nobody is woken for nothing.
            self._changed.notify(freed)
        return found

    def close(self) -> Sequence[Job]:
        """Hand out no more; return what waits."""
        with self._changed:
            self._is_closed = True
            found = [
                job for lane in self._lanes.values() for job in lane.waiting
            ]
            for lane in self._lanes.values():
                lane.waiting.clear()
            self._held -= len(found)
            self._changed.notify_all()
        return found

    def _doubt(self, turn: Turn[Job], now: float) -> Sequence[Job]:
        """Note a host that hangs; return jobs it has no room for."""
        if not _may_hang(turn) or now - turn.began < HANGS:
            return ()
        turn.lane.hangs = True
        return self._surplus(turn.lane)

    def _next_look(self) -> float | None:
        """Return when to look at attempts next, None while there are none."""
        return min(
            (
                turn.began + (HANGS if turn.is_slow else SLOW)
                for turn in self._turns
                if not turn.is_slow or _may_hang(turn)
            ),
            default=None,
        )

    def _next(self) -> Lane[Job] | None:
        if self._quick >= self._permits:
            return None
        now = self._timer()
        is_full = self._slow >= self._permits * PATIENCE
        for host, lane in self._ring.items():
            if lane.in_flight >= lane.window or lane.open_until > now:
                continue
            if is_full and lane.is_bad:
                continue
            self._ring.move_to_end(host)
            return lane
        return None

    def _begin(self, lane: Lane[Job]) -> Turn[Job]:
        turn = Turn(lane.waiting.popleft(), lane, self._timer())
        if not lane.waiting:
            del self._ring[lane.host]
        if lane.failures >= FAILURES:
            # A probe: the others wait for what comes of it.
            lane.window = 1
        lane.in_flight += 1
        self._quick += 1
        self._turns.add(turn)
        if self._rests:
            self._begun.notify()
        return turn

    def _leave(self, turn: Turn[Job]) -> None:
        self._turns.discard(turn)
        self._held -= 1
        turn.lane.in_flight -= 1
        if turn.is_slow:
            self._slow -= 1
            turn.lane.slow -= 1
        else:
            self._quick -= 1

    def _pause(self) -> float | None:
        """Return the seconds until a circuit may be probed, None for ever."""
        now = self._timer()
        waits = [
            lane.open_until - now
            for lane in self._ring.values()
            if lane.open_until > now
        ]
        return min(waits, default=None)

    def _wait(self, lane: Lane[Job], project: str) -> float | None:
        """Return the seconds for which there is no room, None if there is.

        Where others have filled it, a project still gets its share.
        """
        left = lane.open_until - self._timer()
        if left > 0:
            return left
        room = self._room(lane)
        if len(lane.waiting) < room or lane.waiting.share(project, room) > 0:
            return None
        return LATER_BAD if lane.is_bad else LATER_GOOD

    def _room(self, lane: Lane[Job]) -> int:
        if not lane.is_bad:
            return MOST_GOOD if lane.successes else MOST_NEW
        bad = sum(one.is_bad for one in self._ring.values()) or 1
        return max(1, min(MOST_BAD, ALL_BAD // bad))

    def _surplus(self, lane: Lane[Job]) -> Sequence[Job]:
        room = self._room(lane)
        if lane.open_until > self._timer():
            room = 0
        found = []
        while len(lane.waiting) > room:
            found.append(lane.waiting.pop())
        self._held -= len(found)
        if not lane.waiting:
            self._ring.pop(lane.host, None)
        return found

    def _lane(self, host: str) -> Lane[Job]:
        lane = self._lanes.get(host)
        if lane is None:
            if len(self._lanes) >= LANES:
                self._forget()
            lane = self._lanes[host] = Lane(host)
        return lane

    def _forget(self) -> None:
        now = self._timer()
        for host, lane in list(self._lanes.items()):
            if not (lane.waiting or lane.in_flight or lane.open_until > now):
                del self._lanes[host]
