# SPDX-License-Identifier: Apache-2.0
"""Answers to requests, by a WSGI application."""

import collections
import functools
import io
import logging
import math
import random
import time
from collections.abc import Callable

from zaqar import metrics, request_deadline
from zaqar.errors import StoreUnavailable, ZaqarError
from zaqar.transport.large_page_fairness import LARGE, Job, Turns
from zaqar.transport.page_turn_and_message_wait import TURN, Turn
from zaqar.transport.wsgi import (
    application_call,
    caller_project_cache,
    microversion_headers,
    request_environ,
)
from zaqar.transport.wsgi.responses import Headers, error_response
from zaqar.transport.wsgi.server import response_encoding
from zaqar.transport.wsgi.server.connection import Connection
from zaqar.transport.wsgi.server.request_greenlets import RequestGreenlets
from zaqar.transport.wsgi.server.request_parser import Request
from zaqar.transport.wsgi.server.request_threads import RequestThreads
from zaqar.transport.wsgi_types import App, Environ

LOG = logging.getLogger(__name__)

#: Takes an answer, whether the connection ends with it, and what is to be
#: called when all of it is written.
Send = Callable[[Connection, bytes, bool, Callable[[], None] | None], None]


class AnswerWriter:
    """Has answers written in the thread of an event loop.

    To wake that costs about as much as to write one: all that are there by
    then are written at once.

    :param call_in_loop: has a function called there
    """

    def __init__(
        self, call_in_loop: Callable[[Callable[[], None]], object]
    ) -> None:
        self._call_in_loop = call_in_loop
        self._is_woken = False
        self._answers: collections.deque[
            tuple[Connection, bytes, bool, Callable[[], None] | None]
        ] = collections.deque()

    def put(
        self,
        connection: Connection,
        data: bytes,
        closes: bool,
        on_sent: Callable[[], None] | None = None,
    ) -> None:
        """Have an answer written, from any thread."""
        self._answers.append((connection, data, closes, on_sent))
        if not self._is_woken:
            self._is_woken = True
            self._call_in_loop(self._write)

    def _write(self) -> None:
        # Before the first is taken: what comes from now on wakes it again.
        self._is_woken = False
        answers = self._answers
        while answers:
            connection, data, closes, on_sent = answers.popleft()
            try:
                connection.answer(data, closes=closes, on_sent=on_sent)
            except Exception:
                # No failure of the others.
                LOG.exception('A connection failed')
                connection.abort()


class Exchange:
    """A request and what becomes of it.

    :ivar since: when it was complete
    :ivar may_be_late: whether so many wait that its client may have left
    """

    __slots__ = ('connection', 'may_be_late', 'request', 'since', 'turn')

    def __init__(
        self,
        connection: Connection,
        request: Request,
        turn: Turn,
        since: float,
        *,
        may_be_late: bool,
    ) -> None:
        self.connection = connection
        self.request = request
        self.turn = turn
        self.since = since
        self.may_be_late = may_be_late


class Answering:
    """Calls the application for each request.

    :param send: has answers written
    :param max_unread: bytes of a project's answers that may wait to be read
    :param monotonic: the time in seconds
    """

    def __init__(
        self,
        app: App,
        threads: RequestThreads | RequestGreenlets,
        send: Send,
        max_unread: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._threads = threads
        self._send = send
        self._turns = Turns(max_unread, monotonic)
        self._monotonic = monotonic
        self._known = caller_project_cache.CallerProjectCache()
        self._retired_at = math.inf
        self._spread = 0.0
        for status in (400, 408, 503):
            metrics.process().begin('refused_requests', str(status))

    def retire(self, seconds: float) -> None:
        """Close connections with their answers: all, after some seconds.

        Before that more and more of them: clients that lost theirs at the
        same moment would all connect anew at the next one.
        """
        self._retired_at = self._monotonic()
        self._spread = seconds

    def handle(self, connection: Connection, request: Request) -> None:
        """Have a request answered in its turn."""
        turn = Turn(self._turns)
        exchange = Exchange(
            connection,
            request,
            turn,
            self._monotonic(),
            may_be_late=self._threads.are_crowded,
        )
        body, environ = request.body, request.environ
        if isinstance(body, bytes):
            turn.size = functools.partial(
                request_environ.size_of, environ, body
            )
            if self._threads.put(
                functools.partial(self._begin, exchange),
                turn.size,
                functools.partial(self._known.project, environ),
                request,
            ):
                return
            request.body = StoreUnavailable(request_deadline.TOO_MANY)
        # At once: whoever refuses slow bodies has no time for others.
        self._begin(exchange)

    def _begin(self, exchange: Exchange) -> None:
        if exchange.may_be_late and exchange.connection.has_left:
            self._abandon(exchange)
            return
        environ = exchange.request.environ
        # It holds more than what it was made of.
        exchange.request.environ = {}
        self._attempt(exchange, environ, exchange.since)

    def _resume(self, exchange: Exchange) -> None:
        """Have a request answered whose turn has come."""
        turn = exchange.turn
        was_postponed = turn.is_postponed

        def answer() -> None:
            turn.resume()
            if exchange.connection.has_left:
                self._abandon(exchange)
                return
            environ = exchange.request.new_environ(exchange.connection.environ)
            # Its time to wait for messages is not that for a thread.
            since = self._monotonic() if was_postponed else exchange.since
            self._attempt(exchange, environ, since)

        if was_postponed:
            self._threads.put_woken(answer)
        else:
            self._threads.put(answer, owner=lambda: turn.project)

    def _attempt(
        self, exchange: Exchange, environ: Environ, since: float
    ) -> None:
        """Answer a request, or let it wait."""
        app, turn, body = self._app, exchange.turn, exchange.request.body
        request_deadline.note_waiting(self._monotonic() - since)
        if request_deadline.is_too_late():
            body = StoreUnavailable(request_deadline.TOO_MANY)
        if isinstance(body, ZaqarError):
            metrics.record_refusal(body.status)
            app = microversion_headers.with_version(error_response(body))
        else:
            environ['wsgi.input'] = io.BytesIO(body)
        environ[TURN] = turn
        try:
            status, headers, content = application_call.call(app, environ)
            if turn.is_missed:
                if exchange.connection.watch(turn.give_up):
                    turn.give_up()
                _do(turn.wait(functools.partial(self._resume, exchange)))
                return
            if turn.project and self._threads.waiting.count:
                self._known.note(environ, turn.project)
            self._respond(exchange, status, headers, content)
        except BaseException:
            LOG.exception('A request failed')
            failure = response_encoding.encode(500, [], b'', closes=True)
            self._send(exchange.connection, failure, True, None)
        _do(turn.end())

    def _respond(
        self,
        exchange: Exchange,
        status: int,
        headers: Headers,
        content: bytes,
    ) -> None:
        """Send an answer."""
        turn, size = exchange.turn, len(content)
        turn.record(size)
        closes = not exchange.request.keeps_alive or (
            self._retired_at != math.inf and self._closes()
        )
        data = response_encoding.encode(
            status,
            headers,
            content,
            is_head=exchange.request.method == 'HEAD',
            closes=closes,
            keeps_old=exchange.request.version == '1.0',
        )
        on_sent = None
        if size >= LARGE:
            self._turns.add_unread(turn.project, size)
            on_sent = functools.partial(self._is_read, turn.project, size)
        self._send(exchange.connection, data, closes, on_sent)

    def _is_read(self, project: str, size: int) -> None:
        """Note that a client has read a large answer, or has gone."""
        _do(self._turns.subtract_unread(project, size))

    def _abandon(self, exchange: Exchange) -> None:
        """End a request whose client has gone.

        Messages that it took from a queue would be lost.
        """
        self._send(exchange.connection, b'', True, None)
        _do(exchange.turn.end())

    def _closes(self) -> bool:
        """Tell whether to close a connection with the next answer."""
        passed = self._monotonic() - self._retired_at
        return passed >= 0 and passed >= self._spread * random.random()


def _do(job: Job | None) -> None:
    """Have a request go on whose turn has come, if there is one."""
    if job is not None:
        job()
