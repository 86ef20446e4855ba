# SPDX-License-Identifier: Apache-2.0
"""Requests that run at a time, and those that wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from zaqar.tests.contract.crowd import each
from zaqar.transport.wsgi import request_slots
from zaqar.transport.wsgi.request_slots import RequestSlots


def test_what_waits_is_done_in_order_by_whom_has_a_slot() -> None:
    slots, done = RequestSlots(1), list[int]()

    def work(number: int) -> Callable[[], None]:
        def do() -> None:
            done.append(number)
            if number < 3:
                assert slots.run(work(number + 10))
                assert slots.run(work(number + 1))
                assert done[-1] == number

        return do

    assert slots.run(work(0))
    assert done == [0, 10, 1, 11, 2, 12, 3]
    assert slots.run(work(20))
    assert done[-1] == 20


def test_no_more_run_at_a_time_than_there_are_slots() -> None:
    slots = RequestSlots(2)
    lock, running, most, done = threading.Lock(), [0], [0], list[int]()

    def work() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.001)
        with lock:
            running[0] -= 1
            done.append(1)

    def bring(_: int) -> bool:
        return all(slots.run(work) for _ in range(20))

    assert all(each(bring, range(8)))
    assert len(done) == 160
    assert most[0] == 2


def test_a_thread_has_one_slot_however_much_its_work_brings() -> None:
    slots, done = RequestSlots(2), list[str]()

    def other() -> None:
        thread = threading.Thread(
            target=slots.run, args=(lambda: done.append('other'),)
        )
        thread.start()
        thread.join()

    def last() -> None:
        other()
        done.append('last')

    def second() -> None:
        done.append('second')
        assert slots.run(last)

    def first() -> None:
        assert slots.run(second)
        done.append('first')

    assert slots.run(first)
    assert done == ['first', 'second', 'other', 'last']


def test_a_failure_frees_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    slots, done = RequestSlots(1), list[int]()
    assert slots.run(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert slots.run(lambda: done.append(1))
    assert done == [1]
    assert 'A request failed' in caplog.text


def test_what_waits_holds_a_limited_number_of_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_slots, 'MAX_WAITING_BYTES', 10)
    slots, done = RequestSlots(1), list[int]()

    def work() -> None:
        # A single one may hold as much as it needs.
        assert slots.run(lambda: done.append(1), lambda: 11)
        assert not slots.run(lambda: done.append(2), lambda: 1)
        assert slots.run(lambda: done.append(3))

    assert slots.run(work)
    assert done == [1, 3]
    assert slots.run(lambda: done.append(4), lambda: 100)
    assert done == [1, 3, 4]


def test_what_was_woken_takes_turns_with_the_rest() -> None:
    slots, done = RequestSlots(1), list[str]()

    def work(name: str) -> Callable[[], None]:
        return lambda: done.append(name)

    def crowd() -> None:
        for number in range(4):
            assert slots.run(work(f'woken {number}'), is_woken=True)
        for number in range(2):
            assert slots.run(work(f'new {number}'))

    assert slots.run(crowd)
    assert done == [
        *('woken 0', 'new 0', 'woken 1', 'new 1'),
        *('woken 2', 'woken 3'),
    ]


def test_projects_take_turns() -> None:
    slots, done = RequestSlots(1), list[str]()

    def bring(name: str) -> None:
        slots.run(lambda: done.append(name), owner=lambda: name[0])

    def crowd() -> None:
        for number in range(5):
            bring(f'a{number}')
        for name in ('b0', 'c0', 'b1'):
            bring(name)

    assert slots.run(crowd)
    assert done == ['a0', 'b0', 'c0', 'a1', 'b1', 'a2', 'a3', 'a4']


def test_one_project_does_not_take_the_room_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_slots, 'MAX_WAITING_BYTES', 10)
    slots, done = RequestSlots(1), list[str]()

    def bring(owner: str, size: int) -> bool:
        return slots.run(
            lambda: done.append(owner), lambda: size, owner=lambda: owner
        )

    def crowd() -> None:
        assert [bring('a', 5) for _ in range(3)] == [True, True, False]
        assert [bring('b', 5) for _ in range(2)] == [True, False]
        assert bring('c', 3)
        # In all they hold twice as much at most.
        assert not bring('d', 3)

    assert slots.run(crowd)
    assert done == ['a', 'b', 'c', 'a']
