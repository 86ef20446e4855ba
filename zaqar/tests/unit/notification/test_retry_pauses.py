# SPDX-License-Identifier: Apache-2.0
"""When a delivery is tried again: reference/delivery, "Retries"."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.controllers import retry_policy_validation
from zaqar.notification import retry_pauses

DEFAULT = retry_pauses.chosen({}, {})


@pytest.mark.parametrize(
    ('function', 'shortest', 'longest', 'expected'),
    [
        ('linear', 5, 30, [5, 10, 15, 20, 25]),
        ('arithmetic', 5, 30, [5, 7, 12, 20, 30]),
        ('geometric', 5, 30, [5, 7, 12, 19, 30]),
        ('exponential', 5, 30, [5, 7, 12, 19, 30]),
        ('linear', 5, 15, [5, 10]),
        ('arithmetic', 5, 15, [5, 15]),
        ('geometric', 5, 15, [5, 15]),
        ('exponential', 5, 15, [5, 15]),
        ('linear', 0, 10, [0, 5]),
        ('arithmetic', 0, 20, [0, 3, 10, 20]),
    ],
)
def test_the_series_of_the_four_functions(
    function: str, shortest: int, longest: int, expected: list[int]
) -> None:
    assert list(retry_pauses.series(function, shortest, longest)) == expected


@pytest.mark.parametrize('function', retry_policy_validation.FUNCTIONS)
def test_no_series_is_without_end(function: str) -> None:
    pauses = retry_pauses.series(
        function, 1, retry_policy_validation.MAX_DELAY
    )
    assert 1 < len(pauses) <= retry_policy_validation.MAX_ATTEMPTS
    assert list(pauses) == sorted(pauses)


def test_by_default_there_are_15_attempts_over_180_seconds() -> None:
    pauses = retry_pauses.pauses(DEFAULT)
    assert pauses == [*[0] * 3, *[5] * 3, 5, 10, 15, 20, 25, *[30] * 3]
    assert len(pauses) + 1 == 15
    assert sum(pauses) == 180


QUEUE = {'minimum_delay': 1}
OWN = {'minimum_delay': 2}
IGNORE = {'ignore_subscription_override': True}


@pytest.mark.parametrize(
    ('queue', 'own', 'delay'),
    [
        (None, None, 5),
        (QUEUE, None, 1),
        (QUEUE, {}, 1),
        (None, OWN, 2),
        (QUEUE, OWN, 2),
        ({**QUEUE, **IGNORE}, OWN, 1),
        (QUEUE, {**OWN, **IGNORE}, 1),
        (None, {**OWN, **IGNORE}, 5),
        ({**QUEUE, **IGNORE}, None, 1),
    ],
)
def test_which_policy_counts(queue: Any, own: Any, delay: int) -> None:
    policy = retry_pauses.chosen(
        {'_retry_policy': queue}, {'_retry_policy': own}
    )
    assert policy['minimum_delay'] == delay
    assert policy['maximum_delay'] == 30


def test_after_the_last_attempt_a_delivery_is_given_up() -> None:
    assert retry_pauses.pause(DEFAULT, 14, None, 0.5) == 30
    assert retry_pauses.pause(DEFAULT, 15, None, 0.5) is None


@pytest.mark.parametrize(
    ('chance', 'expected'), [(0.0, 27), (0.5, 30), (1.0, 33)]
)
def test_pauses_vary_by_a_tenth(chance: float, expected: float) -> None:
    pause = retry_pauses.pause(DEFAULT, 14, None, chance)
    assert pause == pytest.approx(expected)


@pytest.mark.parametrize(
    ('seconds', 'expected'),
    [(10, 30), (60, 60), (90, 90), (91, 90), (10**9, 90)],
)
def test_a_receiver_may_ask_for_more_within_the_policy(
    seconds: int, expected: int
) -> None:
    assert retry_pauses.pause(DEFAULT, 14, seconds, 0.5) == expected
