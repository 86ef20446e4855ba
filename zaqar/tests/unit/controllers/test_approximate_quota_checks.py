# SPDX-License-Identifier: Apache-2.0
"""What projects have, as it is read now and then."""

from __future__ import annotations

import threading

import pytest

from zaqar.controllers.approximate_quota_checks import (
    AGAIN,
    PLENTY,
    UNCHECKED,
    ApproximateUsage,
    Resource,
    Taken,
)
from zaqar.controllers.configured_quotas import QuotaSettings
from zaqar.controllers.quota_checks_by_counting import Quotas
from zaqar.errors import QuotaExceeded, StoreUnavailable
from zaqar.tests.contract.crowd import each
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets

FRESH = 60.0


class Rig:
    """A usage with a limit of which reads and the time are ours.

    :param is_of_deliveries: whether only what is delivered takes it
    """

    def __init__(
        self, limit: int = 100, is_of_deliveries: bool = False
    ) -> None:
        self.now = 0.0
        self.stored: int | None = 90
        self.was_read = threading.Semaphore(0)
        self.together = threading.Barrier(1)
        self.usage = ApproximateUsage(
            Quotas(QuotaSettings(message_bytes=limit)),
            [
                Resource('message_bytes', self._read, FRESH, is_of_deliveries),
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

    def take(self, size: int) -> Taken:
        return self.usage.take('p', size, size, self.now, lambda: False)

    def is_refused(self, size: int = 10) -> bool:
        try:
            self.take(size)
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
        assert rig.take(10) == (10, 10, 10)
        rig.usage.settle('p', -10, -10)
    assert not rig.is_refused()
    assert rig.is_refused(1)


def test_what_is_not_delivered_does_not_count() -> None:
    rig = Rig(is_of_deliveries=True)
    assert rig.take(10) == (10, 10, 10)
    assert rig.take(10) == (10, 0, 0)
    rig.usage.settle('p', 0, -10)
    assert rig.take(10) == (10, 10, 10)


def test_what_is_delivered_counts_later_where_there_is_plenty() -> None:
    rig = Rig(limit=90 + 10 * PLENTY, is_of_deliveries=True)
    for _ in range(2):
        # Looked at closely from time to time.
        assert rig.take(1) == (1, 1, 1)
        rig.usage.settle('p', 0, -1)
        assert rig.take(9) == (9, 9, 0)
        rig.now += UNCHECKED
    rig.take(1)
    assert rig.take(8) == (8, 8, 0)
    rig.usage.settle('p', 0, 8)
    # Together it would no longer be plenty.
    assert rig.take(8) == (8, 8, 8)
    # What is left once all of that has been counted, and no more.
    assert rig.take(10 * PLENTY - 17) == (10 * PLENTY - 17,) * 3
    assert rig.take(1) == (1, 0, 0)


def test_what_is_taken_of_plenty_counts() -> None:
    rig = Rig(limit=90 + 10 * PLENTY)
    rig.take(1)
    assert rig.take(9) == (9, 9, 0)
    rig.usage.settle('p', -2, 0)
    left = 10 * PLENTY - 8
    assert rig.is_refused(left + 1)
    assert not rig.is_refused(left)
    assert rig.is_refused(1)


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
        [Resource('message_bytes', lambda _: int(look()), FRESH, True)],
        timer=lambda: 0.0,
    )
    (result,) = greenlets.run(lambda: usage.take('p', 2, 2, 0.0, look))
    usage.close()
    assert result == (2, 0, 0)
    assert lookers
    assert threading.get_ident() not in lookers
