# SPDX-License-Identifier: Apache-2.0
"""Request bodies, buffered before a thread works on them.

A client that sends slowly occupies no thread: granian announces each part, and
only a complete body is dispatched. Bodies that are too slow are refused; so is
the oldest one when incomplete bodies exceed their share of memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from zaqar.errors import InvalidBody, RequestTimeout, ZaqarError

#: Seconds in which the minimum rate does not apply.
GRACE = 5.0

#: Seconds between two checks for slow clients.
CHECK_INTERVAL = 0.5

#: Bytes of all incomplete bodies; or :data:`LONGEST_HELD` times the longest
#: body that is accepted, if that is more.
MOST_HELD = 64 * 1024 * 1024
LONGEST_HELD = 4

#: Parts of a body that may have any size; with more, the average must exceed
#: :data:`LEAST_PART`, since each part costs about as much as a request.
FREE_PARTS = 1000
LEAST_PART = 64


class Future(Protocol):
    """The part of granian's futures that is used."""

    def add_done_callback(self, callback: Callable[[Future], Any]) -> None:
        """Schedule a call, through the loop, for when there is a result."""

    def exception(self) -> BaseException | None:
        """Return the error, None if there is a part."""

    def result(self) -> dict[str, Any]:
        """Return the ASGI event."""

    def cancel(self) -> Any:
        """Cancel the future."""


Receive = Callable[[], Future]
Done = Callable[[bytes | ZaqarError], None]


@dataclass(frozen=True)
class BodyLimits:
    """Time, rate and size that a body may have.

    :ivar seconds: for the whole body
    :ivar rate: minimum bytes per second, on average
    :ivar longest: maximum bytes; reading of a longer chunked body stops there
    """

    seconds: float
    rate: int
    longest: int


class Loop:
    """Stand-in for an event loop that runs callbacks in granian's thread.

    A real loop would be one more thread for each part to pass.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> None:
        callback(*args)

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> None:
        """Store a future that was done before its callback was added.

        Running the callback here would nest a call for each part.
        """
        (self._local.ready,) = args

    def wait(
        self, future: Future, callback: Callable[[Future], Any]
    ) -> Future | None:
        """Add a callback; return the future instead if it is done."""
        self._local.ready = None
        future.add_done_callback(callback)
        ready: Future | None = self._local.ready
        self._local.ready = None
        return ready


class _Body(msgspec.Struct):
    """An incomplete body.

    :ivar length: bytes announced, None if it is chunked
    """

    receive: Receive | None
    length: int | None
    done: Done | None
    begun: float
    size: int = 0
    parts: list[bytes] = msgspec.field(default_factory=list)
    future: Future | None = None


class RequestBuffer:
    """The incomplete bodies of a process."""

    def __init__(
        self,
        limits: BodyLimits,
        loop: Loop,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._loop = loop
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # By identity, oldest first. Whoever removes a body completes it.
        self._waiting: dict[int, _Body] = {}
        self._held = 0
        self._most_held = max(MOST_HELD, LONGEST_HELD * limits.longest)

    def start(self) -> None:
        """Start the thread that refuses slow bodies."""
        threading.Thread(
            target=self._watch, name='bodies', daemon=True
        ).start()

    def read(self, receive: Receive, length: int | None, done: Done) -> None:
        """Read a body without waiting for it.

        :param receive: returns the future of the next part
        :param done: called once, in any thread, with the body or its error
        """
        body = _Body(receive, length, done, self._monotonic())
        with self._lock:
            self._waiting[id(body)] = body
        self._read_on(body)

    def refuse_slow(self) -> None:
        now = self._monotonic()
        for body in list(self._waiting.values()):
            if self._is_late(body, now):
                self._refuse(body, 'Request body came too slowly.')

    def _watch(self) -> None:
        while True:
            time.sleep(CHECK_INTERVAL)
            self.refuse_slow()

    def _is_late(self, body: _Body, now: float) -> bool:
        age = now - body.begun
        expected = age * self._limits.rate if age > GRACE else 0
        return age > self._limits.seconds or body.size < expected

    def _read_on(self, body: _Body) -> None:
        """Read the parts that are there; be called back for the next."""

        def arrived(future: Future) -> None:
            if self._take(body, future):
                self._read_on(body)

        while (receive := body.receive) is not None:
            future = body.future = receive()
            if id(body) not in self._waiting:
                # Refused meanwhile, without knowledge of this future.
                future.cancel()
                return
            ready = self._loop.wait(future, arrived)
            if ready is None or not self._take(body, ready):
                return

    def _take(self, body: _Body, future: Future) -> bool:
        """Add a part to a body; tell whether more are expected."""
        if id(body) not in self._waiting:
            return False
        # Raised, an exception would hold the frame that holds its future,
        # and with it the connection.
        part = future.result() if future.exception() is None else {}
        if part.get('type') != 'http.request':
            self._end(body, InvalidBody('Request body is not complete.'))
            return False
        content: bytes = part['body']
        is_last = not part['more_body']
        with self._lock:
            if id(body) not in self._waiting:
                return False
            body.parts.append(content)
            body.size += len(content)
            self._held += len(content)
            oldest = None
            if self._held > self._most_held:
                oldest = next(iter(self._waiting.values()))
        if body.size == body.length or body.size > self._limits.longest:
            is_last = True
        if is_last:
            parts = body.parts
            self._end(body, parts[0] if len(parts) == 1 else b''.join(parts))
        elif len(body.parts) > FREE_PARTS and (
            body.size < len(body.parts) * LEAST_PART
        ):
            fault = InvalidBody('Request body came in too small parts.')
            self._end(body, fault)
        elif oldest is not None:
            self._refuse(oldest, 'Too many bodies are being sent.')
        return not is_last and id(body) in self._waiting

    def _refuse(self, body: _Body, why: str) -> None:
        future = self._end(body, RequestTimeout(why))
        if future is not None:
            future.cancel()

    def _end(self, body: _Body, outcome: bytes | ZaqarError) -> Future | None:
        """Report the outcome of a body; return its pending future."""
        with self._lock:
            if self._waiting.pop(id(body), None) is None:
                return None
            self._held -= body.size
        done, future = body.done, body.future
        # A cancelled future keeps its callback, hence the body, and the
        # connection would stay with them.
        body.receive = body.done = body.future = None
        if done is not None:
            done(outcome)
        return future
