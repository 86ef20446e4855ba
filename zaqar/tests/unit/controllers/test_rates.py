# SPDX-License-Identifier: Apache-2.0
"""Token buckets, and what is deferred by them."""

from __future__ import annotations

import pytest

from zaqar.controllers.rates import OwnBuckets, RateSettings, Throttle
from zaqar.errors import RateExceeded

KEY = ('requests', 'p')


class Time:
    """Seconds that tests let pass."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def test_a_bucket_gives_a_burst_and_then_its_rate() -> None:
    time = Time()
    buckets = OwnBuckets(time)
    for _ in range(20):
        assert buckets.take(KEY, 10, 2, 1) == 0
    assert buckets.take(KEY, 10, 2, 1) == pytest.approx(0.1)
    time.at += 0.5
    taken = [buckets.take(KEY, 10, 2, 1) for _ in range(6)]
    assert taken[:5] == [0] * 5
    assert taken[5] > 0
    time.at += 3600
    assert [buckets.take(KEY, 10, 2, 1) for _ in range(21)].count(0) == 20


def test_what_is_larger_than_a_bucket_passes_when_that_is_full() -> None:
    time = Time()
    buckets = OwnBuckets(time)
    assert buckets.take(KEY, 10, 1, 100) == 0
    assert buckets.take(KEY, 10, 1, 1) == pytest.approx(9.1)
    time.at += 9.1
    assert buckets.take(KEY, 10, 1, 1) == 0


def test_what_is_put_back_can_be_taken_again() -> None:
    buckets = OwnBuckets(Time())
    for _ in range(3):
        assert buckets.take(KEY, 1, 5, 5) == 0
        buckets.put(KEY, 1, 5)


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
    throttle = Throttle(settings, timer=Time())
    throttle.check_request('p')
    throttle.check_post('p', 2, 1000)
    with pytest.raises(RateExceeded) as refused:
        throttle.check_post('p', 1, 1000)
    assert refused.value.headers == {
        'Retry-After': '2',
        'RateLimit': '"messages";r=0;t=2',
        'RateLimit-Policy': '"messages";q=2;w=4',
    }
