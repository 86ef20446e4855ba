# SPDX-License-Identifier: Apache-2.0
"""What projects have, as it is read now and then."""

from __future__ import annotations

import threading

import pytest

from zaqar.controllers.approximate_quota_checks import (
    AGAIN,
    NOTHING,
    PLENTY,
    UNCHECKED,
    ApproximateUsage,
    Resource,
    Sizes,
)
from zaqar.controllers.configured_quotas import QuotaSettings
from zaqar.controllers.quota_checks_by_counting import Quotas
from zaqar.errors import QuotaExceeded, StoreUnavailable
from zaqar.tests.contract.crowd import each
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets

FRESH = 60.0


def _sizes(size: int) -> Sizes:
    return {'message_bytes': size}


class Rig:
    """A usage with a limit of which reads and the time are ours."""

    def __init__(self, limit: int = 100) -> None:
        self.now = 0.0
        self.stored: int | None = 90
        self.was_read = threading.Semaphore(0)
        self.together = threading.Barrier(1)
        self.usage = ApproximateUsage(
            Quotas(QuotaSettings(message_bytes=limit)),
            [
                Resource('message_bytes', self._read, FRESH),
                # Not limited, hence never read.
                Resource('delivery_bytes', lambda _: 1 // 0, FRESH),
            ],
            timer=lambda: self.now,
        )

    def _read(self, _: str) -> int:
        self.together.wait(60)
        self.was_read.release()
        if self.stored is None:
            raise StoreUnavailable
        return self.stored

    def take(self, now: Sizes, later: Sizes = NOTHING) -> Sizes:
        return self.usage.take('p', now, later, self.now, lambda: False)

    def is_refused(self, size: int = 10) -> bool:
        try:
            self.take(_sizes(size))
        except QuotaExceeded:
            return True
        return False

    def reread(self) -> None:
        """Wait for the read that was begun."""
        assert self.was_read.acquire(timeout=60)
        self.usage.close()


def test_eight_that_are_the_first_exceed_nothing_together() -> None:
    rig = Rig()
    # All of them look, since nothing is known yet.
    rig.together = threading.Barrier(8)
    refused = each(lambda _: rig.is_refused(), range(8))
    assert refused.count(False) == 1


def test_what_is_added_counts_until_the_next_look() -> None:
    rig = Rig()
    assert not rig.is_refused()
    rig.reread()
    assert rig.is_refused()
    # Nothing has been looked at meanwhile, though it is free again.
    rig.stored = 50
    assert rig.is_refused()
    rig.now += AGAIN
    assert rig.is_refused()
    rig.reread()
    assert not rig.is_refused(50)


def test_what_is_given_back_does_not_count() -> None:
    rig = Rig()
    for _ in range(2):
        taken = rig.take(_sizes(10))
        assert taken == _sizes(10)
        rig.usage.settle('p', taken, NOTHING)
    assert not rig.is_refused()
    # It would get nothing of it anyway.
    assert rig.take(NOTHING, _sizes(10)) == _sizes(0)
    assert rig.is_refused()


def test_what_may_not_be_used_counts_later_where_there_is_plenty() -> None:
    rig = Rig(limit=90 + 2 * PLENTY)
    for _ in range(2):
        # Looked at closely from time to time.
        assert rig.take(NOTHING, _sizes(1)) == _sizes(1)
        rig.usage.settle('p', _sizes(1), NOTHING)
        assert rig.take(NOTHING, _sizes(2)) is NOTHING
        rig.now += UNCHECKED
    rig.take(NOTHING, _sizes(1))
    rig.usage.settle('p', NOTHING, _sizes(1))
    # Now there is little room.
    assert rig.take(NOTHING, _sizes(2)) == _sizes(2)


def test_half_of_the_room_is_used_before_the_next_look() -> None:
    rig = Rig()
    rig.stored = 0
    assert not rig.is_refused(50)
    rig.reread()
    rig.now += AGAIN
    # Nothing of it is there any more.
    assert not rig.is_refused(10)
    rig.reread()
    assert not rig.is_refused(90)


def test_what_cannot_be_read_is_used_as_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    rig.stored = None
    with caplog.at_level('INFO'):
        assert not rig.is_refused()
    assert 'message_bytes of a project cannot be read' in caplog.text
    rig.stored = 100
    rig.now += AGAIN
    assert not rig.is_refused()
    assert rig.was_read.acquire(timeout=60)
    rig.reread()
    assert rig.is_refused(1)


def test_no_event_loop_looks(greenlets: Greenlets) -> None:
    lookers: set[int] = set()

    def look() -> bool:
        lookers.add(threading.get_ident())
        return False

    usage = ApproximateUsage(
        Quotas(QuotaSettings(message_bytes=1)),
        [Resource('message_bytes', lambda _: int(look()), FRESH)],
        timer=lambda: 0.0,
    )
    (result,) = greenlets.run(
        lambda: usage.take('p', NOTHING, _sizes(2), 0.0, look)
    )
    usage.close()
    assert result == _sizes(0)
    assert lookers
    assert threading.get_ident() not in lookers
