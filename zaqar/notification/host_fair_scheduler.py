# SPDX-License-Identifier: Apache-2.0
"""Schedule delivery attempts fairly between projects and hosts.

Each host has a queue. Projects take turns, the hosts of a project do, and so
do projects within a queue. The window of a host, its attempts at a time,
starts at one, widens with success and narrows with failure; beyond eight it
widens only as long as the host is prompt. An attempt that is slow no longer
counts, so that receivers that hang never hold up the others; a project may
have a part only of the slow attempts that others leave it. Those at prompt
hosts do not count either, for they are soon over, as long as they could all
become slow. A host whose attempts all fail is probed once a minute.

Nothing here waits, or is safe for threads: it belongs to the event loop.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Generic

from zaqar.notification.host_queue_and_health import (
    CIRCUIT_FAILURES,
    DEFER_FAILING,
    Attempt,
    HostQueue,
    Job,
    Standing,
    Turn,
)

#: Seconds after which an attempt is slow, and after which it hangs if the host
#: has never answered.
SLOW_SECONDS = 0.25
HANG_SECONDS = 3.0

#: Attempts at a time that are slow or at prompt hosts, per other attempt.
SLOW_PER_PERMIT = 10

#: Maximum number of jobs at a time, and of those of one project, where a job
#: with long messages counts as several. The queue of a host may be as long as
#: what is left of it: the more hosts there are, the less each of them gets.
MAX_HELD = 4000
PROJECT_HELD = MAX_HELD * 3 // 4

#: The share of the slow attempts that others leave it that a project may have
#: at hosts that answer, and at those that have not yet or fail; and the share
#: of the permits for the latter of all projects.
SLOW_SHARE = 0.75
DOUBTFUL_SHARE = 0.5

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


class Scheduler(Generic[Job]):
    """Queues of jobs per host.

    :param permits: maximum number of attempts at a time that count
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
        self._most_slow = permits * SLOW_PER_PERMIT
        self._per_host = per_host
        self._defer = defer
        self._timer = timer
        self._queues: dict[str, HostQueue[Job]] = {}
        #: Queues from which a job may be taken, in turn, by what takes turns,
        #: too.
        self._turns: OrderedDict[Turn, OrderedDict[str, HostQueue[Job]]] = (
            OrderedDict()
        )
        #: Those with jobs of several projects.
        self._shared: dict[HostQueue[Job], None] = {}
        #: Attempts in the order in which they began.
        self._quick: dict[Attempt[Job], None] = {}
        self._prompt: Counter[str] = Counter()
        self._slow: dict[Attempt[Job], None] = {}
        self._slow_of: Counter[str] = Counter()
        #: Weights of jobs that are queued or in progress, by project.
        self._weights: Counter[str] = Counter()
        self.weight = 0
        self.held = 0
        self._is_closed = False

    @property
    def in_flight(self) -> int:
        """Number of attempts in progress."""
        return len(self._quick) + len(self._slow)

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
        wait = self._wait_for_room(queue, job.project)
        if wait is not None:
            self._defer(job, wait)
            return
        queue.waiting.append(job)
        self._weigh(job, 1)
        self._set_turn(queue)

    def expected_wait(
        self, host: str, project: str, due: Mapping[str, int]
    ) -> float | None:
        """Return the seconds for which a host will have no room, if any.

        No more jobs of a host become due together than there is room for: they
        would be in the way of others. Threads of stores call this, and may see
        a state that has just passed.

        :param due: jobs that will be offered for the host, by project
        """
        queue = self._queues.get(host)
        if queue is not None and queue.is_failing:
            return self._wait_for_room(queue, project)
        count = sum(due.values())
        if count + (0 if queue is None else len(queue.waiting)) < MAX_EXPECTED:
            return None
        others = len(due) - (project in due)
        if due.get(project, 0) < MAX_EXPECTED // (others + 1):
            return None
        return self._queue(host).book(self._timer(), count)

    def is_quick(self, host: str) -> bool:
        """Tell whether jobs for a host are likely to begin soon.

        Threads of stores call this, and may see a state that has just passed.
        """
        queue = self._queues.get(host)
        return queue is None or not (
            queue.is_failing
            or queue.slow
            or queue.open_until > self._timer()
            or len(queue.waiting) * queue.pace > SOON
        )

    def take(self) -> Attempt[Job] | None:
        """Begin the next attempt, None if there is none for now."""
        if self._is_closed:
            return None
        attempt = self._next()
        if attempt is None and self._shared:
            # Those may come now whom others have let go first.
            attempt = self._next()
        return attempt

    def end(
        self, attempt: Attempt[Job], success: bool | None, *, more: bool
    ) -> None:
        """End an attempt.

        :param success: how the host did; None if nothing was sent
        :param more: put the job first in the queue of its host
        """
        queue = attempt.queue
        if success:
            now = self._timer()
            queue.succeed(now, now - attempt.began, self._per_host)
        elif success is not None:
            queue.fail(self._timer())
            self._defer_surplus(queue)
        if attempt in self._slow:
            del self._slow[attempt]
            self._slow_of -= Counter([attempt.job.project])
            queue.slow -= 1
        else:
            self._leave_quick(attempt)
        queue.in_flight -= 1
        is_next = more and not self._is_closed
        if is_next:
            queue.waiting.appendleft(attempt.job)
        else:
            self._weigh(attempt.job, -1)
        self._set_turn(queue)
        if more and not is_next:
            self._defer(attempt.job, 0.0)

    def check(self) -> None:
        """Have slow attempts count no longer, and mark hosts that hang."""
        now = self._timer()
        while self._quick and len(self._slow) < self._most_slow:
            attempt = next(iter(self._quick))
            if now - attempt.began < SLOW_SECONDS:
                break
            self._leave_quick(attempt)
            self._slow[attempt] = None
            self._slow_of[attempt.job.project] += 1
            attempt.job.is_slow = True
            attempt.queue.narrow()
            attempt.queue.slow += 1
            self._store(attempt.queue)
        for attempt in self._slow:
            if now - attempt.began >= HANG_SECONDS and not (
                attempt.queue.is_hanging or attempt.queue.successes
            ):
                attempt.queue.is_hanging = True
                self._defer_surplus(attempt.queue)

    def close(self) -> Sequence[Job]:
        """Hand out no more jobs; return those that are queued."""
        self._is_closed = True
        jobs = []
        for queue in self._queues.values():
            while queue.waiting:
                jobs.append(queue.waiting.popleft())
                self._weigh(jobs[-1], -1)
            self._set_turn(queue)
        return jobs

    def _leave_quick(self, attempt: Attempt[Job]) -> None:
        del self._quick[attempt]
        if attempt.is_prompt:
            self._prompt -= Counter([attempt.job.project])

    def _store(self, queue: HostQueue[Job]) -> None:
        """Have jobs stored that wait longer than was expected."""
        jobs = queue.waiting.remove_unstored()
        for job in jobs:
            self._weigh(job, -1)
            self._defer(job, 0.0)
        self._set_turn(queue)

    def _next(self) -> Attempt[Job] | None:
        """Begin an attempt of the project whose turn it is.

        At hosts that others share with one that may have none now, these come
        before it.
        """
        now, refused = self._timer(), set[Turn]()
        prompt = self._prompt.total()
        counting = len(self._quick) - prompt
        room = {
            Standing.PROMPT: prompt + len(self._slow) < self._most_slow,
            Standing.USUAL: counting < self._permits,
            Standing.DOUBTFUL: counting < self._permits * DOUBTFUL_SHARE,
        }
        begun: Attempt[Job] | None = None
        for turn, queues in self._turns.items():
            if not room[turn[1]]:
                continue
            if not self._may_begin(*turn):
                refused.add(turn)
                continue
            ready = (one for one in queues.values() if one.open_until <= now)
            if (queue := next(ready, None)) is not None:
                self._end_turn(*turn)
                self._file(queue, None)
                begun = self._begin(queue, now)
                break
        for queue in [one for one in self._shared if one.turn in refused]:
            queue.waiting.pass_on()
            self._set_turn(queue)
        return begun

    def _may_begin(self, project: str, standing: Standing) -> bool:
        """Tell whether a project may have an attempt, which may be slow.

        What it leaves to others is never nothing, however many hosts it has
        that hang.
        """
        share, slow = SLOW_SHARE, self._slow_of[project]
        left = self._most_slow - len(self._slow) + slow
        if standing is Standing.DOUBTFUL:
            share = DOUBTFUL_SHARE
        elif standing is Standing.PROMPT:
            slow += self._prompt[project]
        return not slow or slow < left * share

    def _end_turn(self, project: str, standing: Standing) -> None:
        """Let others come first, and then the other hosts of a project."""
        others = [one for one in Standing if one is not standing]
        for turn in ((project, one) for one in (*others, standing)):
            if turn in self._turns:
                self._turns.move_to_end(turn)

    def _weigh(self, job: Job, sign: int) -> None:
        self.held += sign
        self.weight += sign * job.weight
        self._weights[job.project] += sign * job.weight
        if not self._weights[job.project]:
            del self._weights[job.project]

    def _begin(self, queue: HostQueue[Job], now: float) -> Attempt[Job]:
        is_prompt = queue.standing is Standing.PROMPT
        attempt = Attempt(queue.waiting.popleft(), queue, now, is_prompt)
        if is_prompt:
            self._prompt[attempt.job.project] += 1
        if queue.failures >= CIRCUIT_FAILURES:
            # A probe: the others wait for what comes of it.
            queue.window = 1
        queue.in_flight += 1
        self._quick[attempt] = None
        self._set_turn(queue)
        return attempt

    def _set_turn(self, queue: HostQueue[Job]) -> None:
        """Let a host have turns as long as it has jobs, and room for them."""
        if queue.waiting.is_shared:
            self._shared[queue] = None
        else:
            self._shared.pop(queue, None)
        if not queue.waiting or queue.in_flight >= queue.window:
            self._file(queue, None)
            return
        self._file(queue, (queue.waiting.next_project, queue.standing))

    def _file(self, queue: HostQueue[Job], turn: Turn | None) -> None:
        """Let a host have its turns among those of a project, if of any."""
        if queue.turn == turn:
            return
        if queue.turn is not None:
            del self._turns[queue.turn][queue.host]
            if not self._turns[queue.turn]:
                del self._turns[queue.turn]
        queue.turn = turn
        if turn is not None:
            queues = self._turns.setdefault(turn, OrderedDict())
            queues[queue.host] = queue

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
        return DEFER_FAILING if queue.is_failing else queue.book(self._timer())

    def _room(self, queue: HostQueue[Job]) -> int:
        if not queue.is_failing:
            return max(1, MAX_HELD - self.weight)
        # Lists at once: other threads ask, too.
        turns = [list(one.values()) for one in list(self._turns.values())]
        failing = sum(one.is_failing for queues in turns for one in queues)
        return max(1, min(MAX_FAILING, MAX_ALL_FAILING // (failing or 1)))

    def _defer_surplus(self, queue: HostQueue[Job]) -> None:
        """Defer what a host that fails has no room for any more."""
        is_open = queue.open_until > self._timer()
        room = 0 if is_open else self._room(queue)
        while queue.waiting.weight > room:
            job = queue.waiting.pop()
            self._weigh(job, -1)
            self._defer(job, DEFER_FAILING)
        self._set_turn(queue)

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
