# SPDX-License-Identifier: Apache-2.0
"""Counting of events per second."""

#: Seconds over which events are counted.
WINDOW = 1.0


class RateCounter:
    """Counts events within a second."""

    def __init__(self) -> None:
        self._began = 0.0
        self._count = 0

    def exceeds(self, most: int, now: float) -> bool:
        """Count an event; tell whether they exceed a limit (0 for none)."""
        if now - self._began >= WINDOW:
            self._began, self._count = now, 0
        self._count += 1
        return bool(most) and self._count > most
