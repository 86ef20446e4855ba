# SPDX-License-Identifier: Apache-2.0
"""Bounds the memory of pages that feeds read at a time.

Everything here runs on the loop; nothing blocks.
"""

import collections
from collections.abc import Callable

#: Bytes of the messages of all pages that are read at a time, as long as they
#: may be.
MOST_READ = 64 * 1024 * 1024


class PageReads:
    """Bounds the memory of pages while they are read.

    Their messages may be as long as posts may be, whereas what is kept of
    them is little. Projects take turns.
    """

    def __init__(self) -> None:
        self._bytes = 0
        #: The project whose turn it is comes first.
        self._waiting: dict[
            str, collections.deque[tuple[int, Callable[[], object]]]
        ] = {}

    def begin(
        self, project: str, size: int, read: Callable[[], object]
    ) -> None:
        """Call a function when there is room for so many bytes."""
        reads = self._waiting.setdefault(project, collections.deque())
        reads.append((size, read))
        self._go_on()

    def end(self, size: int) -> None:
        """Note that a page has been read."""
        self._bytes -= size
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting:
            project, reads = next(iter(self._waiting.items()))
            size, read = reads[0]
            if self._bytes and self._bytes + size > MOST_READ:
                return
            reads.popleft()
            del self._waiting[project]
            if reads:
                self._waiting[project] = reads
            self._bytes += size
            read()
