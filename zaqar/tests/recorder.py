# SPDX-License-Identifier: Apache-2.0
"""A sink of metrics that remembers."""

from __future__ import annotations

from zaqar.metrics import Sink


class Recorder(Sink):
    """Keeps what is recorded, as the name, the value and the labels."""

    def __init__(self) -> None:
        self.records: list[tuple[str, float, tuple[str, ...]]] = []

    def begin(self, name: str, *labels: str) -> None:
        """Do nothing."""

    def record(self, name: str, value: float, *labels: str) -> None:
        """Remember a value."""
        self.records.append((name, value, labels))

    def sum(self, name: str) -> float:
        """Return the sum of the values of a metric."""
        return sum(value for key, value, _ in self.records if key == name)
