# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for their turn to be begun, in a thread or greenlet.

Projects take turns, so that one with many requests does not hold up the
others.
"""

import collections
from collections.abc import Callable

#: Bytes of all requests that wait, among them those whose clients have gone;
#: beyond them a project may have its share still.
MAX_WAITING_BYTES = 64 * 1024 * 1024

#: How much more than that they hold, whoever they are of.
_MOST = 2

#: Requests that wait before clients may lose patience.
MANY = 100

Work = Callable[[], None]


class _Owned:
    """What waits for one owner, each with its bytes."""

    __slots__ = ('held', 'items')

    def __init__(self) -> None:
        self.items: collections.deque[tuple[Work, int]] = collections.deque()
        self.held = 0


class RequestLine:
    """The requests that wait, for use by one thread at a time.

    What was woken takes turns with the rest: a message may wake thousands.

    :ivar count: how much waits, without what was woken
    """

    def __init__(self) -> None:
        #: By owners, the one whose turn it is first.
        self._waiting: dict[str, _Owned] = {}
        self.count = 0
        self._woken: collections.deque[Work] = collections.deque()
        self._was_woken = False
        self._held = 0

    def add_woken(self, work: Work) -> None:
        """Have work wait that has waited for messages before."""
        self._woken.append(work)

    def add(self, work: Work, size: int, owner: str) -> bool:
        """Have work wait for its turn, if there is room for it.

        :param size: bytes that it holds, 0 for what is never refused
        :param owner: whose turn it needs, '' where that is not known
        """
        owned = self._waiting.get(owner)
        if size and self._waiting:
            total = self._held + size
            if total > MAX_WAITING_BYTES:
                others = len(self._waiting) - (owned is not None)
                share = MAX_WAITING_BYTES // (others + 1)
                own = size if owned is None else owned.held + size
                if own > share or total > _MOST * MAX_WAITING_BYTES:
                    return False
        if owned is None:
            owned = self._waiting[owner] = _Owned()
        owned.items.append((work, size))
        owned.held += size
        self._held += size
        self.count += 1
        return True

    def take(self) -> Work | None:
        """Take the work whose turn it is, if any waits."""
        if self._woken and not (self._waiting and self._was_woken):
            self._was_woken = True
            return self._woken.popleft()
        self._was_woken = False
        if not self._waiting:
            return None
        owner = next(iter(self._waiting))
        owned = self._waiting.pop(owner)
        work, size = owned.items.popleft()
        if owned.items:
            # Behind all others.
            self._waiting[owner] = owned
        owned.held -= size
        self._held -= size
        self.count -= 1
        return work
