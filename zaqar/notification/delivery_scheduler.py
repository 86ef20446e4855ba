# SPDX-License-Identifier: Apache-2.0
"""Schedule delivery attempts fairly between hosts.

Each host has a queue. Hosts take turns, and so do projects within a queue.
The window of a host, its attempts at a time, starts at one, widens with
success and narrows with failure. A slow attempt gives its permit back and no
longer counts, so that receivers that hang never hold up the others. A host
whose attempts all fail is probed once a minute.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from zaqar.notification.project_fair_queue import FairQueue, ProjectJob

#: Seconds after which an attempt is slow, and at least between two checks.
SLOW_SECONDS = 0.25
CHECK_INTERVAL = SLOW_SECONDS / 5

#: Seconds after which an attempt hangs, if the host has never answered.
HANG_SECONDS = 3.0

#: Slow attempts at a time per permit.
SLOW_PER_PERMIT = 10

#: Failures in a row after which a host counts as failing, and which open a
#: circuit, and the seconds it stays open.
FAILING_AFTER = 3
CIRCUIT_FAILURES = 20
CIRCUIT_SECONDS = 60.0

#: Maximum length of the queue of a healthy host, of a new one, of one that
#: fails or hangs, and of the queues of all those together.
MAX_HEALTHY = 256
MAX_NEW = 64
MAX_FAILING = 16
MAX_ALL_FAILING = 1000

#: Seconds for which jobs are deferred when a queue is full.
DEFER_HEALTHY = 1.0
DEFER_FAILING = 30.0

#: Hosts beyond which idle ones are dropped.
MAX_HOSTS = 5000


class HostJob(ProjectJob, Protocol):
    """What the scheduler needs to know of a job."""

    @property
    def host(self) -> str: ...


Job = TypeVar('Job', bound=HostJob)


@dataclass(slots=True, eq=False)
class HostQueue(Generic[Job]):
    """The jobs of a host, and how it has behaved so far."""

    host: str
    waiting: FairQueue[Job] = field(default_factory=FairQueue)
    in_flight: int = 0
    window: int = 1
    successes: int = 0
    failures: int = 0
    open_until: float = 0.0
    is_hanging: bool = False

    @property
    def is_failing(self) -> bool:
        """Whether attempts at the host fail or hang."""
        return self.is_hanging or self.failures >= FAILING_AFTER


@dataclass(slots=True, eq=False)
class Attempt(Generic[Job]):
    """An attempt in progress."""

    job: Job
    queue: HostQueue[Job]
    began: float
    is_slow: bool = False


def _may_hang(attempt: Attempt[Any]) -> bool:
    """Return whether the host has never answered and is not marked yet."""
    return not (attempt.queue.is_hanging or attempt.queue.successes)


class Scheduler(Generic[Job]):
    """Queues of jobs per host, handed out to worker threads.

    :param permits: maximum number of attempts at a time that are not slow
    :param per_host: maximum window of a host
    :param defer: called with jobs that their host has no room for, and the
        seconds after which to offer them again
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
        lock = threading.RLock()
        #: A job may be taken; an attempt began while none was to be checked.
        self._changed = threading.Condition(lock)
        self._begun = threading.Condition(lock)
        self.is_waiting = False
        self._is_stopped = False
        self._queues: dict[str, HostQueue[Job]] = {}
        self._ring: OrderedDict[str, HostQueue[Job]] = OrderedDict()
        self._attempts: set[Attempt[Job]] = set()
        self._slow = 0
        self._held = 0
        self._is_closed = False

    @property
    def held(self) -> int:
        """Number of jobs that are queued or in progress."""
        return self._held

    @property
    def in_flight(self) -> int:
        """Number of attempts in progress."""
        return len(self._attempts)

    @property
    def slow(self) -> int:
        """Number of slow attempts in progress."""
        return self._slow

    def open_circuits(self) -> int:
        """Return the number of hosts that are only probed."""
        now = self._timer()
        with self._changed:
            return sum(q.open_until > now for q in self._queues.values())

    def offer(self, job: Job) -> None:
        """Queue a job, or defer it if the queue of its host is full."""
        with self._changed:
            queue = self._queue(job.host)
            wait = self._wait_for_room(queue, job.project)
            if wait is None:
                queue.waiting.append(job)
                self._queued(queue)
                self._changed.notify()
        if wait is not None:
            self._defer(job, wait)

    def expected_wait(self, host: str, project: str) -> float | None:
        """Return the seconds for which a failing host has no room, if any."""
        with self._changed:
            queue = self._queues.get(host)
            if queue is None or not queue.is_failing:
                return None
            return self._wait_for_room(queue, project)

    def take(self) -> Attempt[Job] | None:
        """Wait for the next job and begin an attempt; None once closed."""
        with self._changed:
            while not self._is_closed:
                queue = self._next()
                if queue is not None:
                    return self._begin(queue)
                self._changed.wait(self._pause())
            return None

    def end(
        self, attempt: Attempt[Job], success: bool | None, *, more: bool
    ) -> None:
        """End an attempt.

        :param success: how the host did; None if nothing was sent
        :param more: put the job first in the queue of its host
        """
        queue, surplus = attempt.queue, list[Job]()
        with self._changed:
            if success is not None:
                surplus = self._record(queue, success)
            self._release(attempt)
            if more and not self._is_closed:
                queue.waiting.appendleft(attempt.job)
                self._queued(queue)
            self._changed.notify()
        self._defer_all(surplus)

    def wait_until_slow(self, seconds: float) -> None:
        """Wait until an attempt may have become slow, or the time is up."""
        began = self._timer()
        with self._changed:
            while not self._is_stopped:
                check_at = self._next_check()
                self.is_waiting = check_at is None
                end = began + seconds
                if check_at is not None:
                    # While too many are slow, the next check stays overdue.
                    end = min(end, max(check_at, began + CHECK_INTERVAL))
                wait = end - self._timer()
                if wait <= 0:
                    break
                self._begun.wait(wait)
            self.is_waiting = False

    def stop_waiting(self) -> None:
        """Wake up who waits for slow attempts, for good."""
        with self._changed:
            self._is_stopped = True
            self._begun.notify_all()

    def mark_slow(self) -> None:
        """Take permits from slow attempts, and mark hosts that hang."""
        surplus: list[Job] = []
        freed = 0
        with self._changed:
            now = self._timer()
            for attempt in self._attempts:
                if attempt.is_slow:
                    surplus += self._mark_hanging(attempt, now)
                    continue
                if now - attempt.began < SLOW_SECONDS:
                    continue
                if self._slow >= self._permits * SLOW_PER_PERMIT:
                    break
                attempt.is_slow = True
                self._slow += 1
                freed += 1
            self._changed.notify(freed)
        self._defer_all(surplus)

    def close(self) -> Sequence[Job]:
        """Hand out no more jobs; return those that are queued."""
        with self._changed:
            self._is_closed = True
            jobs = []
            for queue in self._queues.values():
                while queue.waiting:
                    jobs.append(queue.waiting.popleft())
            self._held -= len(jobs)
            self._changed.notify_all()
        return jobs

    def _record(self, queue: HostQueue[Job], success: bool) -> list[Job]:
        """Record how a host did; return jobs that it has no room for."""
        if success:
            queue.failures = 0
            queue.successes += 1
            queue.is_hanging = False
            queue.open_until = 0.0
            queue.window = min(queue.window + 1, self._per_host)
            return []
        queue.failures += 1
        queue.window = max(1, queue.window // 2)
        if queue.failures >= CIRCUIT_FAILURES:
            queue.open_until = self._timer() + CIRCUIT_SECONDS
        return self._take_surplus(queue)

    def _mark_hanging(self, attempt: Attempt[Job], now: float) -> list[Job]:
        """Mark a host that hangs; return jobs that it has no room for."""
        if not _may_hang(attempt) or now - attempt.began < HANG_SECONDS:
            return []
        attempt.queue.is_hanging = True
        return self._take_surplus(attempt.queue)

    def _next_check(self) -> float | None:
        """Return when to check attempts next, None while there are none."""
        return min(
            (
                attempt.began
                + (HANG_SECONDS if attempt.is_slow else SLOW_SECONDS)
                for attempt in self._attempts
                if not attempt.is_slow or _may_hang(attempt)
            ),
            default=None,
        )

    def _next(self) -> HostQueue[Job] | None:
        if len(self._attempts) - self._slow >= self._permits:
            return None
        now = self._timer()
        is_full = self._slow >= self._permits * SLOW_PER_PERMIT
        for host, queue in self._ring.items():
            if queue.in_flight >= queue.window or queue.open_until > now:
                continue
            if is_full and queue.is_failing:
                continue
            self._ring.move_to_end(host)
            return queue
        return None

    def _begin(self, queue: HostQueue[Job]) -> Attempt[Job]:
        attempt = Attempt(queue.waiting.popleft(), queue, self._timer())
        if not queue.waiting:
            del self._ring[queue.host]
        if queue.failures >= CIRCUIT_FAILURES:
            # A probe: the others wait for what comes of it.
            queue.window = 1
        queue.in_flight += 1
        self._attempts.add(attempt)
        if self.is_waiting:
            self._begun.notify()
        return attempt

    def _release(self, attempt: Attempt[Job]) -> None:
        self._attempts.discard(attempt)
        self._held -= 1
        attempt.queue.in_flight -= 1
        self._slow -= attempt.is_slow

    def _queued(self, queue: HostQueue[Job]) -> None:
        self._held += 1
        self._ring.setdefault(queue.host, queue)

    def _pause(self) -> float | None:
        """Return the seconds until a circuit may be probed, None if none."""
        now = self._timer()
        waits = (queue.open_until - now for queue in self._ring.values())
        return min((wait for wait in waits if wait > 0), default=None)

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
        if len(queue.waiting) < room or queue.waiting.share(project, room) > 0:
            return None
        return DEFER_FAILING if queue.is_failing else DEFER_HEALTHY

    def _room(self, queue: HostQueue[Job]) -> int:
        if not queue.is_failing:
            return MAX_HEALTHY if queue.successes else MAX_NEW
        failing = sum(queue.is_failing for queue in self._ring.values()) or 1
        return max(1, min(MAX_FAILING, MAX_ALL_FAILING // failing))

    def _defer_all(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._defer(job, DEFER_FAILING)

    def _take_surplus(self, queue: HostQueue[Job]) -> list[Job]:
        is_open = queue.open_until > self._timer()
        room = 0 if is_open else self._room(queue)
        surplus = []
        while len(queue.waiting) > room:
            surplus.append(queue.waiting.pop())
        self._held -= len(surplus)
        if not queue.waiting:
            self._ring.pop(queue.host, None)
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
