# SPDX-License-Identifier: Apache-2.0
"""What stores know while they leave notices of posts to marked queues."""

from __future__ import annotations

from collections.abc import Callable

from zaqar.models import NewMessage

#: Queues known to be silent, at most; then all are forgotten.
MOST = 20_000


class Notice:
    """What makes a notice, asked at most once."""

    __slots__ = ('_made', '_make')

    def __init__(self, make: Callable[[], NewMessage]) -> None:
        self._make = make
        self._made: NewMessage | None = None

    def message(self) -> NewMessage:
        """Return the notice."""
        if self._made is None:
            self._made = self._make()
        return self._made


class Silent:
    """Queues that had no mark when they were last looked at.

    A hint: whoever relies on it checks.
    """

    def __init__(self) -> None:
        self._qids: set[str] = set()

    def __contains__(self, qid: str) -> bool:
        return qid in self._qids

    def learn(self, qid: str, generation: int) -> None:
        """Note what a look has shown."""
        if generation > 0:
            self._qids.discard(qid)
            return
        if len(self._qids) >= MOST:
            self._qids.clear()
        self._qids.add(qid)
