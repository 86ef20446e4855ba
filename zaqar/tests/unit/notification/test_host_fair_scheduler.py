# SPDX-License-Identifier: Apache-2.0
"""The order of attempts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from zaqar.notification.host_fair_scheduler import (
    HANG_SECONDS,
    MAX_EXPECTED,
    MAX_FAILING,
    MAX_HELD,
    PROJECT_HELD,
    SLOW_PER_PERMIT,
    SLOW_SECONDS,
    SLOW_SHARE,
    Scheduler,
)
from zaqar.notification.host_queue_and_health import (
    CIRCUIT_FAILURES,
    CIRCUIT_SECONDS,
    DEFER_FAILING,
    DEFER_LONGEST,
    FAILING_AFTER,
    PACE_SHARE,
    PROMPT_SECONDS,
    WINDOW,
    Attempt,
)


@dataclass(eq=False)
class Job:
    """Something for a host."""

    host: str
    project: str = 'p'
    weight: int = 1
    is_stored: bool = True
    is_slow: bool = False


@dataclass
class Bench:
    """A scheduler whose time tests move; nothing in it ever waits."""

    permits: int = 4
    per_host: int = 3
    at: float = 100.0
    scheduler: Scheduler[Job] = field(init=False)
    deferred: list[tuple[Job, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(
            self.permits, self.per_host, self._defer, lambda: self.at
        )

    def _defer(self, job: Job, seconds: float) -> None:
        self.deferred.append((job, seconds))

    def offer(self, *hosts: str) -> None:
        for host in hosts:
            assert self.wait(host) is None

    def wait(
        self, host: str, project: str = 'p', weight: int = 1
    ) -> float | None:
        """Offer a job; return the seconds for which it is deferred."""
        before = len(self.deferred)
        self.scheduler.offer(Job(host, project, weight))
        return self.deferred[-1][1] if len(self.deferred) > before else None

    def take(self) -> Attempt[Job]:
        attempt = self.scheduler.take()
        assert attempt is not None
        return attempt

    def end(self, attempt: Attempt[Job], success: bool = True) -> int:
        """End an attempt; return how many jobs are deferred for it."""
        before = len(self.deferred)
        self.scheduler.end(attempt, success, more=False)
        return len(self.deferred) - before

    def fail(self, host: str, times: int) -> None:
        for _ in range(times):
            self.offer(host)
            self.end(self.take(), False)


def test_what_waits_for_a_slow_host_is_stored() -> None:
    bench = Bench()
    bench.offer('a')
    for _ in range(2):
        bench.scheduler.offer(Job('a', is_stored=False))
        bench.scheduler.offer(Job('b', is_stored=False))
    assert bench.scheduler.is_quick('a')
    slow = bench.take()
    bench.end(bench.take())
    bench.at += SLOW_SECONDS
    bench.scheduler.check()
    assert slow.job.is_slow
    assert [(one.host, wait) for one, wait in bench.deferred] == [
        ('a', 0.0),
        ('a', 0.0),
    ]
    assert bench.scheduler.held == bench.scheduler.weight == 2
    # Others need not be, until it answers.
    assert not bench.scheduler.is_quick('a')
    assert bench.scheduler.is_quick('b')
    assert bench.take().job.host == 'b'
    bench.end(slow)
    assert bench.scheduler.is_quick('a')


def test_no_more_attempts_are_slow_than_allowed() -> None:
    bench = Bench(permits=1)
    for number in range(SLOW_PER_PERMIT + 1):
        assert bench.wait(f'h{number}', f'p{number}') is None
        bench.take()
        bench.at += SLOW_SECONDS
        bench.scheduler.check()
    assert bench.scheduler.in_flight == SLOW_PER_PERMIT + 1
    assert bench.wait('late', 'late') is None
    assert bench.scheduler.take() is None


def test_new_hosts_that_hang_keep_no_other_project_waiting() -> None:
    bench = Bench(permits=10, per_host=8)
    assert bench.wait('z', 'quiet') is None
    bench.end(bench.take())
    bench.offer(*[f'h{number}' for number in range(600)])
    hanging: list[tuple[float, Attempt[Job]]] = []
    waits = []
    for _ in range(60):
        # Another project has a delivery every half a second, for 30 seconds.
        bench.at += 0.5
        bench.scheduler.check()
        for began, attempt in list(hanging):
            if bench.at - began >= 15:
                hanging.remove((began, attempt))
                bench.end(attempt, False)
        assert bench.wait('z', 'quiet') is None
        offered = bench.at
        quick = None
        for _ in range(20):
            while (attempt := bench.scheduler.take()) is not None:
                if attempt.job.project == 'quiet':
                    quick = attempt
                else:
                    hanging.append((bench.at, attempt))
            if quick is not None:
                break
            bench.at += SLOW_SECONDS
            bench.scheduler.check()
        assert quick is not None
        waits.append(bench.at - offered)
        bench.end(quick)
    assert max(waits) == 0
    # Nor does it keep its own hosts waiting that answer.
    bench.offer('z')
    assert bench.take().job.host == 'z'


def test_who_has_enough_slow_attempts_lets_others_first_at_a_host() -> None:
    bench = Bench(permits=10)
    bench.offer(*[f'h{number}' for number in range(200)])
    for _ in range(20):
        while bench.scheduler.take() is not None:
            pass
        bench.at += SLOW_SECONDS
        bench.scheduler.check()
    # All projects share that of mails, for example.
    for project in ('p', 'quiet', 'p'):
        assert bench.wait('z', project) is None
    attempt = bench.take()
    assert (attempt.job.host, attempt.job.project) == ('z', 'quiet')
    bench.end(attempt)
    # Its own are not forgotten.
    assert bench.take().job.host == 'z'


def test_hosts_take_turns() -> None:
    bench = Bench()
    bench.offer('a', 'a', 'a', 'b', 'c')
    hosts = []
    for _ in range(5):
        attempt = bench.take()
        hosts.append(attempt.job.host)
        bench.end(attempt)
    # One that has answered, and one that has not yet.
    assert hosts == ['a', 'b', 'a', 'c', 'a']


def test_a_host_begins_with_one_at_a_time_and_gets_more() -> None:
    bench = Bench(permits=10)
    bench.offer(*['a'] * 10, 'b')
    first = bench.take()
    # A second one for the same host does not begin.
    assert bench.take().job.host == 'b'
    bench.end(first)
    two = [bench.take(), bench.take()]
    assert [attempt.job.host for attempt in two] == ['a', 'a']
    for attempt in two:
        bench.end(attempt)
    three = [bench.take() for _ in range(3)]
    bench.offer('c')
    # The widest window is three.
    assert bench.take().job.host == 'c'
    assert {attempt.job.host for attempt in three} == {'a'}


def test_a_prompt_host_gets_more_until_it_is_prompt_no_more() -> None:
    bench = Bench(permits=WINDOW, per_host=3 * WINDOW)

    def round_of(seconds: float) -> int:
        """Begin all that may; return how many, having ended them."""
        bench.offer(*['a'] * (4 * WINDOW))
        begun = []
        while (attempt := bench.scheduler.take()) is not None:
            begun.append(attempt)
        bench.at += seconds
        for attempt in begun:
            bench.end(attempt)
        return len(begun)

    widths = [round_of(PROMPT_SECONDS) for _ in range(10)]
    # Beyond what is attempted at others at a time, too.
    assert widths == [1, 2, 4, 8, 16, *[3 * WINDOW] * 5]
    # A round that takes longer has what any host has.
    round_of(PROMPT_SECONDS * 1.1)
    assert round_of(PROMPT_SECONDS) == WINDOW
    assert round_of(PROMPT_SECONDS) == 2 * WINDOW
    for _ in range(3):
        bench.take()
    bench.at += SLOW_SECONDS
    bench.scheduler.check()
    # So has one that hangs, before that is over.
    assert round_of(PROMPT_SECONDS) == WINDOW - 3


def test_prompt_hosts_leave_others_their_attempts() -> None:
    bench = Bench(permits=2, per_host=64)
    bench.offer(*['a'] * 200)
    for _ in range(40):
        bench.end(bench.take())
    begun = []
    while (attempt := bench.scheduler.take()) is not None:
        begun.append(attempt)
    assert len(begun) == 2 * SLOW_PER_PERMIT * SLOW_SHARE
    bench.offer('b', 'c')
    # One of two, since neither has answered yet.
    assert bench.take().job.host == 'b'
    assert bench.scheduler.take() is None
    # Others have theirs, though all that are under way hang.
    for _ in range(3):
        bench.at += SLOW_SECONDS
        bench.scheduler.check()
        assert bench.wait('d', 'quiet') is None
        attempt = bench.take()
        assert attempt.job.host == 'd'
        bench.end(attempt)


def test_a_slow_attempt_gives_its_permit_to_others() -> None:
    bench = Bench(permits=1)
    bench.offer('slow', 'quick')
    assert bench.take().job.host == 'slow'
    bench.at += SLOW_SECONDS
    bench.scheduler.check()
    assert bench.take().job.host == 'quick'


def test_a_host_that_hangs_keeps_few_waiting() -> None:
    bench = Bench()
    bench.offer(*['a'] * 60)
    bench.take()
    bench.at += SLOW_SECONDS
    bench.scheduler.check()
    assert not bench.deferred
    bench.at += HANG_SECONDS - SLOW_SECONDS
    bench.scheduler.check()
    assert len(bench.deferred) == 59 - MAX_FAILING
    assert {seconds for _, seconds in bench.deferred} == {DEFER_FAILING}
    assert bench.wait('a') == DEFER_FAILING
    assert bench.scheduler.expected_wait('a', 'p', {}) == DEFER_FAILING
    assert bench.scheduler.expected_wait('unknown', 'p', {}) is None
    assert bench.scheduler.held == MAX_FAILING + 1


def test_a_host_may_use_half_of_the_room_and_others_the_rest() -> None:
    bench = Bench()
    bench.offer(*['a'] * (PROJECT_HELD // 2))
    assert bench.wait('a') is not None
    assert bench.scheduler.expected_wait('a', 'p', {}) is None
    bench.offer(*['b'] * (PROJECT_HELD // 4))
    assert bench.wait('b') is not None


def test_a_project_leaves_room_whatever_hosts_it_has() -> None:
    bench = Bench()
    hosts = [f'h{number}' for number in range(20)]
    for host in hosts:
        while bench.wait(host) is None:
            pass
    assert bench.scheduler.weight < PROJECT_HELD + len(hosts)
    for _ in range((MAX_HELD - PROJECT_HELD) // 3):
        assert bench.wait('a', 'quiet') is None


def test_long_messages_count_as_several() -> None:
    bench = Bench()
    count = 0
    while bench.wait('a', weight=10) is None:
        count += 1
    assert count == PROJECT_HELD // 20
    assert bench.scheduler.held == count
    while bench.scheduler.held:
        bench.end(bench.take())
    assert bench.scheduler.weight == 0


@pytest.mark.parametrize('pace', [0.001, 0.1])
def test_jobs_beyond_the_room_return_at_the_pace_of_their_host(
    pace: float,
) -> None:
    bench = Bench()
    bench.offer(*['a'] * (PROJECT_HELD // 2))
    for _ in range(200):
        attempt = bench.take()
        bench.at += pace
        bench.end(attempt)
        bench.offer('a')
    waits = [bench.wait('a') or 0.0 for _ in range(2)]
    until = PROJECT_HELD // 2 * pace
    assert waits[0] == pytest.approx(min(until, DEFER_LONGEST), rel=0.01)
    if until < DEFER_LONGEST:
        assert waits[1] - waits[0] == pytest.approx(pace * PACE_SHARE)


def test_no_more_jobs_are_due_together_than_a_host_has_room_for() -> None:
    bench = Bench()
    wait = bench.scheduler.expected_wait
    assert wait('a', 'loud', {'loud': MAX_EXPECTED - 1}) is None
    assert wait('a', 'loud', {'loud': MAX_EXPECTED}) == 1
    # Others that share the host are due at once.
    assert wait('a', 'quiet', {'loud': MAX_EXPECTED}) is None


def test_a_failure_or_two_are_bad_luck() -> None:
    bench = Bench()
    bench.offer(*['a'] * 60)
    for _ in range(FAILING_AFTER - 1):
        assert bench.end(bench.take(), False) == 0
    surplus = 60 - FAILING_AFTER - MAX_FAILING
    assert bench.end(bench.take(), False) == surplus


def test_twenty_failures_open_the_circuit_for_a_minute() -> None:
    bench = Bench()
    bench.fail('a', CIRCUIT_FAILURES - 1)
    assert bench.scheduler.open_circuits() == 0
    bench.fail('a', 1)
    assert bench.scheduler.open_circuits() == 1
    assert bench.wait('a') == CIRCUIT_SECONDS
    bench.at += CIRCUIT_SECONDS - 0.001
    assert bench.wait('a') is not None
    bench.at += 0.001
    bench.offer('a', 'a')
    probe = bench.take()
    bench.offer('b')
    # One probe, and no more.
    assert bench.take().job.host == 'b'
    assert bench.end(probe, False) == 1
    assert bench.scheduler.open_circuits() == 1


def test_a_probe_that_succeeds_closes_the_circuit() -> None:
    bench = Bench()
    bench.fail('a', CIRCUIT_FAILURES)
    bench.at += CIRCUIT_SECONDS
    bench.offer('a')
    bench.end(bench.take())
    bench.offer('a', 'a')
    assert bench.scheduler.expected_wait('a', 'p', {}) is None
    assert bench.scheduler.open_circuits() == 0


def test_a_success_in_between_begins_the_count_anew() -> None:
    bench = Bench()
    for _ in range(3):
        bench.fail('a', CIRCUIT_FAILURES - 1)
        bench.offer('a')
        bench.end(bench.take())
    assert bench.scheduler.open_circuits() == 0


def test_what_is_tried_again_at_once_comes_before_the_rest() -> None:
    bench = Bench()
    bench.offer('a', 'a')
    attempt = bench.take()
    bench.scheduler.end(attempt, True, more=True)
    assert bench.take().job is attempt.job


def test_nothing_is_handed_out_after_the_end() -> None:
    bench = Bench()
    bench.offer('a', 'b', 'c')
    attempt = bench.take()
    assert len(bench.scheduler.close()) == 2
    assert bench.scheduler.take() is None
    # The rest of one that is under way is left to others, as what comes now.
    bench.scheduler.end(attempt, True, more=True)
    assert bench.wait('d') == 0
    assert bench.deferred[0] == (attempt.job, 0)
    assert bench.scheduler.held == bench.scheduler.weight == 0


def test_projects_take_turns_at_a_host_that_they_share() -> None:
    bench = Bench(per_host=1)
    for number in range(3):
        assert bench.wait('a', f'loud {number}') is None
    for project in ('loud 0', 'loud 0', 'loud 0', 'quiet'):
        assert bench.wait('a', project) is None
    order = []
    while bench.scheduler.held:
        attempt = bench.take()
        order.append(attempt.job.project)
        bench.end(attempt)
    assert order[:4] == ['loud 0', 'loud 1', 'loud 2', 'quiet']
    assert order[4:] == ['loud 0'] * 3


def test_a_project_that_fills_a_queue_leaves_others_their_share() -> None:
    bench = Bench()
    room = 0
    while bench.wait('a', 'loud') is None:
        room += 1
    assert room == PROJECT_HELD // 2
    taken = 0
    while bench.wait('a', 'quiet') is None:
        taken += 1
    assert taken > room // 4
    assert bench.wait('a', 'loud') is not None
