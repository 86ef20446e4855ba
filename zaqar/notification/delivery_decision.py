# SPDX-License-Identifier: Apache-2.0
"""Decisions on deliveries after attempts, or for lack of room: pure functions.

:source: reference/delivery, "Retries"
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zaqar.notification import retry_pauses
from zaqar.notification.sender_interface import Outcome, Verdict

#: Milliseconds of nothing but 410 after which a subscriber is gone.
GONE_AFTER = 86_400_000

#: Seconds, beyond the pauses of its policy, after which a delivery that is
#: only deferred is given up.
GRACE = 600


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The subscriber has the message.

    :ivar confirms: it has confirmed its subscription
    """

    confirms: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt is repeated, or made later.

    :ivar at: the moment, in milliseconds; that of the decision for at once
    """

    at: int
    reason: str = ''


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The delivery is given up.

    :ivar is_gone: the subscriber says that it is gone
    """

    reason: str
    detail: str = ''
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Remove:
    """The delivery is given up, and the subscription removed."""

    reason: str
    detail: str = ''


Decision = Acknowledge | Retry | DeadLetter | Remove


def decide(
    outcome: Outcome,
    policy: Mapping[str, Any],
    attempt: int,
    now: int,
    *,
    gone_since: int | None = None,
    chance: float = 0.5,
) -> Decision:
    """Return what follows from the outcome of an attempt.

    :param policy: the retry policy that applies
    :param attempt: the number of the attempt, from 1 on
    :param now: milliseconds
    :param gone_since: when the subscriber first said that it is gone, if it
        has said nothing else since
    :param chance: a random number from 0 to 1
    """
    match outcome.verdict:
        case Verdict.DELIVERED:
            return Acknowledge(outcome.confirmed)
        case Verdict.RETRY:
            pause = retry_pauses.pause(
                policy, attempt, outcome.retry_after, chance
            )
            if pause is not None:
                return Retry(now + math.ceil(pause * 1000), outcome.reason)
        case Verdict.GONE:
            if gone_since is not None and now - gone_since >= GONE_AFTER:
                return Remove(outcome.reason, outcome.detail)
    is_gone = outcome.verdict is Verdict.GONE
    return DeadLetter(outcome.reason, outcome.detail, is_gone)


def decide_without_room(
    policy: Mapping[str, Any],
    waited: int,
    deferrals: int,
    seconds: float,
    now: int,
    *,
    chance: float = 0.5,
) -> Retry | DeadLetter:
    """Return what follows where a host has no room for an attempt.

    :param waited: milliseconds since the delivery was due
    :param deferrals: how often there was no room before
    :param seconds: when there may be room
    """
    patience = (sum(retry_pauses.pauses(policy)) + GRACE) * 1000
    if deferrals and waited > patience:
        return DeadLetter('the host has not answered for long')
    # Spread, so that those deferred together do not return together.
    return Retry(now + math.ceil(seconds * (1 + chance) * 1000))
