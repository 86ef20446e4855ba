# SPDX-License-Identifier: Apache-2.0
"""The jobs of a host, and how the host has behaved so far."""

import enum
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

#: Failures in a row after which a host counts as failing, and which open a
#: circuit, and the seconds it stays open.
FAILING_AFTER = 3
CIRCUIT_FAILURES = 20
CIRCUIT_SECONDS = 60.0

#: Attempts at a time that any host may have that answers. It gets more as long
#: as it does so within some seconds.
WINDOW = 8
PROMPT_SECONDS = 0.05

#: Seconds for which jobs are deferred when the queue of a healthy host is
#: full, at least and at most, and when that of a failing one is.
DEFER_HEALTHY = 1.0
DEFER_LONGEST = 60.0
DEFER_FAILING = 30.0

#: Seconds between two jobs of a host that has not shown its own pace yet, the
#: weight of the latest one, and the share of its pace at which jobs return:
#: each of them may wait for up to twice as long as it is told.
PACE = 0.001
PACE_WEIGHT = 0.1
PACE_SHARE = 0.7


class HostJob(Protocol):
    """What the scheduler needs to know of a job.

    :ivar is_slow: set once its attempt is
    """

    is_slow: bool

    @property
    def host(self) -> str: ...

    @property
    def project(self) -> str: ...

    @property
    def weight(self) -> int: ...

    @property
    def is_stored(self) -> bool: ...


Job = TypeVar('Job', bound=HostJob)


class Standing(enum.Enum):
    """What is to be expected of attempts at a host.

    :cvar PROMPT: they are soon over, and it may have more than others
    :cvar DOUBTFUL: it has not answered yet, or fails
    """

    PROMPT = enum.auto()
    USUAL = enum.auto()
    DOUBTFUL = enum.auto()


#: What takes turns: the hosts of a project with the same standing.
Turn = tuple[str, Standing]


class FairQueue(Generic[Job]):
    """Jobs of one host, in order within each project.

    Many projects may share a host, such as the mail server: they take turns.
    """

    def __init__(self) -> None:
        self._projects: OrderedDict[str, deque[Job]] = OrderedDict()
        self._weights: Counter[str] = Counter()
        self._count = 0
        self.weight = 0

    def __len__(self) -> int:
        return self._count

    @property
    def next_project(self) -> str:
        """The project whose turn it is."""
        return next(iter(self._projects))

    @property
    def is_shared(self) -> bool:
        """Whether several projects have jobs."""
        return len(self._projects) > 1

    def share(self, project: str, room: int) -> int:
        """Return what a project may add to a full queue, by weight."""
        others = len(self._projects) - (project in self._projects)
        return room // (others + 1) - self._weights[project]

    def append(self, job: Job) -> None:
        """Put a job last among those of its project."""
        self._projects.setdefault(job.project, deque()).append(job)
        self._changed(job, 1)

    def appendleft(self, job: Job) -> None:
        """Put a job first, and its project too."""
        self._projects.setdefault(job.project, deque()).appendleft(job)
        self._projects.move_to_end(job.project, last=False)
        self._changed(job, 1)

    def pass_on(self) -> None:
        """Let the project come last whose turn it is."""
        self._projects.move_to_end(self.next_project)

    def popleft(self) -> Job:
        """Remove and return the first job of the next project."""
        project, jobs = next(iter(self._projects.items()))
        job = jobs.popleft()
        self._projects.move_to_end(project)
        self._changed(job, -1)
        return job

    def pop(self) -> Job:
        """Remove and return the last job of the project with the most."""
        project, _ = self._weights.most_common(1)[0]
        job = self._projects[project].pop()
        self._changed(job, -1)
        return job

    def remove_unstored(self) -> list[Job]:
        """Remove and return the jobs that are not stored."""
        jobs = [job for jobs in self._projects.values() for job in jobs]
        removed = [job for job in jobs if not job.is_stored]
        for job in removed:
            self._projects[job.project].remove(job)
            self._changed(job, -1)
        return removed

    def _changed(self, job: Job, sign: int) -> None:
        self._count += sign
        self.weight += sign * job.weight
        self._weights[job.project] += sign * job.weight
        if not self._projects.get(job.project):
            self._projects.pop(job.project, None)
            del self._weights[job.project]


@dataclass(slots=True, eq=False)
class HostQueue(Generic[Job]):
    """The jobs of a host, and how it has behaved so far.

    :ivar turn: in whose turns it takes part, if in any
    :ivar slow: slow attempts in progress
    :ivar ended: when the last job ended
    :ivar pace: seconds between the ends of two jobs while more are waiting
    :ivar booked: until when deferred jobs are expected to keep it busy
    """

    host: str
    waiting: FairQueue[Job] = field(default_factory=FairQueue)
    turn: Turn | None = None
    in_flight: int = 0
    slow: int = 0
    window: int = 1
    successes: int = 0
    failures: int = 0
    open_until: float = 0.0
    is_hanging: bool = False
    ended: float = 0.0
    pace: float = PACE
    booked: float = 0.0

    @property
    def is_failing(self) -> bool:
        """Whether attempts at the host fail or hang."""
        return self.is_hanging or self.failures >= FAILING_AFTER

    @property
    def standing(self) -> Standing:
        if not self.successes or self.is_failing:
            return Standing.DOUBTFUL
        is_prompt = self.window > WINDOW
        return Standing.PROMPT if is_prompt else Standing.USUAL

    def succeed(self, now: float, spent: float, widest: int) -> None:
        """Record a success.

        :param spent: seconds that it took
        :param widest: the maximum window
        """
        self.failures = 0
        self.successes += 1
        self.is_hanging = False
        self.open_until = 0.0
        if spent > PROMPT_SECONDS:
            self.narrow()
        if spent <= PROMPT_SECONDS or self.window < WINDOW:
            self.window = min(self.window + 1, widest)
        if self.waiting and self.ended:
            last = now - self.ended
            self.pace += PACE_WEIGHT * (last - self.pace)
        self.ended = now if self.waiting else 0.0

    def narrow(self) -> None:
        """Take back half of the window, down to what any host may have."""
        self.window = min(self.window, max(self.window // 2, WINDOW))

    def fail(self, now: float) -> None:
        """Record a failure."""
        self.failures += 1
        self.window = max(1, self.window // 2)
        if self.failures >= CIRCUIT_FAILURES:
            self.open_until = now + CIRCUIT_SECONDS

    def book(self, now: float, expected: int = 0) -> float:
        """Return the seconds until the host can be expected to have room.

        A host with a long backlog gets its jobs back at its own pace: each of
        them is stored again once, rather than every second.

        :param expected: jobs that are about to be offered
        """
        jobs = expected + len(self.waiting)
        busy_until = now + jobs * self.pace
        pause = self.pace * PACE_SHARE
        self.booked = max(self.booked, busy_until) + pause
        return min(max(self.booked - now, DEFER_HEALTHY), DEFER_LONGEST)


@dataclass(slots=True, eq=False)
class Attempt(Generic[Job]):
    """An attempt in progress.

    :ivar is_prompt: its host was prompt when it began
    """

    job: Job
    queue: HostQueue[Job]
    began: float
    is_prompt: bool = False
