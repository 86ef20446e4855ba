# SPDX-License-Identifier: Apache-2.0
"""Whether an event loop leaves its calls of SQLite to threads for a while.

Usually they take microseconds in its own thread. Not so on a disk that is
slow.
"""

import resource
import time
from collections.abc import Callable

#: Seconds that a call may take.
LONGEST = 0.005

#: Seconds that longer ones may take together within so many, before threads
#: have the calls for as long.
MOST = 0.05
PERIOD = 1.0


def _blocks_read() -> int:
    """Return how many blocks the present thread has read from disks."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


class SlowCallPause:
    """Looks how long the calls of a loop have taken.

    Those that have read nothing from a disk do not count: others have had the
    processor then, which threads would wait for as well.

    :param monotonic: the time in seconds
    :param blocks_read: how many blocks the loop has read
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        blocks_read: Callable[[], int] = _blocks_read,
    ):
        self._monotonic = monotonic
        self._blocks_read = blocks_read
        self._blocks: int | None = None
        self._lost = 0.0
        self._begin = self._end = 0.0

    @property
    def is_on(self) -> bool:
        """Whether threads have the calls."""
        return self._end > 0 and self._monotonic() < self._end

    @property
    def has_read_disk(self) -> bool:
        """Whether the loop has read from a disk since the last slow call.

        What its thread has read until the first one was for the start of the
        process.
        """
        if self._blocks is None:
            self._blocks = self._blocks_read()
        return self._blocks_read() != self._blocks

    def note(self, seconds: float) -> None:
        """Note how long a call has held up the loop."""
        if seconds < LONGEST:
            return
        if not self.has_read_disk:
            return
        self._blocks = self._blocks_read()
        now = self._monotonic()
        if now - self._begin > PERIOD:
            self._begin, self._lost = now, 0.0
        self._lost += seconds
        if self._lost > MOST:
            self._end = now + PERIOD
