# SPDX-License-Identifier: Apache-2.0
"""The clock of a store."""

from __future__ import annotations

import threading

import pytest

from zaqar import request_deadline
from zaqar.store_clock import LEAST_TIME, SAMPLE_INTERVAL, Clock


class Silent(Exception):
    """What a server that does not answer ends in."""


class Machine:
    """The clocks of a machine, and of a server elsewhere."""

    def __init__(self) -> None:
        self.wall, self.timer, self.server = 1_000_000, 70, 9_000_000
        self.samples = 0

    def sample(self) -> int:
        """Answer as the server does."""
        self.samples += 1
        return self.server

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass for all of them."""
        self.wall += milliseconds
        self.timer += milliseconds
        self.server += milliseconds

    def sleep(self, milliseconds: int) -> None:
        """Be suspended: only the monotonic clock stands still."""
        self.wall += milliseconds
        self.server += milliseconds

    def pause(self, milliseconds: int) -> None:
        """Be paused by a hypervisor: nothing here moves."""
        self.server += milliseconds

    def clock(self) -> Clock:
        """Return a clock of the server as this machine has it."""
        return Clock(
            self.sample, wall=lambda: self.wall, timer=lambda: self.timer
        )


HOURS = 3_600_000


def test_a_clock_runs_as_its_server_does() -> None:
    clock = Clock(lambda: 5_000, wall=lambda: 1_000, timer=lambda: 3)
    assert clock.now() == 5_000


@pytest.mark.parametrize('hours', [-2, 2])
def test_setting_the_machines_clock_does_not_move_a_stores(
    hours: int,
) -> None:
    machine = Machine()
    clock = machine.clock()
    clock.now()
    machine.wall += hours * HOURS
    machine.pass_time(300)
    assert clock.now() == machine.server


@pytest.mark.parametrize('step', [-1000, -900, 900, 1000])
def test_a_leap_second_or_slewing_does_not_move_a_stores(step: int) -> None:
    machine = Machine()
    clock = machine.clock()
    clock.now()
    machine.wall += step
    assert clock.now() == machine.server
    assert machine.samples == 1


def test_a_machine_that_slept_asks_before_it_answers() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.now()
    machine.sleep(2 * HOURS)
    assert clock.now() == machine.server
    assert machine.samples == 2


def test_a_machine_that_slept_while_it_asked_asks_again() -> None:
    machine = Machine()
    is_first = True

    def sample() -> int:
        nonlocal is_first
        sample = machine.sample()
        if is_first:
            is_first = False
            machine.sleep(2 * HOURS)
        return sample

    clock = Clock(
        sample, wall=lambda: machine.wall, timer=lambda: machine.timer
    )
    clock.now()
    assert clock.now() == machine.server


def test_a_paused_machine_is_right_once_the_sample_is_old() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.now()
    machine.pause(2 * HOURS)
    machine.pass_time(round(SAMPLE_INTERVAL * 1000))
    assert clock.now() == machine.server


def test_a_paused_machine_is_right_once_its_clock_is_set() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.now()
    machine.pause(2 * HOURS)
    machine.wall += 2 * HOURS
    assert clock.now() == machine.server


def test_a_server_that_fails_over_to_an_earlier_clock_is_followed() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.now()
    machine.server -= HOURS
    assert clock.server_now() == machine.server
    assert clock.now() == machine.server


def test_what_the_server_says_is_asked_each_time() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.now()
    machine.pause(HOURS)
    assert clock.server_now() == machine.server
    assert clock.now() == machine.server
    assert machine.samples == 2


def test_an_answer_that_takes_long_is_not_taken_for_a_step() -> None:
    machine = Machine()

    def sample() -> int:
        machine.pass_time(2000)
        sample = machine.sample()
        machine.pass_time(2000)
        return sample

    clock = Clock(
        sample, wall=lambda: machine.wall, timer=lambda: machine.timer
    )
    assert clock.now() == machine.server
    assert clock.now() == machine.server
    assert machine.samples == 1


def test_without_an_answer_after_a_sleep_nobody_guesses() -> None:
    machine = Machine()
    answers = iter([5_000])

    def sample() -> int:
        for answer in answers:
            return answer
        raise Silent

    clock = Clock(
        sample, wall=lambda: machine.wall, timer=lambda: machine.timer
    )
    clock.now()
    machine.sleep(2 * HOURS)
    for _ in range(2):
        with pytest.raises(Silent):
            clock.now()


def test_a_clock_without_a_server_is_our_own() -> None:
    assert Clock(wall=lambda: 1_000).now() == 1_000


def test_whoever_waits_for_a_sample_that_fails_does_not_ask_again() -> None:
    queries: list[int] = []
    waiting = threading.Barrier(9, timeout=20)

    def sample() -> int:
        queries.append(1)
        # All the others are about to wait for us; give them a moment to.
        waiting.wait()
        threading.Event().wait(0.3)
        raise Silent

    clock = Clock(sample)
    seen: list[type[BaseException]] = []

    def ask(first: bool) -> None:
        if not first:
            waiting.wait()
        with pytest.raises(Silent) as caught:
            clock.now()
        seen.append(caught.type)

    threads = [
        threading.Thread(target=ask, args=(number == 0,))
        for number in range(9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == [Silent] * 9
    assert len(queries) < 9


def test_while_somebody_asks_again_in_vain_the_others_are_told() -> None:
    asking, informed = threading.Event(), threading.Event()
    answers = iter([False, True])

    def sample() -> int:
        if next(answers):
            asking.set()
            assert informed.wait(60)
        raise Silent

    clock = Clock(sample)
    with pytest.raises(Silent):
        clock.now()

    def ask_again() -> None:
        with pytest.raises(Silent):
            clock.now()

    asker = threading.Thread(target=ask_again)
    asker.start()
    assert asking.wait(60)
    # The server is still being asked, and stays so until all are told.
    for _ in range(5):
        with pytest.raises(Silent):
            clock.now()
    informed.set()
    asker.join(60)
    assert not asker.is_alive()


def test_a_sample_that_failed_is_tried_again_later() -> None:
    answers = iter([Silent(), 5_000])

    def sample() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    clock = Clock(sample, wall=lambda: 1_000, timer=lambda: 3)
    with pytest.raises(Silent):
        clock.now()
    assert clock.now() == 5_000


def test_a_late_request_does_not_fail_those_that_wait_with_it() -> None:
    clock = Clock(lambda: round(1000 * request_deadline.left(60)))
    with request_deadline.within(0):
        assert clock.now() > 1000 * LEAST_TIME / 2
    clock = Clock(lambda: round(1000 * request_deadline.left(60)))
    with request_deadline.within(3):
        assert 2000 < clock.now() < 3500
