# SPDX-License-Identifier: Apache-2.0
"""Adapter from granian's ASGI interface to a WSGI application.

granian's own WSGI interface lets a thread wait for a body, and decodes headers
as UTF-8 where WSGI has Latin-1.
"""

from __future__ import annotations

import functools
import io
import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from zaqar import metrics, request_deadline
from zaqar.errors import StoreUnavailable, ZaqarError
from zaqar.transport.large_page_fairness import LARGE, TURN, Job, Turn, Turns
from zaqar.transport.wsgi import (
    caller_project_cache,
    microversion_headers,
    wsgi_environ,
)
from zaqar.transport.wsgi.request_buffering import (
    Future,
    Loop,
    Receive,
    RequestBuffer,
)
from zaqar.transport.wsgi.request_slots import RequestSlots
from zaqar.transport.wsgi.responses import Headers, error_response
from zaqar.transport.wsgi_types import App, Environ

#: Bytes of a large answer that are handed to granian at a time.
PIECE = 256 * 1024

Jobs = Sequence[Job | None]

#: The status, the headers and the body.
_Answer = tuple[int, Headers, bytes]


class AsgiAdapter:
    """Calls the application for each request once its body is complete.

    :param longest: bytes of the longest body that is read at all
    :param monotonic: the time in seconds
    """

    def __init__(
        self,
        app: App,
        buffer: RequestBuffer,
        loop: Loop,
        turns: Turns,
        slots: RequestSlots,
        longest: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._buffer = buffer
        self._loop = loop
        self._turns = turns
        self._slots = slots
        self._monotonic = monotonic
        self._longest = longest
        self._known = caller_project_cache.CallerProjectCache()
        self._retired_at = math.inf
        self._spread = 0.0
        for status in (400, 408, 503):
            metrics.process().begin('refused_requests', str(status))

    def handle(self, watcher: Any) -> None:
        """Start a request.

        :param watcher: granian's: ``scope``, ``proto`` and ``done()``
        """
        environ = wsgi_environ.to_environ(watcher.scope)
        length = wsgi_environ.body_length(environ)
        if length == 0 or (length or 0) > self._longest:
            # Nothing to wait for; too long a body is refused unread.
            self._answer(watcher, environ, b'')
            return
        answer = functools.partial(self._answer, watcher, environ)
        self._buffer.read(watcher.proto.receive, length, answer)

    def retire(self, seconds: float) -> None:
        """Close connections with their answers: all, after some seconds.

        Before that more and more of them: clients that lost theirs at the
        same moment would all connect anew at the next one.
        """
        self._retired_at = self._monotonic()
        self._spread = seconds

    def _answer(
        self, watcher: Any, environ: Environ, body: bytes | ZaqarError
    ) -> None:
        since = self._monotonic()
        turn = Turn(self._turns)
        client: WatchedClient | None = None

        def answer() -> None:
            if client is None or self._is_there(client, watcher, turn):
                _do(self._attempt(watcher, environ, body, turn, since, client))

        if isinstance(body, bytes):
            if self._slots.are_crowded:
                # To watch every client would cost a twentieth of a request.
                client = self._watched(watcher, turn)
            turn.size = functools.partial(wsgi_environ.size_of, environ, body)
            owner = functools.partial(self._known.project, environ)
            if self._slots.run(answer, turn.size, owner=owner):
                return
            body = StoreUnavailable(request_deadline.TOO_MANY)
        # At once: the thread that refuses slow bodies has no time for others.
        answer()

    def _resume(
        self,
        watcher: Any,
        body: Any,
        turn: Turn,
        client: WatchedClient,
        since: float,
    ) -> Jobs:
        """Answer a request whose turn has come, when there is a slot."""
        was_postponed = turn.is_postponed

        def answer() -> None:
            turn.resume()
            if not self._is_there(client, watcher, turn):
                return
            environ = wsgi_environ.to_environ(watcher.scope)
            # Its time to wait for messages is not that for a thread.
            begun = self._monotonic() if was_postponed else since
            _do(self._attempt(watcher, environ, body, turn, begun, client))

        self._slots.run(
            answer, owner=lambda: turn.project, is_woken=was_postponed
        )
        return ()

    def _attempt(
        self,
        watcher: Any,
        environ: Environ,
        body: bytes | ZaqarError,
        turn: Turn,
        since: float,
        client: WatchedClient | None,
    ) -> Jobs:
        """Answer a request or let it wait; return what is to be done next.

        :param since: when its body was complete
        :param client: whose leaving is noticed already
        """
        app = self._app
        request_deadline.note_waiting(self._monotonic() - since)
        if request_deadline.is_too_late():
            body = StoreUnavailable(request_deadline.TOO_MANY)
        if isinstance(body, ZaqarError):
            metrics.record_refusal(body.status)
            app = microversion_headers.with_version(error_response(body))
        else:
            environ['wsgi.input'] = io.BytesIO(body)
        environ[TURN] = turn
        answer: _Answer | BaseException
        try:
            answer = wsgi_environ.call(app, environ)
            if turn.is_missed:
                # Once only: see findings/granian-cancelled-receive.sh.
                client = client or self._watched(watcher, turn)
                if client.has_gone:
                    turn.give_up()
                resume = functools.partial(
                    self._resume, watcher, body, turn, client, since
                )
                return (turn.wait(resume),)
        except BaseException as error:
            answer = error
        if client is not None:
            client.ignore()
        if turn.project and self._slots.waiting:
            self._known.note(environ, turn.project)
        jobs = self._respond(watcher, answer, turn)
        following = turn.end()
        return jobs if following is None else (*jobs, following)

    def _respond(
        self, watcher: Any, answer: _Answer | BaseException, turn: Turn
    ) -> Jobs:
        """Send an answer; return what is to be done next."""
        try:
            if isinstance(answer, BaseException):
                raise answer
            status, headers, content = answer
            if self._retired_at != math.inf and self._closes():
                headers = [*headers, ('Connection', 'close')]
            _start(watcher.proto, status, headers)
            return self._send(watcher, content, turn)
        except BaseException as error:
            watcher.err(error)
            return ()

    def _watched(self, watcher: Any, turn: Turn) -> WatchedClient:
        """Return the client of a request, whose leaving is noticed."""
        client = WatchedClient(watcher.proto.receive, self._loop, turn.give_up)
        client.watch()
        return client

    def _is_there(
        self, client: WatchedClient, watcher: Any, turn: Turn
    ) -> bool:
        """Tell whether a client waits still; else end its request."""
        # Read once: another thread may take the event meanwhile.
        has_gone = client.has_gone
        if has_gone:
            # Messages that the request took from a queue would be lost.
            watcher.done()
            _do((turn.end(),))
        return not has_gone

    def _closes(self) -> bool:
        """Tell whether to close a connection with the next answer."""
        passed = self._monotonic() - self._retired_at
        return passed >= 0 and passed >= self._spread * random.random()

    def _send(self, watcher: Any, content: bytes, turn: Turn) -> Jobs:
        size = len(content)
        turn.record(size)
        if size < LARGE:
            _send(watcher.proto, content, is_last=True)
            watcher.done()
            return ()
        self._turns.add_unread(turn.project, size)
        taken = functools.partial(
            self._turns.subtract_unread, turn.project, size
        )
        return _LargeBody(watcher, self._loop, content, taken).send()


class WatchedClient:
    """The client of a request that waits, and has sent its body.

    :param gone: called when it has closed its connection
    :ivar has_gone: whether it has closed its connection
    """

    def __init__(
        self, receive: Receive, loop: Loop, gone: Callable[[], None]
    ) -> None:
        self._gone = gone
        self._receive: Receive | None = receive
        self._loop = loop
        self._future: Future | None = None
        self.has_gone = False

    def watch(self) -> None:
        """Notice that it goes, until :meth:`ignore`."""
        while (receive := self._receive) is not None:
            future = self._future = receive()
            if self._receive is None:
                # Ignored meanwhile, without knowledge of this future.
                future.cancel()
                return
            ready = self._loop.wait(future, self._received)
            if ready is None or not self._goes_on(ready):
                return

    def ignore(self) -> None:
        """End this; what is cancelled must not hold the connection."""
        future, self._future, self._receive = self._future, None, None
        if future is not None:
            future.cancel()

    def _received(self, future: Future) -> None:
        if self._goes_on(future):
            self.watch()

    def _goes_on(self, future: Future) -> bool:
        """Take an event; tell whether to wait for the next one."""
        if self._receive is None:
            return False
        event = future.result() if future.exception() is None else {}
        if event.get('type') == 'http.request':
            # The end of an empty body, or what is too long to be read.
            return not event['more_body']
        self.has_gone = True
        self._gone()
        return False


class _LargeBody:
    """The body of an answer, of which granian gets as much as is read.

    :param taken: called when granian has all of it; returns what is to be
        done next
    """

    def __init__(
        self,
        watcher: Any,
        loop: Loop,
        content: bytes,
        taken: Callable[[], Job | None],
    ) -> None:
        self._watcher = watcher
        self._loop = loop
        self._left = memoryview(content)
        self._taken = taken

    def send(self) -> Jobs:
        """Send what is left, as long as granian takes it."""
        try:
            if not self._is_sent():
                return ()
        except BaseException as error:
            self._watcher.err(error)
        # In any case, or the project would wait for ever.
        return (self._taken(),)

    def _is_sent(self) -> bool:
        """Send as much as granian takes; tell whether that is all."""
        while self._left:
            piece = bytes(self._left[:PIECE])
            self._left = self._left[PIECE:]
            is_last = not self._left
            future = _send(self._watcher.proto, piece, is_last=is_last)
            if is_last:
                self._watcher.done()
            # There is no future where granian has taken it at once.
            if hasattr(future, 'add_done_callback') and (
                self._loop.wait(future, self._go_on) is None
            ):
                return False
        return True

    def _go_on(self, _future: Future) -> None:
        _do(self.send())


def do(job: Job) -> None:
    """Do a job of a request that is woken, and what is to be done next."""
    _do((job,))


def _do(jobs: Jobs) -> None:
    """Do what is to be done, and what is to be done next."""
    left = [job for job in jobs if job is not None] if jobs else []
    while left:
        left += [job for job in left.pop()() if job is not None]


def _start(proto: Any, status: int, headers: Headers) -> None:
    proto.send(
        {
            'type': 'http.response.start',
            'status': status,
            'headers': [
                (_encoded(name), value.encode('latin-1'))
                for name, value in headers
            ],
        }
    )


# All of them are names of ours, or of middleware.
@functools.lru_cache(maxsize=256)
def _encoded(name: str) -> bytes:
    return name.encode('latin-1')


def _send(proto: Any, body: bytes, *, is_last: bool) -> Any:
    """Hand over a part of an answer; return the future of its being taken."""
    return proto.send(
        {'type': 'http.response.body', 'body': body, 'more_body': not is_last}
    )
