# SPDX-License-Identifier: Apache-2.0
"""The order of attempts."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from zaqar.notification.delivery_scheduler import (
    CIRCUIT_FAILURES,
    CIRCUIT_SECONDS,
    DEFER_FAILING,
    FAILING_AFTER,
    HANG_SECONDS,
    MAX_FAILING,
    MAX_HEALTHY,
    MAX_NEW,
    SLOW_SECONDS,
    Attempt,
    Scheduler,
)


@dataclass(eq=False)
class Job:
    """Something for a host."""

    host: str
    project: str = 'p'


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

    def wait(self, host: str, project: str = 'p') -> float | None:
        """Offer a job; return the seconds for which it is deferred."""
        before = len(self.deferred)
        self.scheduler.offer(Job(host, project))
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


PATIENCE = 30.0


def resting(
    scheduler: Scheduler[Job], seconds: float = 3600.0
) -> threading.Thread:
    """Rest in another thread, until that has begun."""
    thread = threading.Thread(target=scheduler.wait_until_slow, args=[seconds])
    thread.start()
    while not scheduler.is_waiting:
        time.sleep(0.001)
    return thread


@pytest.mark.parametrize('is_slow', [False, True])
def test_who_rests_looks_when_an_attempt_may_be_slow(is_slow: bool) -> None:
    scheduler: Scheduler[Job] = Scheduler(4, 3, lambda job, wait: None)
    thread = resting(scheduler)
    scheduler.offer(Job('a'))
    attempt = scheduler.take()
    assert attempt is not None
    if not is_slow:
        # It was over before anybody looked: an hour is an hour.
        scheduler.end(attempt, None, more=False)
    thread.join(PATIENCE if is_slow else 4 * SLOW_SECONDS)
    assert thread.is_alive() is not is_slow
    assert time.monotonic() - attempt.began >= SLOW_SECONDS
    scheduler.stop_waiting()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_rest_ends_in_time_whatever_goes_on() -> None:
    bench = Bench()
    bench.offer('a')
    bench.take()
    bench.scheduler.wait_until_slow(0)
    bench.at += SLOW_SECONDS
    bench.scheduler.wait_until_slow(-1)
    bench.scheduler.stop_waiting()
    bench.scheduler.wait_until_slow(3600)


def test_looking_wakes_no_more_than_may_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    woken: list[int] = []

    class Condition(threading.Condition):
        def notify(self, n: int = 1) -> None:
            woken.append(n)

    monkeypatch.setattr(threading, 'Condition', Condition)
    bench = Bench(permits=1)
    bench.offer('a')
    bench.take()
    woken.clear()
    bench.scheduler.mark_slow()
    bench.at += SLOW_SECONDS
    bench.scheduler.mark_slow()
    bench.scheduler.mark_slow()
    assert woken == [0, 1, 0]


def test_hosts_take_turns() -> None:
    bench = Bench()
    bench.offer('a', 'a', 'a', 'b', 'c')
    hosts = []
    for _ in range(5):
        attempt = bench.take()
        hosts.append(attempt.job.host)
        bench.end(attempt)
    assert hosts == ['a', 'b', 'c', 'a', 'a']


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


def test_a_slow_attempt_gives_its_permit_to_others() -> None:
    bench = Bench(permits=1)
    bench.offer('slow', 'quick')
    assert bench.take().job.host == 'slow'
    bench.at += SLOW_SECONDS
    bench.scheduler.mark_slow()
    assert bench.scheduler.slow == 1
    assert bench.take().job.host == 'quick'


def test_a_host_that_hangs_keeps_few_waiting() -> None:
    bench = Bench()
    bench.offer(*['a'] * 60)
    bench.take()
    bench.at += SLOW_SECONDS
    bench.scheduler.mark_slow()
    assert not bench.deferred
    bench.at += HANG_SECONDS - SLOW_SECONDS
    bench.scheduler.mark_slow()
    assert len(bench.deferred) == 59 - MAX_FAILING
    assert {seconds for _, seconds in bench.deferred} == {DEFER_FAILING}
    assert bench.wait('a') == DEFER_FAILING
    assert bench.scheduler.expected_wait('a', 'p') == DEFER_FAILING
    assert bench.scheduler.expected_wait('unknown', 'p') is None
    assert bench.scheduler.held == MAX_FAILING + 1


def test_a_host_in_good_order_has_more_room_than_one_unknown() -> None:
    bench = Bench()
    bench.offer(*['a'] * MAX_NEW)
    assert bench.wait('a') == 1
    bench.end(bench.take())
    bench.offer(*['a'] * (MAX_HEALTHY - MAX_NEW + 1))
    assert bench.wait('a') == 1
    assert bench.scheduler.expected_wait('a', 'p') is None


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
    assert bench.scheduler.expected_wait('a', 'p') is None
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
    bench.offer('a', 'b')
    assert len(bench.scheduler.close()) == 2
    assert bench.scheduler.take() is None
    assert bench.scheduler.held == 0


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
    assert room == MAX_NEW
    taken = 0
    while bench.wait('a', 'quiet') is None:
        taken += 1
    assert taken == room // 2
    assert bench.wait('a', 'loud') is not None
