# SPDX-License-Identifier: Apache-2.0
"""Counters of a notifier, for whoever asks.

Made when they are first used: by then it is known whether they are shared
with other processes of the machine (:mod:`zaqar.metrics`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Counters:
    """What a notifier counts.

    :ivar deliveries: ``outcome`` is delivered, retried, given_up or dropped;
        one for each attempt that has ended so, or delivery that was dropped
        for want of room
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = self._counter(
            'deliveries',
            'Attempts to tell a subscriber, and what came of them.',
            'scheme',
            'outcome',
        )
        self.seconds = Histogram(
            'zaqar_notification_attempt_seconds',
            'How long attempts took.',
            ('scheme',),
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 5, 15, 30),
            registry=self.registry,
        )
        self.notices = self._counter(
            'notices', 'Posts and questions of which deliveries were made.'
        )
        self.dead_letters = self._counter(
            'dead_letters',
            'Deliveries given up, put into a queue or not.',
            'stored',
        )
        self.unreadable = self._counter(
            'unreadable',
            'Times that a record of an outbox could not be read and was put '
            'back.',
        )
        # All notifiers see the same store: the last to look is right.
        self.waiting = self._gauge(
            'waiting',
            'Deliveries and notices in a store, whoever works on them.',
            'livemostrecent',
            'pool',
        )
        self.oldest = self._gauge(
            'oldest_seconds',
            'Age of the oldest of them.',
            'livemostrecent',
            'pool',
        )
        self.held = self._gauge(
            'held', 'Deliveries that are held, to send them.', 'livesum'
        )
        self.open_circuits = self._gauge(
            'open_circuits', 'Hosts that are tried once a minute.', 'livesum'
        )

    def begin(self, schemes: Iterable[str]) -> None:
        """Let every series exist, so that a rate knows its first event.

        :param schemes: of subscribers
        """
        for scheme in schemes:
            self.seconds.labels(scheme)
            for outcome in ('delivered', 'retried', 'given_up'):
                self.deliveries.labels(scheme, outcome)
        self.deliveries.labels('any', 'dropped')
        for stored in ('yes', 'no'):
            self.dead_letters.labels(stored)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(
            f'zaqar_notification_{name}', text, labels, registry=self.registry
        )

    def _gauge(self, name: str, text: str, mode: str, *labels: str) -> Gauge:
        return Gauge(
            f'zaqar_notification_{name}',
            text,
            labels,
            registry=self.registry,
            multiprocess_mode=mode,  # type: ignore[arg-type]
        )


@functools.cache
def counters() -> Counters:
    """Return those of this process."""
    return Counters()
