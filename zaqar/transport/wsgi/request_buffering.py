# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests, read before a thread works on them.

A client that sends its body slowly holds no thread: granian announces each
part, and only a complete body goes on. What takes too long or comes too
slowly is refused, and so is what has waited longest when all bodies together
need more memory than there is for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from zaqar.errors import InvalidBody, RequestTimeout, ZaqarError

#: Seconds in which the least rate is not asked for.
GRACE = 5.0

#: Seconds between two looks at who is too slow.
LOOK = 0.5

#: Bytes of all bodies that are not complete; where bodies may be long, there
#: is room for :data:`LONGEST_HELD` of the longest.
MOST_HELD = 64 * 1024 * 1024
LONGEST_HELD = 4

#: Parts of a body that may be of any size; beyond, they must be larger than
#: :data:`LEAST_PART` on average, since each costs about as much as a request.
FREE_PARTS = 1000
LEAST_PART = 64


class Future(Protocol):
    """What granian promises a part with."""

    def add_done_callback(self, callback: Callable[[Future], Any]) -> None:
        """Call back, through the loop, once there is a result."""

    def exception(self) -> BaseException | None:
        """Return why there is no part, None if there is one."""

    def result(self) -> dict[str, Any]:
        """Return the part, as ASGI has it."""

    def cancel(self) -> Any:
        """Want no result any more."""


Receive = Callable[[], Future]
Done = Callable[[bytes | ZaqarError], None]


@dataclass(frozen=True)
class Terms:
    """How a body has to come.

    :ivar seconds: for all of it
    :ivar rate: bytes per second, on average
    :ivar longest: bytes of the longest that is of interest; of a longer one
        without a length so much and one byte more is read
    """

    seconds: float = 30.0
    rate: int = 500
    longest: int = 256 * 1024


class Loop:
    """What granian calls back through: at once, in the thread that it has.

    An event loop would be one more thread for each part to pass.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> None:
        """Call back."""
        callback(*args)

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> None:
        """Keep what was there already when a callback was added.

        Calling back would nest a call for each part.
        """
        (self._local.ready,) = args

    def wait(
        self, future: Future, callback: Callable[[Future], Any]
    ) -> Future | None:
        """Have a callback made later; return the future if it is done."""
        self._local.ready = None
        future.add_done_callback(callback)
        ready: Future | None = self._local.ready
        self._local.ready = None
        return ready


@dataclass(slots=True)
class _Body:
    """A body under way.

    :ivar length: bytes announced, None if its parts tell the end
    """

    receive: Receive | None
    length: int | None
    done: Done | None
    begun: float
    size: int = 0
    parts: list[bytes] = field(default_factory=list)
    future: Future | None = None


class Bodies:
    """Those that are being read, in one process.

    :param monotonic: the clock, in seconds
    """

    def __init__(
        self,
        terms: Terms,
        loop: Loop,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._terms = terms
        self._loop = loop
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # By identity, oldest first. Who takes one out ends it.
        self._waiting: dict[int, _Body] = {}
        self._held = 0
        self._most_held = max(MOST_HELD, LONGEST_HELD * terms.longest)

    def start(self) -> None:
        """Begin to look at who is too slow."""
        threading.Thread(
            target=self._watch, name='bodies', daemon=True
        ).start()

    def read(self, receive: Receive, length: int | None, done: Done) -> None:
        """Read a body without waiting for it.

        :param receive: returns the future of the next part
        :param done: called once, with the body or what is wrong with it, in
            any thread
        """
        body = _Body(receive, length, done, self._monotonic())
        with self._lock:
            self._waiting[id(body)] = body
        self._go_on(body)

    def refuse_slow(self) -> None:
        """End those that take too long."""
        now = self._monotonic()
        for body in list(self._waiting.values()):
            if self._is_late(body, now):
                self._refuse(body, 'Request body came too slowly.')

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK)
            self.refuse_slow()

    def _is_late(self, body: _Body, now: float) -> bool:
        age = now - body.begun
        owed = age * self._terms.rate if age > GRACE else 0
        return age > self._terms.seconds or body.size < owed

    def _go_on(self, body: _Body) -> None:
        """Wait for the next parts."""

        def arrived(future: Future) -> None:
            if self._take(body, future):
                self._go_on(body)

        while (receive := body.receive) is not None:
            future = body.future = receive()
            if id(body) not in self._waiting:
                # Refused meanwhile, by who could not know of this one.
                future.cancel()
                return
            ready = self._loop.wait(future, arrived)
            if ready is None or not self._take(body, ready):
                return

    def _take(self, body: _Body, future: Future) -> bool:
        """Take a part; return whether there are more."""
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
            oldest = next(iter(self._waiting.values()))
        if body.size == body.length or body.size > self._terms.longest:
            is_last = True
        if is_last:
            self._end(body, b''.join(body.parts))
        elif len(body.parts) > FREE_PARTS and (
            body.size < len(body.parts) * LEAST_PART
        ):
            self._end(
                body, InvalidBody('Request body came in too small parts.')
            )
        elif self._held > self._most_held:
            self._refuse(oldest, 'Too many bodies are being sent.')
        return not is_last and id(body) in self._waiting

    def _refuse(self, body: _Body, why: str) -> None:
        future = self._end(body, RequestTimeout(why))
        if future is not None:
            future.cancel()

    def _end(self, body: _Body, outcome: bytes | ZaqarError) -> Future | None:
        """Hand over what became of a body; return what it waits for."""
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
