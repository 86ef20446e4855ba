# SPDX-License-Identifier: Apache-2.0
"""Pauses between attempts, by a retry policy.

:source: reference/delivery, "Retries"
"""

from collections.abc import Mapping, Sequence
from typing import Any

from zaqar.controllers.retry_policy_validation import DEFAULTS, MAX_ATTEMPTS

#: Share by which a pause may be longer or shorter, so that deliveries that
#: failed together are not retried together.
JITTER = 0.1

#: Seconds by which a linear pause grows, and per step of the other functions.
STEP = 5

Policy = Mapping[str, Any]


def chosen(queue: Policy, options: Policy) -> Policy:
    """Return the policy that applies, with defaults for missing keys.

    :param queue: metadata of the queue
    :param options: options of the subscription
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

    The delivery is given up when the last of them fails.
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
        growing = [shortest + a * (a - 1) * part for a in range(1, count + 1)]
    else:
        factor = (longest / shortest) ** (1 / (count - 1))
        growing = [shortest * factor ** (a - 1) for a in range(1, count + 1)]
    # Whole numbers may be off by a rounding error.
    return [int(value + 1e-9) for value in growing][:MAX_ATTEMPTS]


def pause(
    policy: Policy, attempt: int, retry_after: int | None, chance: float
) -> float | None:
    """Return the seconds until the next attempt, None to give up.

    :param attempt: number of the attempt that failed
    :param retry_after: seconds that the receiver has asked for
    :param chance: a random number from 0 to 1
    """
    all_pauses = pauses(policy)
    if attempt > len(all_pauses):
        return None
    wait = all_pauses[attempt - 1] * (1 + JITTER * (2 * chance - 1))
    if retry_after is not None:
        longest = policy['maximum_delay'] * policy['maximum_delay_retries']
        wait = max(wait, min(retry_after, longest))
    return wait
