# SPDX-License-Identifier: Apache-2.0
"""The deadline of a request."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from zaqar import request_deadline


def test_without_a_request_there_is_none() -> None:
    assert request_deadline.cap(math.inf) == math.inf
    assert request_deadline.left(7.0) == 7.0


def test_limits_end_with_the_request() -> None:
    with request_deadline.within(2.0):
        assert (
            request_deadline.cap(time.monotonic() + 60) <= time.monotonic() + 2
        )
        soon = time.monotonic() + 0.5
        assert request_deadline.cap(soon) == soon
        assert request_deadline.left(60.0) <= 2.0
    assert request_deadline.left(60.0) == 60.0


def test_a_request_that_is_over_has_nothing_left() -> None:
    with request_deadline.within(-1.0):
        assert request_deadline.left(60.0) == 0.0


@pytest.fixture
def waited() -> Iterator[Callable[[float], None]]:
    """Say how long the request of this thread has waited."""
    yield request_deadline.note_waiting
    request_deadline.note_waiting(0.0)


def test_time_that_a_request_has_waited_is_part_of_its_own(
    waited: Callable[[float], None],
) -> None:
    assert not request_deadline.is_too_late()
    waited(request_deadline.LONGEST_WAIT)
    assert not request_deadline.is_too_late()
    token = request_deadline.begin()
    try:
        assert 0.5 < request_deadline.left(60.0) <= 1.0
    finally:
        request_deadline.end(token)
    waited(request_deadline.LONGEST_WAIT + 0.1)
    assert request_deadline.is_too_late()


def test_other_threads_have_their_own() -> None:
    remaining = []
    with request_deadline.within(1.0):
        thread = threading.Thread(
            target=lambda: remaining.append(request_deadline.left(60.0))
        )
        thread.start()
        thread.join()
    assert remaining == [60.0]


def test_undoing_has_time_of_its_own_after_the_deadline() -> None:
    with request_deadline.within(-1.0):
        with request_deadline.undoing():
            assert 0 < request_deadline.left(60.0) <= request_deadline.UNDO
        assert request_deadline.left(60.0) == 0.0


def test_undoing_shortens_no_deadline() -> None:
    with request_deadline.within(30.0), request_deadline.undoing():
        assert request_deadline.left(60.0) > request_deadline.UNDO
    with request_deadline.undoing():
        assert request_deadline.left(60.0) == 60.0
