# SPDX-License-Identifier: Apache-2.0
"""The deadline of a request."""

from __future__ import annotations

import math
import threading
import time

from zaqar import deadline


def test_without_a_request_there_is_none() -> None:
    assert deadline.cap(math.inf) == math.inf
    assert deadline.left(7.0) == 7.0


def test_limits_end_with_the_request() -> None:
    with deadline.within(2.0):
        assert deadline.cap(time.monotonic() + 60) <= time.monotonic() + 2
        soon = time.monotonic() + 0.5
        assert deadline.cap(soon) == soon
        assert deadline.left(60.0) <= 2.0
    assert deadline.left(60.0) == 60.0


def test_a_request_that_is_over_has_nothing_left() -> None:
    with deadline.within(-1.0):
        assert deadline.left(60.0) == 0.0


def test_other_threads_have_their_own() -> None:
    found = []
    with deadline.within(1.0):
        thread = threading.Thread(
            target=lambda: found.append(deadline.left(60.0))
        )
        thread.start()
        thread.join()
    assert found == [60.0]


def test_undoing_has_time_of_its_own_after_the_deadline() -> None:
    with deadline.within(-1.0):
        with deadline.undoing():
            assert 0 < deadline.left(60.0) <= deadline.UNDO
        assert deadline.left(60.0) == 0.0


def test_undoing_shortens_no_deadline() -> None:
    with deadline.within(30.0), deadline.undoing():
        assert deadline.left(60.0) > deadline.UNDO
    with deadline.undoing():
        assert deadline.left(60.0) == 60.0
