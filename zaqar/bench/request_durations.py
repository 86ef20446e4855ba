# SPDX-License-Identifier: Apache-2.0
"""Durations of requests, every one of them stored."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping

#: Shown quantiles by their name.
QUANTILES = {'p50': 0.5, 'p95': 0.95, 'p99': 0.99, 'p999': 0.999}


class Durations:
    """Durations and failures of one kind of request.

    Each worker has its own; they are merged after the run. A request takes
    eight bytes.

    :ivar seconds: of each successful request
    :ivar errors: failed requests, by status or kind of failure
    """

    def __init__(self) -> None:
        self.seconds = array('d')
        self.errors: Counter[str] = Counter()

    def add(self, seconds: float) -> None:
        """Record a successful request."""
        self.seconds.append(seconds)

    def fail(self, reason: str) -> None:
        """Record a failed request."""
        self.errors[reason] += 1

    @property
    def successful(self) -> int:
        return len(self.seconds)

    @property
    def total(self) -> int:
        return len(self.seconds) + self.errors.total()

    @property
    def mean_ms(self) -> float:
        """The mean duration in milliseconds; 0 without requests."""
        if not self.seconds:
            return 0.0
        return math.fsum(self.seconds) / len(self.seconds) * 1000

    def quantiles_ms(self) -> Mapping[str, float]:
        """Return the quantiles by nearest rank, in milliseconds."""
        ranked = sorted(self.seconds)
        return {
            name: _rank(ranked, share) * 1000
            for name, share in QUANTILES.items()
        }

    @classmethod
    def merge(cls, parts: Iterable[Durations]) -> Durations:
        whole = cls()
        for part in parts:
            whole.seconds.extend(part.seconds)
            whole.errors.update(part.errors)
        return whole


def _rank(ranked: list[float], share: float) -> float:
    if not ranked:
        return 0.0
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]
