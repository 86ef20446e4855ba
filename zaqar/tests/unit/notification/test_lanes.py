# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from zaqar.notification.lanes import (
    BAD,
    FAILURES,
    HANGS,
    LATER_BAD,
    MOST_BAD,
    MOST_GOOD,
    MOST_NEW,
    OPEN,
    SLOW,
    Lanes,
    Turn,
)


@dataclass(eq=False)
class Job:
    """Something for a host."""

    host: str
    project: str = 'p'


@dataclass
class Bench:
    """Lanes whose time tests move; nothing in it ever waits."""

    permits: int = 4
    per_host: int = 3
    at: float = 100.0
    lanes: Lanes[Job] = field(init=False)

    def __post_init__(self) -> None:
        self.lanes = Lanes(self.permits, self.per_host, lambda: self.at)

    def offer(self, *hosts: str) -> None:
        for host in hosts:
            assert self.lanes.offer(Job(host)) is None

    def take(self) -> Turn[Job]:
        found = self.lanes.take()
        assert found is not None
        return found

    def end(self, turn: Turn[Job], success: bool = True) -> list[Job]:
        found = list(self.lanes.learn(turn, success))
        self.lanes.end(turn)
        return found

    def fail(self, host: str, times: int) -> None:
        for _ in range(times):
            self.offer(host)
            self.end(self.take(), False)


PATIENCE = 30.0


def resting(lanes: Lanes[Job], seconds: float = 3600.0) -> threading.Thread:
    """Rest in another thread, until that has begun."""
    thread = threading.Thread(target=lanes.rest, args=[seconds])
    thread.start()
    while not lanes._rests:
        time.sleep(0.001)
    return thread


@pytest.mark.parametrize('is_slow', [False, True])
def test_who_rests_looks_when_an_attempt_may_be_slow(is_slow: bool) -> None:
    lanes: Lanes[Job] = Lanes(4, 3)
    thread = resting(lanes)
    lanes.offer(Job('a'))
    turn = lanes.take()
    assert turn is not None
    if not is_slow:
        # It was over before anybody looked: an hour is an hour.
        lanes.end(turn)
    thread.join(PATIENCE if is_slow else 4 * SLOW)
    assert thread.is_alive() is not is_slow
    assert time.monotonic() - turn.began >= SLOW
    lanes.wake()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_rest_ends_in_time_whatever_goes_on() -> None:
    bench = Bench()
    bench.offer('a')
    bench.take()
    bench.lanes.rest(0)
    bench.at += SLOW
    bench.lanes.rest(-1)
    bench.lanes.wake()
    bench.lanes.rest(3600)


def test_looking_wakes_no_more_than_may_begin() -> None:
    bench = Bench(permits=1)
    woken: list[int] = []
    changed = bench.lanes._changed
    bench.offer('a')
    bench.take()
    changed.notify = woken.append  # type: ignore[assignment]
    bench.lanes.look()
    bench.at += SLOW
    bench.lanes.look()
    bench.lanes.look()
    assert woken == [0, 1, 0]


def test_hosts_take_turns() -> None:
    bench = Bench()
    bench.offer('a', 'a', 'a', 'b', 'c')
    found = []
    for _ in range(5):
        turn = bench.take()
        found.append(turn.job.host)
        bench.end(turn)
    assert found == ['a', 'b', 'c', 'a', 'a']


def test_a_host_begins_with_one_at_a_time_and_gets_more() -> None:
    bench = Bench(permits=10)
    bench.offer(*['a'] * 10, 'b')
    first = bench.take()
    # A second one for the same host does not begin.
    assert bench.take().job.host == 'b'
    bench.end(first)
    two = [bench.take(), bench.take()]
    assert [turn.job.host for turn in two] == ['a', 'a']
    for turn in two:
        bench.end(turn)
    three = [bench.take() for _ in range(3)]
    bench.offer('c')
    # The widest window is three.
    assert bench.take().job.host == 'c'
    assert {turn.job.host for turn in three} == {'a'}


def test_a_slow_attempt_gives_its_permit_to_others() -> None:
    bench = Bench(permits=1)
    bench.offer('slow', 'quick')
    assert bench.take().job.host == 'slow'
    bench.at += SLOW
    bench.lanes.look()
    assert bench.lanes.slow == 1
    assert bench.take().job.host == 'quick'


def test_a_host_that_hangs_keeps_few_waiting() -> None:
    bench = Bench()
    bench.offer(*['a'] * 60)
    bench.take()
    bench.at += SLOW
    assert not bench.lanes.look()
    bench.at += HANGS - SLOW
    assert len(bench.lanes.look()) == 59 - MOST_BAD
    assert bench.lanes.offer(Job('a')) == LATER_BAD
    assert bench.lanes.advise('a', 'p') == LATER_BAD
    assert bench.lanes.advise('unknown', 'p') is None
    assert bench.lanes.held == MOST_BAD + 1


def test_a_host_in_good_order_has_more_room_than_one_unknown() -> None:
    bench = Bench()
    bench.offer(*['a'] * MOST_NEW)
    assert bench.lanes.offer(Job('a')) == 1
    bench.end(bench.take())
    bench.offer(*['a'] * (MOST_GOOD - MOST_NEW + 1))
    assert bench.lanes.offer(Job('a')) == 1
    assert bench.lanes.advise('a', 'p') is None


def test_a_failure_or_two_are_bad_luck() -> None:
    bench = Bench()
    bench.offer(*['a'] * 60)
    for _ in range(BAD - 1):
        assert bench.end(bench.take(), False) == []
    assert len(bench.end(bench.take(), False)) == 60 - BAD - MOST_BAD


def test_twenty_failures_open_the_circuit_for_a_minute() -> None:
    bench = Bench()
    bench.fail('a', FAILURES - 1)
    assert bench.lanes.open_circuits() == 0
    bench.fail('a', 1)
    assert bench.lanes.open_circuits() == 1
    assert bench.lanes.offer(Job('a')) == OPEN
    bench.at += OPEN - 0.001
    assert bench.lanes.offer(Job('a')) is not None
    bench.at += 0.001
    bench.offer('a', 'a')
    probe = bench.take()
    bench.offer('b')
    # One probe, and no more.
    assert bench.take().job.host == 'b'
    assert len(bench.end(probe, False)) == 1
    assert bench.lanes.open_circuits() == 1


def test_a_probe_that_succeeds_closes_the_circuit() -> None:
    bench = Bench()
    bench.fail('a', FAILURES)
    bench.at += OPEN
    bench.offer('a')
    bench.end(bench.take())
    bench.offer('a', 'a')
    assert bench.lanes.advise('a', 'p') is None
    assert bench.lanes.open_circuits() == 0


def test_a_success_in_between_begins_the_count_anew() -> None:
    bench = Bench()
    for _ in range(3):
        bench.fail('a', FAILURES - 1)
        bench.offer('a')
        bench.end(bench.take())
    assert bench.lanes.open_circuits() == 0


def test_what_is_tried_again_at_once_comes_before_the_rest() -> None:
    bench = Bench()
    bench.offer('a', 'a')
    turn = bench.take()
    bench.lanes.again(turn)
    assert bench.take().job is turn.job


def test_nothing_is_handed_out_after_the_end() -> None:
    bench = Bench()
    bench.offer('a', 'b')
    assert len(bench.lanes.close()) == 2
    assert bench.lanes.take() is None
    assert bench.lanes.held == 0


def test_projects_take_turns_at_a_host_that_they_share() -> None:
    bench = Bench(per_host=1)
    for number in range(3):
        assert bench.lanes.offer(Job('a', f'loud {number}')) is None
    for project in ('loud 0', 'loud 0', 'loud 0', 'quiet'):
        assert bench.lanes.offer(Job('a', project)) is None
    order = []
    while bench.lanes.held:
        turn = bench.take()
        order.append(turn.job.project)
        bench.end(turn)
    assert order[:4] == ['loud 0', 'loud 1', 'loud 2', 'quiet']
    assert order[4:] == ['loud 0'] * 3


def test_a_project_that_fills_a_lane_leaves_others_their_share() -> None:
    bench = Bench()
    room = 0
    while bench.lanes.offer(Job('a', 'loud')) is None:
        room += 1
    assert room == MOST_NEW
    taken = 0
    while bench.lanes.offer(Job('a', 'quiet')) is None:
        taken += 1
    assert taken == room // 2
    assert bench.lanes.offer(Job('a', 'loud')) is not None
