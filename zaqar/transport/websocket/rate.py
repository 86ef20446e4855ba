# SPDX-License-Identifier: Apache-2.0
"""How often something happens."""

from __future__ import annotations

#: Seconds over which it is counted.
WINDOW = 1.0


class Rate:
    """Counts what happens within a second."""

    def __init__(self) -> None:
        self._began = 0.0
        self._count = 0

    def exceeds(self, most: int, now: float) -> bool:
        """Count one more, and tell whether that is too many.

        :param most: how many there may be, 0 for any number
        """
        if now - self._began >= WINDOW:
            self._began, self._count = now, 0
        self._count += 1
        return bool(most) and self._count > most
