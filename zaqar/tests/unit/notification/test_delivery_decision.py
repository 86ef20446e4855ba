# SPDX-License-Identifier: Apache-2.0
"""What follows from an attempt."""

from __future__ import annotations

import pytest

from zaqar.controllers.retry_policy_validation import DEFAULTS
from zaqar.notification import retry_pauses
from zaqar.notification.delivery_decision import (
    GONE_AFTER,
    GRACE,
    Acknowledge,
    DeadLetter,
    Decision,
    Remove,
    Retry,
    decide,
    decide_without_room,
)
from zaqar.notification.sender_interface import Outcome, Verdict

NOW = 1_700_000_000_000

FAILED = Outcome(Verdict.RETRY, 'answered 503')
LATER = Outcome(Verdict.RETRY, 'answered 503', retry_after=7)
GONE = Outcome(Verdict.GONE, 'answered 410')
LAST = len(retry_pauses.pauses(DEFAULTS))


@pytest.mark.parametrize(
    ('outcome', 'attempt', 'decision'),
    [
        (Outcome(Verdict.DELIVERED), 1, Acknowledge()),
        (Outcome(Verdict.DELIVERED, confirmed=True), 9, Acknowledge(True)),
        (FAILED, 1, Retry(NOW, 'answered 503')),
        (FAILED, 4, Retry(NOW + 5_000, 'answered 503')),
        (LATER, 1, Retry(NOW + 7_000, 'answered 503')),
        (FAILED, LAST, Retry(NOW + 30_000, 'answered 503')),
        (FAILED, LAST + 1, DeadLetter('answered 503')),
        (LATER, LAST + 1, DeadLetter('answered 503')),
        (Outcome(Verdict.REFUSED, 'no', detail='x'), 1, DeadLetter('no', 'x')),
        (GONE, 1, DeadLetter('answered 410', is_gone=True)),
    ],
)
def test_a_decision_follows_from_the_outcome(
    outcome: Outcome, attempt: int, decision: Decision
) -> None:
    assert decide(outcome, DEFAULTS, attempt, NOW) == decision


@pytest.mark.parametrize(('chance', 'pause'), [(0.0, 4_500), (1.0, 5_500)])
def test_pauses_are_spread(chance: float, pause: int) -> None:
    decision = decide(FAILED, DEFAULTS, 4, NOW, chance=chance)
    assert decision == Retry(NOW + pause, 'answered 503')


def test_a_day_of_nothing_but_gone_removes_a_subscription() -> None:
    since = NOW - GONE_AFTER
    assert decide(GONE, {}, 1, NOW, gone_since=since) == Remove('answered 410')
    assert decide(GONE, {}, 1, NOW, gone_since=since + 1) == DeadLetter(
        'answered 410', is_gone=True
    )


def test_a_delivery_is_deferred_as_long_as_its_policy_allows() -> None:
    patience = (sum(retry_pauses.pauses(DEFAULTS)) + GRACE) * 1000
    again = decide_without_room(DEFAULTS, patience, 5, 30, NOW, chance=0.5)
    assert again == Retry(NOW + 45_000)
    # However late: it has never been deferred before.
    assert isinstance(
        decide_without_room(DEFAULTS, patience + 1, 0, 30, NOW), Retry
    )
    assert isinstance(
        decide_without_room(DEFAULTS, patience + 1, 1, 30, NOW), DeadLetter
    )
