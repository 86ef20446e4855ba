# SPDX-License-Identifier: Apache-2.0
"""Token buckets, and what is deferred by them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zaqar.controllers.rate_limits import OwnBuckets, RateSettings, Throttle


class Time:
    """Seconds that tests let pass."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def _bucket(rate: float, burst: float, time: Time) -> Callable[[float], float]:
    """Return a bucket: takes tokens, or returns the seconds to wait."""
    buckets = OwnBuckets(RateSettings(requests=rate, burst=burst))

    def take(amount: float) -> float:
        amounts = ('requests', amount), ('messages', 1)
        lack = buckets.take('p', amounts, time())
        if lack is None:
            return 0.0
        name, wait = lack
        assert name == 'requests'
        return wait

    return take


def test_a_bucket_gives_a_burst_and_then_its_rate() -> None:
    time = Time()
    take = _bucket(10, 2, time)
    for _ in range(20):
        assert take(1) == 0
    assert take(1) == pytest.approx(0.1)
    time.at += 0.5
    taken = [take(1) for _ in range(6)]
    assert taken[:5] == [0] * 5
    assert taken[5] > 0
    time.at += 3600
    assert [take(1) for _ in range(21)].count(0) == 20


def test_what_is_larger_than_a_bucket_passes_when_that_is_full() -> None:
    time = Time()
    take = _bucket(10, 1, time)
    assert take(100) == 0
    # What owes something still gives nothing at all.
    assert take(0) == 0
    assert take(1) == pytest.approx(9.1)
    time.at += 9.1
    assert take(1) == 0


def test_one_that_has_too_little_keeps_others_full() -> None:
    settings = RateSettings(messages=1, message_bytes=1, burst=5)
    buckets = OwnBuckets(settings)
    for _ in range(3):
        amounts = ('messages', 2), ('message_bytes', 5)
        lack = buckets.take('q', amounts, 0.0)
        assert lack in (None, ('message_bytes', 5))
    assert buckets.take('q', (('messages', 3),), 0.0) is None


def test_deferred_deliveries_return_one_by_one() -> None:
    time = Time()
    settings = RateSettings(deliveries=2.0, mails=0.5, burst=1.0)
    throttle = Throttle(settings, timer=time)
    assert [throttle.pause('p', ['deliveries']) for _ in range(2)] == [0, 0]
    pauses = [throttle.pause('p', ['deliveries']) for _ in range(6)]
    assert pauses == pytest.approx([1, 1, 1.5, 2, 2.5, 3])
    assert throttle.pause('q', ['deliveries', 'mails']) == 0
    # A mail that has to wait is no delivery yet.
    assert throttle.pause('q', ['deliveries', 'mails']) == pytest.approx(2)
    assert throttle.pause('q', ['deliveries']) == 0


def test_a_refusal_names_the_rate_and_the_time() -> None:
    settings = RateSettings(messages=0.5, burst=4.0)
    throttle = Throttle(settings)
    amounts = ('requests', 1), ('messages', 2), ('message_bytes', 1000)
    assert throttle.take('p', amounts, 0.0) is None
    lack = throttle.take('p', (('messages', 1),), 0.0)
    assert lack is not None
    assert throttle.exceeded('p', lack).headers == {
        'Retry-After': '2',
        'RateLimit': '"messages";r=0;t=2',
        'RateLimit-Policy': '"messages";q=2;w=4',
    }
