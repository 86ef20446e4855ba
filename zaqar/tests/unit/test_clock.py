# SPDX-License-Identifier: Apache-2.0
"""The clock of a store."""

from __future__ import annotations

import threading

import pytest

from zaqar.clock import Clock


class Silent(Exception):
    """What a server that does not answer ends in."""


def test_a_clock_runs_as_its_server_does() -> None:
    clock = Clock(lambda: 5_000, wall=lambda: 1_000)
    assert clock.now() == 5_000


def test_a_clock_without_a_server_is_our_own() -> None:
    assert Clock(wall=lambda: 1_000).now() == 1_000


def test_whoever_waits_for_a_sample_that_fails_does_not_ask_again() -> None:
    asked: list[int] = []
    waiting = threading.Barrier(9, timeout=20)

    def sample() -> int:
        asked.append(1)
        # All the others are about to wait for us; give them a moment to.
        waiting.wait()
        threading.Event().wait(0.3)
        raise Silent

    clock = Clock(sample)
    seen: list[type[BaseException]] = []

    def ask(first: bool) -> None:
        if not first:
            waiting.wait()
        with pytest.raises(Silent) as found:
            clock.now()
        seen.append(found.type)

    threads = [
        threading.Thread(target=ask, args=(number == 0,))
        for number in range(9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == [Silent] * 9
    assert len(asked) < 9


def test_while_somebody_asks_again_in_vain_the_others_are_told() -> None:
    asking, told = threading.Event(), threading.Event()
    answers = iter([False, True])

    def sample() -> int:
        if next(answers):
            asking.set()
            assert told.wait(20)
        raise Silent

    clock = Clock(sample)
    with pytest.raises(Silent):
        clock.now()

    def ask_again() -> None:
        with pytest.raises(Silent):
            clock.now()

    asker = threading.Thread(target=ask_again)
    asker.start()
    assert asking.wait(20)
    # The server is still being asked, and stays so until all are told.
    for _ in range(5):
        with pytest.raises(Silent):
            clock.now()
    told.set()
    asker.join(20)
    assert not asker.is_alive()


def test_a_sample_that_failed_is_tried_again_later() -> None:
    answers = iter([Silent(), 5_000])

    def sample() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    clock = Clock(sample, wall=lambda: 1_000)
    with pytest.raises(Silent):
        clock.now()
    assert clock.now() == 5_000
