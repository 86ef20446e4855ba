# SPDX-License-Identifier: Apache-2.0
"""Schedule delivery attempts fairly between hosts.

Each host has a queue. Hosts take turns, and so do projects within a queue.
The window of a host, its attempts at a time, starts at one, widens with
success and narrows with failure. An attempt that is slow no longer counts, so
that receivers that hang never hold up the others. A host whose attempts all
fail is probed once a minute.

Nothing here waits, or is safe for threads: it belongs to the event loop.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic

from zaqar.notification.host_queue import (
    CIRCUIT_FAILURES,
    DEFER_FAILING,
    DEFER_HEALTHY,
    HostQueue,
    Job,
)

#: Seconds after which an attempt is slow, and after which it hangs if the host
#: has never answered.
SLOW_SECONDS = 0.25
HANG_SECONDS = 3.0

#: Slow attempts at a time per other attempt.
SLOW_PER_PERMIT = 10

#: Maximum number of jobs at a time, and of those of one project, where a job
#: with long messages counts as several. The queue of a host may be as long as
#: what is left of it: the more hosts there are, the less each of them gets.
MAX_HELD = 4000
PROJECT_HELD = MAX_HELD * 3 // 4

#: Hosts of which that comes next whose project has waited longest.
LOOK = 64

#: Seconds within which a job should begin that is not stored.
SOON = 0.5

#: Jobs of a host that may become due together.
MAX_EXPECTED = 500

#: Maximum length of the queue of a host that fails or hangs, and of the queues
#: of all those together.
MAX_FAILING = 16
MAX_ALL_FAILING = 1000

#: Hosts beyond which idle ones are dropped.
MAX_HOSTS = 5000


@dataclass(slots=True, eq=False)
class Attempt(Generic[Job]):
    """An attempt in progress."""

    job: Job
    queue: HostQueue[Job]
    began: float


class Scheduler(Generic[Job]):
    """Queues of jobs per host.

    :param permits: maximum number of attempts at a time that are not slow
    :param per_host: maximum window of a host
    :param defer: called with jobs that their host has no room for, and the
        seconds after which to offer them again, 0 for at once if they are only
        to be stored
    """

    def __init__(
        self,
        permits: int,
        per_host: int,
        defer: Callable[[Job, float], None],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._permits = permits
        self._per_host = per_host
        self._defer = defer
        self._timer = timer
        self._queues: dict[str, HostQueue[Job]] = {}
        #: Queues from which a job may be taken, in turn.
        self._ring: dict[str, HostQueue[Job]] = {}
        #: Attempts in the order in which they began.
        self._quick: dict[Attempt[Job], None] = {}
        self._slow: dict[Attempt[Job], None] = {}
        #: Jobs that will be offered, by host and project.
        self._expected: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._waiting = 0
        #: Weights of jobs that are queued or in progress, by project.
        self._weights: Counter[str] = Counter()
        self.weight = 0
        #: When projects had their last turns.
        self._turns: dict[str, int] = {}
        self._turn = 0
        self._is_closed = False

    @property
    def held(self) -> int:
        """Number of jobs that are queued or in progress."""
        return self._waiting + self.in_flight

    @property
    def in_flight(self) -> int:
        """Number of attempts in progress."""
        return len(self._quick) + len(self._slow)

    @property
    def slow(self) -> int:
        """Number of slow attempts in progress."""
        return len(self._slow)

    def open_circuits(self) -> int:
        """Return the number of hosts that are only probed."""
        now = self._timer()
        # A list at once: other threads ask, too.
        return sum(q.open_until > now for q in list(self._queues.values()))

    def offer(self, job: Job) -> None:
        """Queue a job, or defer it if the queue of its host is full."""
        if self._is_closed:
            self._defer(job, 0.0)
            return
        queue = self._queue(job.host)
        expected = self._expected[job.host]
        if expected[job.project]:
            expected[job.project] -= 1
        wait = self._wait_for_room(queue, job.project)
        if wait is not None:
            if not queue.is_failing:
                wait = queue.book(self._timer())
            self._defer(job, wait)
            return
        queue.waiting.append(job)
        self._waiting += 1
        self._weigh(job, 1)
        self._set_turn(queue)

    def expected_wait(self, host: str, project: str) -> float | None:
        """Return the seconds for which a host will have no room, if any.

        Else the job is expected, so that no more of them become due together
        than there is room for: they would be in the way of others. Threads of
        stores call this, and may see a state that has just passed.
        """
        queue = self._queues.get(host)
        if queue is not None and queue.is_failing:
            return self._wait_for_room(queue, project)
        expected = self._expected[host]
        waiting = 0 if queue is None else len(queue.waiting)
        if expected.total() + waiting >= MAX_EXPECTED:
            others = len(expected) - (project in expected)
            if expected[project] >= MAX_EXPECTED // (others + 1):
                return self._queue(host).book(self._timer(), expected.total())
        expected[project] += 1
        return None

    def is_quick(self, host: str) -> bool:
        """Tell whether jobs for a host are likely to begin soon.

        Not behind others that are stored, which come first. Threads of stores
        call this, and may see a state that has just passed.
        """
        expected = self._expected.get(host)
        if expected is not None and expected.total():
            return False
        queue = self._queues.get(host)
        return queue is None or not (
            queue.is_failing
            or queue.slow
            or queue.open_until > self._timer()
            or len(queue.waiting) * queue.pace > SOON
        )

    def expect_none(self) -> None:
        """Note that all jobs that are due have been offered."""
        self._expected = defaultdict(Counter)

    def take(self) -> Attempt[Job] | None:
        """Begin the next attempt, None if there is none for now."""
        if self._is_closed or len(self._quick) >= self._permits:
            return None
        if not self._ring:
            return None
        now = self._timer()
        is_full = len(self._slow) >= self._permits * SLOW_PER_PERMIT
        ready = (
            queue
            for queue in self._ring.values()
            if queue.open_until <= now and not (is_full and queue.is_failing)
        )
        # Where one project is alone there is nothing to compare.
        most = LOOK if len(self._weights) > 1 else 1
        queue = min(islice(ready, most), key=self._last_turn, default=None)
        if queue is None:
            return None
        # Its next turn comes after those of all others.
        del self._ring[queue.host]
        if len(self._turns) >= MAX_HOSTS:
            self._turns.clear()
        self._turn += 1
        self._turns[queue.waiting.next_project] = self._turn
        return self._begin(queue, now)

    def end(
        self, attempt: Attempt[Job], success: bool | None, *, more: bool
    ) -> None:
        """End an attempt.

        :param success: how the host did; None if nothing was sent
        :param more: put the job first in the queue of its host
        """
        queue, surplus = attempt.queue, list[Job]()
        if success:
            queue.succeed(self._timer(), self._per_host)
        elif success is not None:
            queue.fail(self._timer())
            surplus = self._take_surplus(queue)
        self._quick.pop(attempt, None)
        if attempt in self._slow:
            del self._slow[attempt]
            queue.slow -= 1
        queue.in_flight -= 1
        is_next = more and not self._is_closed
        if is_next:
            queue.waiting.appendleft(attempt.job)
            self._waiting += 1
        else:
            self._weigh(attempt.job, -1)
        self._set_turn(queue)
        self._defer_all(surplus)
        if more and not is_next:
            self._defer(attempt.job, 0.0)

    def check(self) -> None:
        """Have slow attempts count no longer, and mark hosts that hang."""
        now = self._timer()
        while self._quick and len(self._slow) < (
            self._permits * SLOW_PER_PERMIT
        ):
            attempt = next(iter(self._quick))
            if now - attempt.began < SLOW_SECONDS:
                break
            del self._quick[attempt]
            self._slow[attempt] = None
            attempt.job.is_slow = True
            attempt.queue.slow += 1
            self._store(attempt.queue)
        for attempt in self._slow:
            if now - attempt.began >= HANG_SECONDS and not (
                attempt.queue.is_hanging or attempt.queue.successes
            ):
                attempt.queue.is_hanging = True
                self._defer_all(self._take_surplus(attempt.queue))

    def check_in(self) -> float | None:
        """Return the seconds until :meth:`check` or :meth:`take` may do more.

        None while they cannot.
        """
        now = self._timer()
        moments = [queue.open_until for queue in self._ring.values()]
        if self._quick:
            moments.append(next(iter(self._quick)).began + SLOW_SECONDS)
        moments += [
            attempt.began + HANG_SECONDS
            for attempt in self._slow
            if not (attempt.queue.is_hanging or attempt.queue.successes)
        ]
        later = [moment - now for moment in moments if moment > now]
        # While too many are slow, the next check stays overdue.
        return min(later, default=SLOW_SECONDS if self._quick else None)

    def close(self) -> Sequence[Job]:
        """Hand out no more jobs; return those that are queued."""
        self._is_closed = True
        jobs = []
        for queue in self._queues.values():
            while queue.waiting:
                jobs.append(queue.waiting.popleft())
                self._weigh(jobs[-1], -1)
        self._ring.clear()
        self._waiting = 0
        return jobs

    def _store(self, queue: HostQueue[Job]) -> None:
        """Have jobs stored that wait longer than was expected."""
        jobs = queue.waiting.remove_unstored()
        for job in jobs:
            self._weigh(job, -1)
            # Before those of later posts.
            self._expected[queue.host][job.project] += 1
        self._waiting -= len(jobs)
        self._set_turn(queue)
        for job in jobs:
            self._defer(job, 0.0)

    def _last_turn(self, queue: HostQueue[Job]) -> int:
        return self._turns.get(queue.waiting.next_project, 0)

    def _weigh(self, job: Job, sign: int) -> None:
        self.weight += sign * job.weight
        self._weights[job.project] += sign * job.weight
        if not self._weights[job.project]:
            del self._weights[job.project]

    def _begin(self, queue: HostQueue[Job], now: float) -> Attempt[Job]:
        attempt = Attempt(queue.waiting.popleft(), queue, now)
        self._waiting -= 1
        if queue.failures >= CIRCUIT_FAILURES:
            # A probe: the others wait for what comes of it.
            queue.window = 1
        queue.in_flight += 1
        self._quick[attempt] = None
        self._set_turn(queue)
        return attempt

    def _set_turn(self, queue: HostQueue[Job]) -> None:
        """Let a host have turns as long as it has jobs, and room for them."""
        if queue.waiting and queue.in_flight < queue.window:
            self._ring.setdefault(queue.host, queue)
        else:
            self._ring.pop(queue.host, None)

    def _wait_for_room(
        self, queue: HostQueue[Job], project: str
    ) -> float | None:
        """Return the seconds for which there is no room, None if there is.

        A project gets its share of a queue that others have filled.
        """
        left = queue.open_until - self._timer()
        if left > 0:
            return left
        room = self._room(queue)
        waiting, own = queue.waiting, PROJECT_HELD - self._weights[project]
        if waiting.weight < min(room, max(1, own)) or (
            waiting.share(project, min(room, own)) > 0
        ):
            return None
        return DEFER_FAILING if queue.is_failing else DEFER_HEALTHY

    def _room(self, queue: HostQueue[Job]) -> int:
        if not queue.is_failing:
            return max(1, MAX_HELD - self.weight)
        queues = list(self._ring.values())
        failing = sum(queue.is_failing for queue in queues) or 1
        return max(1, min(MAX_FAILING, MAX_ALL_FAILING // failing))

    def _defer_all(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._defer(job, DEFER_FAILING)

    def _take_surplus(self, queue: HostQueue[Job]) -> list[Job]:
        is_open = queue.open_until > self._timer()
        room = 0 if is_open else self._room(queue)
        surplus = []
        while queue.waiting.weight > room:
            surplus.append(queue.waiting.pop())
            self._weigh(surplus[-1], -1)
        self._waiting -= len(surplus)
        self._set_turn(queue)
        return surplus

    def _queue(self, host: str) -> HostQueue[Job]:
        queue = self._queues.get(host)
        if queue is None:
            if len(self._queues) >= MAX_HOSTS:
                self._drop_idle()
            queue = self._queues[host] = HostQueue(host)
        return queue

    def _drop_idle(self) -> None:
        now = self._timer()
        for host, queue in list(self._queues.items()):
            is_busy = queue.waiting or queue.in_flight
            if not is_busy and queue.open_until <= now:
                del self._queues[host]
