# SPDX-License-Identifier: Apache-2.0
"""Retry policies of deliveries to subscribers."""

from __future__ import annotations

from typing import Any

from heat.common import exception
from heat.engine import constraints, properties

FUNCTIONS = ['linear', 'arithmetic', 'geometric', 'exponential']

#: Seconds by which the longest pause must exceed the shortest.
SPREAD = 10

_DEFAULT_DELAYS = {'minimum_delay': 5, 'maximum_delay': 30}


def schema(whose: str, **more: Any) -> properties.Schema:
    """Return the property ``retry_policy``.

    :param whose: what it applies to, for its help text
    """
    return properties.Schema(
        properties.Schema.MAP,
        f'The retry policy {whose}.',
        schema={
            'retries_with_no_delay': _attempts('at once (3 by default)'),
            'minimum_delay_retries': _attempts(
                'a minimum_delay apart (3 by default)'
            ),
            'minimum_delay': _seconds('Shortest', 5),
            'maximum_delay': _seconds('Longest', 30),
            'maximum_delay_retries': _attempts(
                'a maximum_delay apart, at the end (3 by default)'
            ),
            'retry_backoff_function': properties.Schema(
                properties.Schema.STRING,
                'How delays grow between the two (linear by default).',
                constraints=[constraints.AllowedValues(FUNCTIONS)],
            ),
            'ignore_subscription_override': properties.Schema(
                properties.Schema.BOOLEAN,
                'Whether the policy of the queue overrides that of '
                'subscriptions.',
            ),
        },
        **more,
    )


def set_keys(policy: Any) -> dict[str, Any] | None:
    """Return the keys of a policy that are set, None for no policy."""
    if policy is None:
        return None
    return {key: value for key, value in policy.items() if value is not None}


def validate(policy: Any) -> None:
    """Check combinations of properties.

    :raises StackValidationFailed: the pauses are too close to each other
    """
    if policy is None:
        return
    delays = {**_DEFAULT_DELAYS, **(set_keys(policy) or {})}
    shortest, longest = delays['minimum_delay'], delays['maximum_delay']
    if longest - shortest < SPREAD:
        raise exception.StackValidationFailed(
            message=f'retry_policy: maximum_delay ({longest}) must exceed '
            f'minimum_delay ({shortest}) by {SPREAD} seconds or more'
        )


def _attempts(how: str) -> properties.Schema:
    return properties.Schema(
        properties.Schema.INTEGER,
        f'Number of attempts {how}.',
        constraints=[constraints.Range(min=0, max=100)],
    )


def _seconds(which: str, default: int) -> properties.Schema:
    return properties.Schema(
        properties.Schema.INTEGER,
        f'{which} pause between two attempts, in seconds ({default} by '
        'default).',
        constraints=[constraints.Range(min=0, max=86400)],
    )
