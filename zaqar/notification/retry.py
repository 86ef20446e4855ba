# SPDX-License-Identifier: Apache-2.0
"""When a delivery that failed is tried again: pure arithmetic.

:source: reference/delivery, "Retries"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zaqar.controllers.retry_policy import DEFAULTS, MAX_ATTEMPTS

#: Part by which a pause may be longer or shorter, so that deliveries that
#: failed together do not come back together.
JITTER = 0.1

#: Seconds by which a linear pause grows, and of which others have a step.
STEP = 5

Policy = Mapping[str, Any]


def chosen(queue: Policy, options: Policy) -> Policy:
    """Return the policy that counts, with all keys that it leaves out.

    :param queue: metadata of the queue
    :param options: of the subscription
    """
    own = options.get('_retry_policy') or {}
    general = queue.get('_retry_policy') or {}
    ignored = any(
        policy.get('ignore_subscription_override') is True
        for policy in (own, general)
    )
    return {**DEFAULTS, **(general if ignored else own or general)}


def pauses(policy: Policy) -> Sequence[int]:
    """Return the seconds before each further attempt, in order.

    After as many failures and one more the delivery is given up.
    """
    return [
        *[0] * policy['retries_with_no_delay'],
        *[policy['minimum_delay']] * policy['minimum_delay_retries'],
        *series(
            policy.get('retry_backoff_function', 'linear'),
            policy['minimum_delay'],
            policy['maximum_delay'],
        ),
        *[policy['maximum_delay']] * policy['maximum_delay_retries'],
    ]


def series(function: str, shortest: int, longest: int) -> Sequence[int]:
    """Return the growing pauses between the shortest and the longest."""
    if function == 'linear':
        return list(range(shortest, longest, STEP))[:MAX_ATTEMPTS]
    count = (longest - shortest) // STEP
    if count < 2:
        return [shortest, longest][:count]
    if function == 'arithmetic':
        part = (longest - shortest) / (count * (count - 1))
        found = [shortest + a * (a - 1) * part for a in range(1, count + 1)]
    else:
        factor = (longest / shortest) ** (1 / (count - 1))
        found = [shortest * factor ** (a - 1) for a in range(1, count + 1)]
    # What is meant to be whole may be off by a rounding error.
    return [int(value + 1e-9) for value in found][:MAX_ATTEMPTS]


def longest_wait(policy: Policy) -> int:
    """Return the most seconds that a receiver may ask for."""
    return int(policy['maximum_delay'] * policy['maximum_delay_retries'])


def pause(
    policy: Policy, attempt: int, retry_after: int | None, chance: float
) -> float | None:
    """Return the seconds until the next attempt, None to give up.

    :param attempt: the number of the one that has failed
    :param retry_after: what the receiver has asked for
    :param chance: from 0 to 1
    """
    found = pauses(policy)
    if attempt > len(found):
        return None
    wait = found[attempt - 1] * (1 + JITTER * (2 * chance - 1))
    if retry_after is not None:
        wait = max(wait, min(retry_after, longest_wait(policy)))
    return wait
