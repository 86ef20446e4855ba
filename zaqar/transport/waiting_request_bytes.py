# SPDX-License-Identifier: Apache-2.0
"""A bound on the bytes of requests that wait, for messages or their turn."""

import threading

#: Bytes of all requests that wait for messages or their turn, in one process,
#: and of those of one project.
MAX_POSTPONED_BYTES = 128 * 1024 * 1024
MAX_POSTPONED_PER_PROJECT = MAX_POSTPONED_BYTES // 2


class WaitingRequestBytes:
    """The bytes of all requests of a process that wait, by project."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shares: dict[str, int] = {}
        self._total = 0

    def hold(self, project: str, size: int) -> bool:
        """Note the bytes of a request that may wait, if there is room."""
        with self._lock:
            share = self._shares.get(project, 0) + size
            total = self._total + size
            if share > MAX_POSTPONED_PER_PROJECT or (
                total > MAX_POSTPONED_BYTES
            ):
                return False
            if size:
                self._shares[project] = share
            self._total = total
            return True

    def let_go(self, project: str, size: int) -> None:
        """Note that such a request has its answer."""
        with self._lock:
            self._total -= size
            self._shares[project] -= size
            if not self._shares[project]:
                del self._shares[project]
