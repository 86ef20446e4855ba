# SPDX-License-Identifier: Apache-2.0
"""Greenlets of an event loop, and what would block it."""

from __future__ import annotations

import threading

import pytest
from oslo_context import context

from zaqar import loop_greenlets, request_deadline
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets
from zaqar.transport.wsgi import log_context


def test_what_blocks_keeps_no_other_waiting(greenlets: Greenlets) -> None:
    event = threading.Event()
    results = greenlets.run(
        lambda: loop_greenlets.offload(event.wait, 30), event.set
    )
    assert results == [True, None]


def test_what_fails_in_a_thread_fails_for_who_waits(
    greenlets: Greenlets,
) -> None:
    (result,) = greenlets.run(lambda: loop_greenlets.offload(int, 'x'))
    assert isinstance(result, ValueError)


def test_outside_of_greenlets_nothing_is_offloaded() -> None:
    own = threading.get_ident()
    assert loop_greenlets.offload(threading.get_ident) == own
    loop_greenlets.sleep(0)


def test_who_sleeps_keeps_no_other_waiting(greenlets: Greenlets) -> None:
    done: list[str] = []

    def sleep() -> None:
        loop_greenlets.sleep(0.01)
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
        seen = [shown(), loop_greenlets.offload(shown), shown()]
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
