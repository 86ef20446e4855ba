# SPDX-License-Identifier: Apache-2.0
"""Reads that requests do not wait for, one for each key at a time."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

K = TypeVar('K')


class BackgroundReads(Generic[K]):
    """A thread that reads, which begins with the first read.

    Not before: the process may still fork.

    :param name: of the thread
    :param read: reads what a key stands for, and raises nothing
    """

    def __init__(self, name: str, read: Callable[[K], object]) -> None:
        self._name = name
        self._do = read
        self._lock = threading.Lock()
        self._pending: set[K] = set()
        self._thread: ThreadPoolExecutor | None = None

    def later(self, key: K) -> None:
        """Read what a key stands for soon, unless that is going to happen."""
        if key in self._pending:
            return
        with self._lock:
            if key in self._pending:
                return
            self._pending.add(key)
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, self._name)
        # It may be shutting down.
        with contextlib.suppress(RuntimeError):
            self._thread.submit(self._read, key)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _read(self, key: K) -> None:
        try:
            self._do(key)
        finally:
            with self._lock:
                self._pending.discard(key)
