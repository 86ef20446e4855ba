# SPDX-License-Identifier: Apache-2.0
"""The timers of an event loop, with a clock that a test moves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class Timer:
    """What is to be called at a time."""

    def __init__(self, at: float, call: Callable[[], Any]) -> None:
        self.at = at
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class MovedLoop:
    """The loop, as far as timers are concerned."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_later(
        self, seconds: float, call: Callable[..., Any], *arguments: Any
    ) -> Timer:
        timer = Timer(self.now + seconds, functools.partial(call, *arguments))
        self.timers.append(timer)
        return timer

    def call_soon(self, call: Callable[..., Any], *arguments: Any) -> Timer:
        return self.call_later(0.0, call, *arguments)

    call_soon_threadsafe = call_soon

    def wait(self, seconds: float) -> None:
        """Let time pass, and call what is due meanwhile."""
        end = self.now + seconds
        while self.timers and min(one.at for one in self.timers) <= end:
            timer = min(self.timers, key=lambda one: one.at)
            self.timers.remove(timer)
            self.now = timer.at
            if not timer.is_cancelled:
                timer.call()
        self.now = end
