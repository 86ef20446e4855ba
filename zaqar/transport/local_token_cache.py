# SPDX-License-Identifier: Apache-2.0
"""Tokens that were validated lately, in the memory of a process."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from zaqar.bounded_cache import BoundedCache

#: Tokens of which a process remembers what they stand for; with a catalogue,
#: each takes some kilobytes.
CACHED = 10_000


class LocalTokenCache:
    """Stands in for keystonemiddleware's cache without memcached.

    That walks all of its tokens at each look, 5 ms for 10,000, and has one
    cache for each thread. Its ages are the same: seconds since Keystone
    validated a token. Whether the token itself has expired is looked at
    afterwards, as ever.

    :param seconds: for which a token is remembered: negative for none, and 0,
        as there, for any time
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self, seconds: int, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds or math.inf
        self._timer = timer
        #: By digests of the tokens: JSON, and when it was put here.
        self._known: BoundedCache[bytes, tuple[bytes, float]] = BoundedCache(
            CACHED
        )

    def initialize(self, environ: Mapping[str, Any]) -> None:
        """Do nothing; keystonemiddleware calls this for every request."""

    def get(self, token: str) -> Any:
        """Return what a token stands for, for the caller alone, or None."""
        key = _digest(token)
        known = self._known.get(key)
        if known is None:
            return None
        data, since = known
        if self._timer() - since >= self._seconds:
            self._known.pop(key, None)
            return None
        return msgspec.json.decode(data)

    def set(self, token: str, data: Any) -> None:
        """Remember what a token that Keystone validated stands for."""
        if self._seconds < 0:
            return
        key = _digest(token)
        # What replaces another one is new.
        self._known.pop(key, None)
        self._known[key] = (msgspec.json.encode(data), self._timer())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
