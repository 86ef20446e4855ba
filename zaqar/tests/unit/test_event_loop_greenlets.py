# SPDX-License-Identifier: Apache-2.0
"""Greenlets of an event loop, and what would block it."""

from __future__ import annotations

import functools
import threading

import pytest
from oslo_context import context

from zaqar import (
    event_loop_greenlets,
    greenlets_stalled_on_stores,
    request_deadline,
)
from zaqar.current_request import OF_THREAD
from zaqar.daemon_threads import DaemonThreads
from zaqar.errors import StoreUnavailable
from zaqar.event_loop_greenlets import LoopGreenlet
from zaqar.greenlets_stalled_on_stores import StalledGreenlets
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets
from zaqar.transport import log_context


def test_what_blocks_keeps_no_other_waiting(greenlets: Greenlets) -> None:
    event = threading.Event()
    results = greenlets.run(
        lambda: event_loop_greenlets.offload(event.wait, 30), event.set
    )
    assert results == [True, None]


def test_what_fails_in_a_thread_fails_for_who_waits(
    greenlets: Greenlets,
) -> None:
    (result,) = greenlets.run(lambda: event_loop_greenlets.offload(int, 'x'))
    assert isinstance(result, ValueError)


def test_outside_of_greenlets_nothing_is_offloaded() -> None:
    own = threading.get_ident()
    assert event_loop_greenlets.offload(threading.get_ident) == own
    event_loop_greenlets.sleep(0)


def test_who_sleeps_keeps_no_other_waiting(greenlets: Greenlets) -> None:
    done: list[str] = []

    def sleep() -> None:
        event_loop_greenlets.sleep(0.01)
        done.append('slept')

    greenlets.run(sleep, lambda: done.append('other'))
    assert done == ['other', 'slept']


def test_each_greenlet_has_the_request_that_it_answers(
    greenlets: Greenlets,
) -> None:
    """Its deadline and what its log entries show, in other threads as well."""

    def shown() -> tuple[str, bool]:
        current = context.get_current()
        return current.request_id, request_deadline.left(100) < 50

    def answer(seconds: float) -> bool:
        own = log_context.begin('')
        former = request_deadline.begin(seconds)
        seen = [shown(), event_loop_greenlets.offload(shown), shown()]
        request_deadline.end(former)
        return seen == [(own, seconds < 50)] * 3

    results = greenlets.run(
        *(lambda seconds=seconds: answer(seconds) for seconds in (10, 90, 20))
    )
    assert results == [True] * 3
    assert request_deadline.left(100) == 100


def test_a_failure_loses_no_greenlet(
    greenlets: Greenlets, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise SystemExit

    greenlets.loop.call_soon(greenlets.hub.begin, fail)
    assert greenlets.run(lambda: 1) == [1]
    assert 'A request failed' in caplog.text


def test_who_is_woken_by_mistake_fails_alone(greenlets: Greenlets) -> None:
    event = threading.Event()
    woken: list[LoopGreenlet] = []

    def wait() -> None:
        woken.append(OF_THREAD.request.greenlet)
        event_loop_greenlets.offload(event.wait, 30)

    def mistake() -> bool:
        greenlets.loop.call_soon(woken[0].switch, 'mistake')
        event_loop_greenlets.sleep(0)
        return event_loop_greenlets.offload(bool, 1)

    first, second = greenlets.run(wait, mistake)
    assert isinstance(first, RuntimeError)
    assert second is True
    # It rests now; what it had waited for wakes it once more.
    event.set()
    assert greenlets.run(lambda: 1, lambda: 2) == [1, 2]


def test_a_greenlet_that_ends_leaves_the_loop_as_it_was(
    greenlets: Greenlets,
) -> None:
    ended: list[LoopGreenlet] = []
    greenlets.run(lambda: ended.append(OF_THREAD.request.greenlet))
    with pytest.raises(ZeroDivisionError):
        ended[0].throw(ZeroDivisionError)
    assert OF_THREAD.request is greenlets.hub.request
    assert greenlets.run(lambda: 1) == [1]


def test_servers_that_hang_while_connecting_hold_up_nothing_else(
    greenlets: Greenlets,
) -> None:
    event = threading.Event()
    for _ in range(20):
        greenlets.hub.begin_in_thread(event.wait, 30)
    assert greenlets.run(lambda: event_loop_greenlets.offload(int)) == [0]
    assert not event.is_set()
    event.set()


def test_what_no_thread_can_be_started_for_is_not_done_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = DaemonThreads(2, 'few')
    done: list[str] = []

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, 'start', fail)
        with pytest.raises(RuntimeError):
            threads.submit(done.append, 'first')
    threads.submit(done.append, 'second').result(60)
    assert done == ['second']


class _Counted:
    """Work that counts how much of it is under way at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way = self.most = 0
        self._is_over = False

    def __call__(self) -> None:
        with self._changed:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_over, 60)
            self._under_way -= 1

    def wait_for(self, count: int) -> None:
        """Return when so much is under way, and let it end."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._under_way == count, 60)
            self._is_over = True
            self._changed.notify_all()


def test_a_store_has_so_many_callers(greenlets: Greenlets) -> None:
    """More would wait for its connections."""
    calls = _Counted()
    greenlets.run(
        *[functools.partial(event_loop_greenlets.offload_to, 'one', calls)]
        * 20,
        functools.partial(
            event_loop_greenlets.offload_to, 'other', calls.wait_for, 8
        ),
    )
    assert calls.most == 8


def test_stores_that_hang_leave_threads_to_others(
    greenlets: Greenlets,
) -> None:
    event = threading.Event()

    def hang(store: int) -> None:
        event_loop_greenlets.offload_to(store, event.wait, 60)

    results = greenlets.run(
        *(functools.partial(hang, number % 12) for number in range(240)),
        lambda: (event_loop_greenlets.offload(int), event.set()),
    )
    assert results[-1] == (0, None)


def test_a_silent_store_has_half_of_what_others_leave() -> None:
    stalled = StalledGreenlets()
    counts = []
    for store in ('a', 'b', 'c'):
        counts.append(0)
        while stalled.add(store):
            counts[-1] += 1
    assert counts == [512, 256, 128]
    for _ in range(512):
        stalled.remove('a')
    assert stalled.add('d')


def test_too_many_wait_for_a_silent_store_in_vain(
    greenlets: Greenlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greenlets_stalled_on_stores, 'MOST', 4)
    monkeypatch.setattr(greenlets_stalled_on_stores, 'REFUSED_AFTER', 0.1)
    event = threading.Event()
    refused: list[Exception] = []

    def wait() -> bool:
        try:
            return event_loop_greenlets.offload_to('store', event.wait, 60)
        except StoreUnavailable as error:
            refused.append(error)
            if len(refused) == 3:
                event.set()
            raise

    results = greenlets.run(*[wait] * 5)
    assert sum(result is True for result in results) == 2
    assert len(refused) == 3
