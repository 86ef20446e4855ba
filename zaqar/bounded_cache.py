# SPDX-License-Identifier: Apache-2.0
"""A bounded cache for what many threads read on every request."""

from collections import OrderedDict
from typing import TypeVar

K = TypeVar('K')
V = TypeVar('V')


class BoundedCache(OrderedDict[K, V]):
    """A dict that drops its oldest entries when it is full.

    It needs no lock, unlike the caches of cachetools: reads and writes are
    single steps of the interpreter.
    """

    def __init__(self, maxsize: int) -> None:
        super().__init__()
        self._maxsize = maxsize

    def __setitem__(self, key: K, value: V) -> None:
        """Add or replace an entry; a replaced one keeps its age."""
        super().__setitem__(key, value)
        if len(self) > self._maxsize:
            self.popitem(last=False)
