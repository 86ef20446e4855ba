# SPDX-License-Identifier: Apache-2.0
"""Threads that answer requests, and requests that wait for one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from zaqar.transport import requests_waiting_for_thread_or_greenlet
from zaqar.transport.wsgi.server.request_threads import RequestThreads


class Names:
    """Work that notes its name; the first is handed to the only thread.

    :ivar threads: to which it is brought
    """

    def __init__(self) -> None:
        self.threads = RequestThreads(1)
        self._done: list[str] = []

    def put(self, name: str, size: int = 0, owner: str = '') -> bool:
        return self.threads.put(self._work(name), lambda: size, lambda: owner)

    def wake(self, name: str) -> None:
        self.threads.put_woken(self._work(name))

    def done(self) -> Sequence[str]:
        """Do all that waits; return the names in order."""
        self._done.clear()
        while self.threads.work(waits=False):
            assert self.threads.are_idle
        assert not self.threads.waiting.count
        return self._done

    def _work(self, name: str) -> Callable[[], None]:
        return lambda: self._done.append(name)


def test_what_waits_is_done_in_order() -> None:
    names = Names()
    assert all(names.put(name) for name in 'abc')
    assert not names.threads.are_idle
    assert names.done() == ['a', 'b', 'c']
    assert names.put('d')
    assert names.done() == ['d']


def test_each_thread_has_work() -> None:
    threads, together = RequestThreads(3), threading.Barrier(4)
    threads.start()
    for _ in range(3):
        assert threads.put(lambda: together.wait(30))
    together.wait(30)


def test_a_failure_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    threads, is_done = RequestThreads(1), threading.Event()
    threads.start()
    assert threads.put(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert threads.put(is_done.set)
    assert is_done.wait(30)
    assert 'A request failed' in caplog.text


def test_what_was_woken_takes_turns_with_the_rest() -> None:
    names = Names()
    names.put('first')
    for number in range(4):
        names.wake(f'woken {number}')
    for number in range(2):
        names.put(f'new {number}')
    assert names.done() == [
        *('first', 'woken 0', 'new 0', 'woken 1', 'new 1'),
        *('woken 2', 'woken 3'),
    ]


def test_projects_take_turns() -> None:
    names = Names()
    for name in ('x', 'a0', 'a1', 'a2', 'a3', 'a4', 'b0', 'c0', 'b1'):
        names.put(name, owner=name[0])
    assert names.done() == [
        *('x', 'a0', 'b0', 'c0', 'a1', 'b1', 'a2', 'a3', 'a4'),
    ]


def test_what_waits_holds_a_limited_number_of_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        requests_waiting_for_thread_or_greenlet, 'MAX_WAITING_BYTES', 10
    )
    names = Names()
    assert names.put('first', 100)
    # A single one may hold as much as it needs.
    assert names.put('a', 11)
    assert not names.put('b', 1)
    assert names.put('c')
    assert names.done() == ['first', 'a', 'c']
    assert names.put('d', 100)
    assert names.done() == ['d']


def test_one_project_does_not_take_the_room_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        requests_waiting_for_thread_or_greenlet, 'MAX_WAITING_BYTES', 10
    )
    names = Names()
    names.put('first')

    def bring(owner: str, size: int) -> bool:
        return names.put(owner, size, owner)

    assert [bring('a', 5) for _ in range(3)] == [True, True, False]
    assert [bring('b', 5) for _ in range(2)] == [True, False]
    assert bring('c', 3)
    # In all they hold twice as much at most.
    assert not bring('d', 3)
    assert names.done() == ['first', 'a', 'b', 'c', 'a']
