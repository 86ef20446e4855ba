# SPDX-License-Identifier: Apache-2.0
"""Validation of retry policies."""

from collections.abc import Mapping
from typing import Any

FUNCTIONS = ('linear', 'arithmetic', 'geometric', 'exponential')

DEFAULTS: Mapping[str, int] = {
    'retries_with_no_delay': 3,
    'minimum_delay_retries': 3,
    'minimum_delay': 5,
    'maximum_delay': 30,
    'maximum_delay_retries': 3,
}

#: Maximum number of attempts per phase, and seconds of the longest pause.
MAX_ATTEMPTS = 100
MAX_DELAY = 86_400

#: Seconds by which the longest pause must exceed the shortest.
SPREAD = 10


def fault(policy: Any) -> str | None:
    """Return what is wrong with a retry policy, or None.

    :param policy: a JSON value; unknown keys may have any value
    """
    if not isinstance(policy, dict):
        return 'retry_policy must be a dict.'
    return (
        _number_fault(policy)
        or _function_fault(policy)
        or _override_fault(policy)
        or _delay_fault({**DEFAULTS, **policy})
    )


def _number_fault(policy: Mapping[str, Any]) -> str | None:
    for key in DEFAULTS:
        if key not in policy:
            continue
        if type(policy[key]) is not int:
            return f'Retry policy: {key} must be a integer.'
        most = MAX_ATTEMPTS if 'retries' in key else MAX_DELAY
        if not 0 <= policy[key] <= most:
            return f'Retry policy: {key} must be between 0 and {most}.'
    return None


def _function_fault(policy: Mapping[str, Any]) -> str | None:
    function = policy.get('retry_backoff_function', 'linear')
    if not isinstance(function, str):
        return 'retry_backoff_function must be a string.'
    if function not in FUNCTIONS:
        return 'invalid retry_backoff_function.'
    return None


def _override_fault(policy: Mapping[str, Any]) -> str | None:
    if isinstance(policy.get('ignore_subscription_override', False), bool):
        return None
    return 'ignore_subscription_override must be a boolean.'


def _delay_fault(policy: Mapping[str, Any]) -> str | None:
    shortest, longest = policy['minimum_delay'], policy['maximum_delay']
    if shortest >= longest:
        return 'minimum_delay must less than maximum_delay.'
    if longest - shortest < SPREAD:
        return 'invalid minimum_delay and maximum_delay.'
    function = policy.get('retry_backoff_function')
    if function in ('geometric', 'exponential') and shortest < 1:
        return 'minimum_delay must be at least 1 for this function.'
    return None
