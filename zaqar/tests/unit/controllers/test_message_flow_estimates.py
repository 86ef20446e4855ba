# SPDX-License-Identifier: Apache-2.0
"""Rates are estimated from statistics that were requested before."""

from __future__ import annotations

from zaqar.controllers.message_flow_estimates import (
    LEAST,
    MAX_QUEUES,
    PERIOD,
    MessageFlowEstimates,
    Rates,
)
from zaqar.objects import Stats

UNKNOWN = Rates(None, None)
START = 1_700_000_000_000


def stats(posted: int | None, total: int) -> Stats:
    return Stats(free=total, posted=posted)


def test_the_first_statistics_tell_no_rate() -> None:
    assert MessageFlowEstimates().update('q', stats(7, 7), START) == UNKNOWN


def test_a_rate_is_that_of_a_minute() -> None:
    seen = MessageFlowEstimates()
    seen.update('q', stats(1000, 10), START)
    # In half a minute 20 were posted, and 25 have gone.
    rates = seen.update('q', stats(1020, 5), START + 30_000)
    assert rates == Rates(40.0, 50.0)


def test_nothing_is_said_of_a_moment() -> None:
    seen = MessageFlowEstimates()
    seen.update('q', stats(0, 0), START)
    later = START + LEAST
    assert seen.update('q', stats(9, 9), later - 1) == UNKNOWN
    assert seen.update('q', stats(9, 9), later) == Rates(54.0, 0.0)


def test_the_last_five_minutes_count() -> None:
    seen = MessageFlowEstimates()
    for minute in range(20):
        # A burst in the first minute, then ten a minute.
        posted = 1000 * min(minute, 1) + 10 * max(minute - 1, 0)
        rates = seen.update('q', stats(posted, 0), START + minute * 60_000)
    assert rates == Rates(10.0, 10.0)


def test_what_was_seen_long_ago_tells_no_rate() -> None:
    seen = MessageFlowEstimates()
    seen.update('q', stats(0, 0), START)
    assert seen.update('q', stats(5, 0), START + PERIOD + 1) == UNKNOWN


def test_frequent_requests_do_not_shorten_the_period() -> None:
    seen = MessageFlowEstimates()
    for second in range(301):
        rates = seen.update('q', stats(second, 0), START + second * 1000)
    assert rates == Rates(60.0, 60.0)


def test_after_a_loss_of_data_rates_begin_anew() -> None:
    seen = MessageFlowEstimates()
    seen.update('q', stats(1000, 10), START)
    assert seen.update('q', stats(3, 3), START + 60_000) == UNKNOWN
    rates = seen.update('q', stats(4, 4), START + 120_000)
    assert rates == Rates(1.0, 0.0)


def test_a_store_that_does_not_count_posts_tells_no_rate() -> None:
    seen = MessageFlowEstimates()
    for minute in range(3):
        assert seen.update('q', stats(None, 1), minute * 60_000) == UNKNOWN


def test_queues_are_told_apart_and_forgotten() -> None:
    seen = MessageFlowEstimates()
    seen.update('first', stats(0, 0), START)
    for number in range(MAX_QUEUES):
        seen.update(str(number), stats(0, 0), START)
    late = START + 60_000
    assert seen.update('first', stats(1, 1), late) == UNKNOWN
    last = str(MAX_QUEUES - 1)
    assert seen.update(last, stats(1, 1), late) == Rates(1.0, 0.0)
