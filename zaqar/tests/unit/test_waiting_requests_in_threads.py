# SPDX-License-Identifier: Apache-2.0
"""How many requests wait in threads."""

import os
import select
import socket
import threading
from typing import Any

import pytest

from zaqar.api.requests_with_wait import Postponable
from zaqar.errors import StoreUnavailable
from zaqar.transport.wsgi import (
    uwsgi_and_gunicorn_introspection,
    waiting_requests_in_threads,
)
from zaqar.transport.wsgi.waiting_requests_in_threads import WaitingInThreads


class Ticket:
    """A place in a line; the request is woken by the test."""

    def __init__(self) -> None:
        self.place = self
        self.result = 'nothing'
        self.parked = threading.Event()
        self.has_left = self.is_given_up = False

    def park(self, wake: Any) -> None:
        self.wake = wake
        self.parked.set()

    def give_up(self) -> None:
        self.is_given_up = True

    def leave(self) -> None:
        self.has_left = True


def attempt(ticket: Any, request: Postponable) -> str:
    """Run a request that gets nothing before it is woken."""
    if request.ticket is not None:
        return 'messages'
    if not request.may_wait():
        request.is_refused = True
        return 'nothing'
    request.postpone(ticket)
    return 'no answer'


def test_no_more_wait_than_may() -> None:
    waiting = WaitingInThreads(1)
    tickets = [Ticket() for _ in range(3)]
    results: list[Any] = []

    def wait(ticket: Ticket) -> None:
        results.append(
            waiting.run({}, lambda request: attempt(ticket, request))
        )

    first = threading.Thread(target=wait, args=(tickets[0],))
    first.start()
    assert tickets[0].parked.wait(30)
    wait(tickets[1])
    assert results == [('nothing', True)]
    tickets[0].wake()
    first.join(30)
    assert results[1:] == [('messages', False)]
    assert tickets[0].has_left
    third = threading.Thread(target=wait, args=(tickets[2],))
    third.start()
    assert tickets[2].parked.wait(30)
    tickets[2].wake()
    third.join(30)
    assert results[2:] == [('messages', False)]


def test_what_fails_leaves_room() -> None:
    waiting = WaitingInThreads(1)

    def fail(request: Postponable) -> None:
        raise ValueError

    for _ in range(2):
        try:
            waiting.run({}, fail)
        except ValueError:
            continue
        raise AssertionError
    assert waiting.run({}, lambda request: 'messages') == ('messages', False)


def test_the_wait_of_a_client_that_goes_is_given_up() -> None:
    waiting = WaitingInThreads(1)
    ticket = Ticket()
    ours, theirs = socket.socketpair()
    environ = {'gunicorn.socket': ours}
    with ours:
        # What it sent before is no matter.
        theirs.send(b'the next request')

        def run(request: Postponable) -> str:
            if request.ticket is None:
                theirs.close()
            return attempt(ticket, request)

        waiting.run(environ, run)
        assert ticket.is_given_up
        assert ticket.has_left
        with pytest.raises(StoreUnavailable):
            waiting.run(environ, pytest.fail)


def test_waits_are_given_up_when_the_process_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads, writes = os.pipe()
    monkeypatch.setattr(
        uwsgi_and_gunicorn_introspection, 'stop_pipe', lambda: reads
    )
    waiting = WaitingInThreads(1)
    woken, ended = Ticket(), Ticket()

    def run(request: Postponable) -> str:
        result = attempt(woken, request)
        woken.park = lambda wake: wake()  # type: ignore[method-assign]
        return result

    waiting.run({}, run)
    assert not woken.is_given_up
    os.close(writes)
    waiting.run({}, lambda request: attempt(ended, request))
    assert ended.is_given_up
    os.close(reads)


def test_the_pipe_that_uwsgi_closes_is_among_those_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        uwsgi_and_gunicorn_introspection, 'uwsgi_module', lambda: True
    )
    pipes = reads, _, elsewhere, _ = *os.pipe(), *os.pipe()
    with (
        select.epoll() as loop,
        select.epoll() as epoll,
        socket.create_server(('127.0.0.1', 0)) as listener,
        socket.socket() as other,
    ):
        # That of another event loop, which accepts nothing.
        loop.register(elsewhere, select.EPOLLIN)
        loop.register(other)
        epoll.register(listener)
        epoll.register(reads, select.EPOLLIN)
        assert (
            uwsgi_and_gunicorn_introspection.stop_pipe.__wrapped__() == reads
        )
    for each in pipes:
        os.close(each)


def test_a_body_is_read_once() -> None:
    reads: list[Any] = []

    def read(*arguments: Any) -> Any:
        reads.append(arguments)
        return None

    body: Any = 'a declaration'
    once = waiting_requests_in_threads.read_once(read)
    assert once(body, 1) is None
    assert once(body, 1) is None
    assert reads == [(body, 1)]
