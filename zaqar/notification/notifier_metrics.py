# SPDX-License-Identifier: Apache-2.0
"""Metrics of a notifier: those whose names begin with ``notification_``."""

from collections.abc import Iterable

from zaqar import metrics


def begin(schemes: Iterable[str]) -> None:
    """Let every series exist, so that a rate knows its first event."""
    sink = metrics.process()
    for scheme in schemes:
        sink.begin('notification_attempt', scheme)
        sink.begin('notification_latency', scheme)
        for outcome in ('delivered', 'retried', 'given_up'):
            sink.begin('notification_deliveries', scheme, outcome)
    sink.begin('notification_deliveries', 'any', 'dropped')
    for stored in ('yes', 'no'):
        sink.begin('notification_dead_letters', stored)
    for name in ('notices', 'unreadable'):
        sink.begin(f'notification_{name}')


def record(name: str, value: float, *labels: str) -> None:
    """Record a value of a metric, named without ``notification_``."""
    metrics.process().record(f'notification_{name}', value, *labels)
